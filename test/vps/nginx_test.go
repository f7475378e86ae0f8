//go:build linux

package vps_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/pebbletest"
	"github.com/ringwall/ringwall/test/vps"
)

// A webServer runs Debian's nginx, with Ringwall behind it as host apply
// installs it: a user that can write nothing but its own folders.
type webServer struct {
	*vps.Server
	t *testing.T
}

// TestNginx sets a fresh server up as docs/nginx.md has it, with a certificate
// of an ACME authority: what install sees from outside is green, and the units
// run and are such as systemd takes.
func TestNginx(t *testing.T) {
	t.Parallel()
	vps.Skip(t)
	s, o := bare(t, vps.Ready, "")
	w := &webServer{s, t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server said:\n%s\n%s", w.journal("ringwall.service"), w.Run("tail", "-n", "5", "/var/log/nginx/error.log"))
		}
	})
	w.Run("apt-get", "install", "-y", "-q", "--no-install-recommends", "nginx-light", "logrotate")
	w.authority()
	w.api()
	w.policy("", "host/nginx") // nginx is install's, until shutIn

	contains(t, "a first install", w.Run("sh", "-c", nginxInstall), "made /etc/ringwall/secrets/edge_nginx_proof", "ringwall host apply")
	apply(t, o)
	if out, err := w.Try("systemctl", "is-active", "ringwall.service"); err != nil {
		t.Fatalf("ringwall.service is %s\n%s", out, w.journal("ringwall.service"))
	}
	w.firstInstall()
	w.shutIn(o)
	w.units()
	w.bans()
	w.rotation()
	w.renewal()
	w.failingInstall()
	w.killedInstall()
	w.looks()
	w.driftIsSeen()
	w.rollback()
}

func (w *webServer) journal(unit string) string {
	return w.Run("journalctl", "-u", unit, "-n", "12", "-o", "cat", "--no-pager")
}

// authority is a Pebble on the server itself, which finds the site by /etc/hosts.
func (w *webServer) authority() {
	w.t.Helper()
	pebble, err := pebbletest.Binary()
	if err != nil {
		w.t.Fatal(err)
	}
	w.Write("/etc/hosts", w.Read("/etc/hosts")+"127.0.0.1 api.example.com\n", 0o644)
	w.Copy(pebble, "/usr/local/bin/pebble", 0o755)
	dir := filepath.Join(w.Root, "etc/pebble")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	pebbletest.Configure(w.t, dir, "/etc/pebble", "127.0.0.1:14000", "127.0.0.1:15000", 80, 443, 90*24*time.Hour)
	w.Write("/etc/pebble/ca.pem", w.Read("/etc/pebble/ca.pem"), 0o644)
	w.unit("pebble", "/usr/local/bin/pebble -config /etc/pebble/pebble.json\nEnvironment=PEBBLE_VA_NOSLEEP=1 PEBBLE_AUTHZREUSE=0")
	w.Await("Pebble listens", 20*time.Second, func() bool {
		_, err := w.Try("sh", "-c", "curl -sfk https://127.0.0.1:15000/roots/0 >/etc/pebble/root.pem")
		return err == nil
	})
}

func (w *webServer) unit(name, exec string) {
	w.t.Helper()
	w.Write("/etc/systemd/system/"+name+".service", "[Service]\nExecStart="+exec+"\n[Install]\nWantedBy=multi-user.target\n", 0o644)
	w.Run("systemctl", "enable", "-q", "--now", name+".service")
}

func (w *webServer) api() {
	w.t.Helper()
	program := filepath.Join(w.t.TempDir(), "api")
	build := exec.Command("go", "build", "-o", program, "./testdata/api")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		w.t.Fatalf("%v\n%s", err, out)
	}
	w.Copy(program, "/usr/local/bin/api", 0o755)
	w.unit("api", "/usr/local/bin/api 127.0.0.1:8000")
}

// policy writes one that has an authority, or the certificate of these files,
// and of the host ring the way in and the two services.
func (w *webServer) policy(tls string, waive ...string) {
	w.t.Helper()
	if tls == "" {
		tls = "{acme: {email: ops@example.com, directory: \"https://127.0.0.1:14000/dir\", trust: /etc/pebble/ca.pem}}"
	}
	text := `site: api.example.com
upstream: http://127.0.0.1:8000
edge:
  engine: nginx
  tls: ` + tls + `
  nginx: {listen: "unix:/run/ringwall/nginx.sock"}
app: {limits: {global: {requests: 5000, per: 15m}}, routes: [{path: /, allow: [anyone]}]}
waivers:
`
	until := time.Now().AddDate(0, 0, 30).Format(time.DateOnly)
	for _, c := range host.Controls() {
		if !slices.Contains([]string{"host/deploy-user", "host/ssh", "host/firewall", "host/service", "host/nginx"}, c.ID) || slices.Contains(waive, c.ID) {
			text += "  - {control: " + c.ID + ", reason: \"not what is looked at here\", until: " + until + "}\n"
		}
	}
	w.Write(policyFile, text+"  - {control: edge/key-exchange, reason: \"OpenSSL 3.0\", until: "+until+"}\n", 0o644)
}

const nginxInstall = "RINGWALL_POLICY=" + policyFile + " ringwall nginx install --cacert /etc/pebble/root.pem"

// firstInstall also has the authority issue, through nginx, to a server that
// cannot have nginx reloaded.
func (w *webServer) firstInstall() {
	w.t.Helper()
	began := time.Now()
	out, err := w.Try("sh", "-c", nginxInstall)
	if err != nil {
		w.t.Fatalf("%v\n%s\n%s\n%s", err, out, w.journal("ringwall.service"), w.Read("/var/log/nginx/error.log"))
	}
	w.t.Logf("install and its checks took %v", time.Since(began).Round(100*time.Millisecond))
	contains(w.t, "the install", out, "in force: https://api.example.com through nginx", " 0 fail,")
	w.Name("api.example.com")
	if got := w.ask(); got != "200" {
		w.t.Errorf("the site answers %q", got)
	}
}

// ask is the status that a client outside gets, who trusts the authority.
func (w *webServer) ask() string {
	out, _ := w.Outside("curl", "-s", "--cacert", filepath.Join(w.Root, "etc/pebble/root.pem"), "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "https://api.example.com/")
	return out
}

// status is what a client outside gets who comes from an address; 000: nothing.
func (w *webServer) status(from, path string) string {
	out, _ := w.Outside("curl", "-s", "--interface", from, "--cacert", filepath.Join(w.Root, "etc/pebble/root.pem"), "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}", "https://api.example.com"+path)
	return out
}

// client is an address outside that nobody else of this test comes from.
func (w *webServer) client(n byte) string {
	b := w.Address.As4()
	b[3] = 140 + n
	return netip.AddrFrom4(b).String()
}

// shutIn: an apply, once nginx is installed, has nginx run in its sandbox,
// and a third has nothing to do. All that follows happens to an nginx in it.
func (w *webServer) shutIn(o *vps.Owner) {
	w.t.Helper()
	w.policy("")
	before := w.Run("systemctl", "show", "--value", "--property=MainPID", "nginx.service")
	out := o.MustSSH("deploy", "sudo env "+ringwall+"apply --yes 2>&1")
	contains(w.t, "the second apply", out, "shut nginx in", "in force: nginx runs, shut in")
	o.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
	contains(w.t, "the third plan", o.MustSSH("deploy", "sudo env "+ringwall+"plan 2>&1"), "nothing to do")
	pid := w.Run("systemctl", "show", "--value", "--property=MainPID", "nginx.service")
	if pid == before {
		w.t.Error("nginx was not started anew")
	}
	contains(w.t, "its process", w.Run("cat", "/proc/"+strings.TrimSpace(pid)+"/status"), "NoNewPrivs:\t1", "Seccomp:\t2")
	w.t.Log(lastLine(w.Run("systemd-analyze", "security", "--no-pager", "nginx.service")))
	if got := w.ask(); got != "200" {
		w.t.Errorf("shut in, the site answers %q", got)
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// bans: systemd sees that Ringwall wrote a ban and has nginx read it, so that nginx
// refuses the banned by itself, with Ringwall gone; and its end likewise.
func (w *webServer) bans() {
	w.t.Helper()
	const state, list = "RINGWALL_STATE=/var/lib/ringwall/serve", "/var/lib/ringwall/nginx/bans.conf"
	reloads := func() int {
		return strings.Count(w.Run("journalctl", "-u", "ringwall-nginx.service", "-o", "cat", "--no-pager"), "Finished ")
	}
	bad, good := w.client(1), w.client(2)
	if got := w.status(bad, "/"); got != "200" {
		w.t.Fatalf("before its ban %s gets %s", bad, got)
	}
	before := reloads()
	if out, err := w.RunEnv([]string{state}, "ringwall", "ban", "add", bad, "--for", "1h"); err != nil {
		w.t.Fatal(err, out)
	}
	w.Await("the unit has nginx read the ban", 30*time.Second, func() bool { return strings.Contains(w.Run("cat", list), bad) && reloads() > before })
	w.Run("systemctl", "stop", "ringwall.service")
	w.Await("nginx alone refuses the banned", 10*time.Second, func() bool { return w.status(bad, "/") == "000" })
	if got := w.status(good, "/"); got != "502" { // who is not banned hears from nginx that there is no ring
		w.t.Errorf("with Ringwall gone %s gets %s", good, got)
	}
	w.Run("systemctl", "start", "ringwall.service")
	w.Await("Ringwall is back", 20*time.Second, func() bool { return w.status(good, "/") == "200" })
	before = reloads()
	if out, err := w.RunEnv([]string{state}, "ringwall", "ban", "remove", bad); err != nil {
		w.t.Fatal(err, out)
	}
	w.Await("the end of the ban reaches nginx", 30*time.Second, func() bool { return reloads() > before && w.status(bad, "/") == "200" })

	// What is written while nginx is told of something else is told, too.
	const slow = "/etc/systemd/system/ringwall-nginx.service.d/slow.conf"
	w.Write(slow, "[Service]\nExecStartPost=/bin/sleep 3\n", 0o644)
	w.Run("systemctl", "daemon-reload")
	before = reloads()
	w.Run("sh", "-c", "cd /var/lib/ringwall/nginx; touch nginx-reload-wanted; sleep 1; touch nginx-reload-wanted")
	w.Await("nginx is told twice", 30*time.Second, func() bool { return reloads() == before+2 })
	w.Run("rm", "-r", filepath.Dir(slow))
	w.Run("systemctl", "daemon-reload")
}

// rotation: while clients ask, logrotate has nginx write to a new file; each
// request is in one of the two, once.
func (w *webServer) rotation() {
	w.t.Helper()
	const log, most = "/var/log/nginx/ringwall.json", 40
	done, half := make(chan int), make(chan bool)
	go func() {
		asked := 0
		for i := range most {
			if w.status(w.client(byte(3+i%20)), fmt.Sprintf("/rotated/%02d", i)) != "000" {
				asked++
			}
			if i == most/4 {
				close(half)
			}
		}
		done <- asked
	}()
	<-half
	w.Run("logrotate", "-f", "/etc/logrotate.d/ringwall-nginx")
	if asked := <-done; asked != most {
		w.t.Errorf("%d of %d requests were answered", asked, most)
	}
	var before, after int
	w.Await("all requests are in the log, once", 10*time.Second, func() bool {
		old, now := w.Read(log+".1"), w.Read(log)
		before, after = strings.Count(old, `"/rotated/`), strings.Count(now, `"/rotated/`)
		for i := range most {
			if path := fmt.Sprintf(`"/rotated/%02d"`, i); strings.Count(old, path)+strings.Count(now, path) != 1 {
				return false
			}
		}
		return true
	})
	if before == 0 || after == 0 {
		w.t.Errorf("%d requests are in the old file, %d in the new one", before, after)
	}
	if out := w.Run("stat", "-c", "%a %U:%G", log); strings.TrimSpace(out) != "640 root:adm" && strings.TrimSpace(out) != "640 www-data:adm" {
		w.t.Errorf("the new file is %s", out)
	}
}

// serial is that of the certificate that a client outside is shown.
func (w *webServer) serial() string {
	c, err := w.Dial(w.client(30), 443, 5*time.Second)
	if err != nil {
		return err.Error()
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	over := tls.Client(c, &tls.Config{ServerName: "api.example.com", InsecureSkipVerify: true}) // ask has judged it
	if err := over.Handshake(); err != nil {
		return err.Error()
	}
	return over.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// renewal: another certificate of the authority's reaches clients without anybody
// typing a word.
func (w *webServer) renewal() {
	w.t.Helper()
	before := w.serial()
	w.Run("systemctl", "stop", "ringwall.service")
	w.Run("sh", "-c", "set -e; dir=$(find /var/lib/ringwall/serve/ -type d -name certificates); test -n \"$dir\"; rm -r \"$dir\"")
	w.Run("systemctl", "start", "ringwall.service")
	w.Await("nginx shows the new certificate", 90*time.Second, func() bool { now := w.serial(); return now != before && !strings.Contains(now, " ") })
	if got := w.ask(); got != "200" {
		w.t.Errorf("with the new certificate the site answers %q", got)
	}
}

// changed has the policy say something else that clients see in each answer, and
// is what they see of it.
func (w *webServer) changed(age string) {
	w.t.Helper()
	old := w.Read(policyFile)
	w.Write(policyFile, strings.Replace(old, "app: {", "app: {headers: {hsts: {max_age: "+age+"}}, ", 1), 0o644)
	if w.Read(policyFile) == old {
		w.t.Fatal("the policy is the same")
	}
}

func (w *webServer) hsts() string {
	out, _ := w.Outside("curl", "-s", "--cacert", filepath.Join(w.Root, "etc/pebble/root.pem"), "--max-time", "20", "-o", "/dev/null", "-D", "-", "https://api.example.com/")
	for line := range strings.Lines(out) {
		if name, value, _ := strings.Cut(line, ":"); strings.EqualFold(name, "Strict-Transport-Security") {
			return strings.TrimSpace(value)
		}
	}
	return "none: " + out
}

// failingInstall: beside a foreign file that nginx does not take nothing is
// written, and what nginx has goes on.
func (w *webServer) failingInstall() {
	w.t.Helper()
	const conf = "/etc/nginx/conf.d/ringwall.conf"
	good, was, old := w.Read(policyFile), w.Read(conf), w.hsts()
	w.changed("400d")
	w.Write("/etc/nginx/conf.d/foreign.conf", "server { listen 81; no_such_directive on; }\n", 0o644)
	out, err := w.Try("sh", "-c", nginxInstall)
	if err == nil {
		w.t.Errorf("beside a broken file the install went well:\n%s", out)
	}
	contains(w.t, "the install", out, "foreign.conf", "no_such_directive")
	if w.Read(conf) != was {
		w.t.Error("it has written")
	}
	if got := w.ask() + " " + w.hsts(); got != "200 "+old {
		w.t.Errorf("after it the site answers %q", got)
	}
	w.Run("rm", "/etc/nginx/conf.d/foreign.conf")
	w.Write(policyFile, good, 0o644)
}

// killedInstall: whatever moment it is killed at, nginx serves; the next install takes
// back what was written and completes.
func (w *webServer) killedInstall() {
	w.t.Helper()
	old := w.hsts()
	w.changed("500d")
	for _, at := range []string{"5", "written", "taken"} {
		out, err := w.RunEnv([]string{"NGINX_FAULT=" + at}, "sh", "-c", nginxInstall+" --without-checks")
		if err == nil || !strings.Contains(err.Error(), "killed") && !strings.Contains(err.Error(), "137") {
			w.t.Fatalf("%s: it was to be killed: %v\n%s", at, err, out)
		}
		if got := w.ask(); got != "200" {
			w.t.Errorf("killed at %s the site answers %q", at, got)
		}
		if got := w.hsts(); (got == old) != (at != "taken") {
			w.t.Errorf("killed at %s nginx has %q, and had %q", at, got, old)
		}
	}
	contains(w.t, "the install after it", w.Run("sh", "-c", nginxInstall+" --without-checks"), "was broken off: what it had written was taken back", "in force")
	if got := w.hsts(); !strings.Contains(got, "max-age=43200000") {
		w.t.Errorf("the next install has %q in force", got)
	}
	if out, err := w.Try("sh", "-c", "RINGWALL_POLICY="+policyFile+" ringwall nginx diff"); err != nil {
		w.t.Errorf("after it there is a difference: %v\n%s", err, out)
	}
}

// looks: from outside and from inside nothing fails.
func (w *webServer) looks() {
	w.t.Helper()
	w.Run("systemctl", "reload", "ringwall.service") // the ring has the changed policy, too
	if out, err := w.RunEnv([]string{"RINGWALL_STATE=/var/lib/ringwall/serve"}, "ringwall", "ban", "spare", w.Gate()); err != nil {
		w.t.Fatal(err, out)
	}
	began, report := time.Now(), filepath.Join(w.t.TempDir(), "outside.json")
	out, err := w.Outside(binary, "check", "https://api.example.com", "--policy", filepath.Join(w.Root, policyFile), "--cacert", filepath.Join(w.Root, "etc/pebble/root.pem"), "--max-requests", "1000", "--out", report, "--fail-on", "fail")
	b, _ := os.ReadFile(report)
	var r check.Report
	if jerr := json.Unmarshal(b, &r); jerr != nil || err != nil {
		w.t.Errorf("check from outside: %v, %v\n%s", err, jerr, out)
	}
	w.t.Logf("check from outside: %s, in %v", r.Summary(), time.Since(began).Round(time.Second))
	w.noFail(r)
	w.noFail(inside(w.t, w.Server, policyFile))
}

func (w *webServer) noFail(r check.Report) {
	if len(r.Results) < 20 {
		w.t.Errorf("%d results", len(r.Results))
	}
	for _, res := range r.Results {
		w.t.Logf("%-8v %-24s %s", res.Verdict, res.ID, res.Got)
		// The base is as old as its last update, and no policy makes backups.
		if res.Verdict == check.Fail && res.ID != "inside/updates" && res.ID != "inside/backups" {
			w.t.Errorf("%s fails: %s", res.ID, res.Got)
		}
	}
	if find(r, "host/nginx").ID == "" && find(r, "edge/behind").ID == "" {
		w.t.Error("nginx was not looked at")
	}
}

// nginxFaults are what host/nginx must find, and how it is mended.
var nginxFaults = []struct{ fault, why, mend string }{
	{"systemctl stop ringwall-nginx.path", "ringwall-nginx.path is inactive", "systemctl start ringwall-nginx.path"},
	{"systemctl disable nginx.service", "nginx.service is disabled", "systemctl enable nginx.service"},
	{"sed -i 's/limit_conn_status 444/limit_conn_status 503/' /etc/nginx/conf.d/ringwall.conf", "nginx has not what the policy says", nginxInstall + " --without-checks"},
	{"mv /etc/systemd/system/nginx.service.d /root/ && systemctl daemon-reload", "nginx.service has ", "mv /root/nginx.service.d /etc/systemd/system/ && systemctl daemon-reload"},
}

// driftIsSeen: status says of each that it is so, and why.
func (w *webServer) driftIsSeen() {
	w.t.Helper()
	for _, tt := range nginxFaults {
		w.Run("sh", "-c", tt.fault)
		if got := find(inside(w.t, w.Server, policyFile), "host/nginx"); got.Verdict != check.Fail || !strings.Contains(got.Got, tt.why) {
			w.t.Errorf("after %q host/nginx is %v: %s; want %q", tt.fault, got.Verdict, got.Got, tt.why)
		}
		w.Run("sh", "-c", tt.mend)
	}
}

// rollback: nginx runs as its package has it, and serves.
func (w *webServer) rollback() {
	w.t.Helper()
	w.Run("ringwall", "host", "rollback")
	pid := strings.TrimSpace(w.Run("systemctl", "show", "--value", "--property=MainPID", "nginx.service"))
	contains(w.t, "rolled back, its process", w.Run("cat", "/proc/"+pid+"/status"), "NoNewPrivs:\t0")
	if got := w.ask(); got != "200" {
		w.t.Errorf("rolled back, the site answers %q", got)
	}
}

func (w *webServer) units() {
	for _, unit := range []string{"nginx.service", "ringwall.service", "ringwall-nginx.path"} {
		for _, is := range []string{"is-active", "is-enabled"} {
			if out, err := w.Try("systemctl", is, unit); err != nil {
				w.t.Errorf("systemctl %s %s: %s", is, unit, out)
			}
		}
	}
	out, err := w.Try("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/ringwall-nginx.path", "/etc/systemd/system/ringwall-nginx.service", "/etc/systemd/system/ringwall.service")
	if err != nil || strings.Contains(out, "ringwall") {
		w.t.Errorf("systemd-analyze verify: %v %s", err, out)
	}
}
