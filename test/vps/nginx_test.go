//go:build linux

package vps_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

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
	w.policy("")

	contains(t, "a first install", w.Run("sh", "-c", nginxInstall), "made /etc/ringwall/secrets/edge_nginx_proof", "ringwall host apply")
	o.MustSSH("root", ringwall+"apply --yes 2>&1")
	o.MustSSH("root", ringwall+"confirm 2>&1")
	if out, err := w.Try("systemctl", "is-active", "ringwall.service"); err != nil {
		t.Fatalf("ringwall.service is %s\n%s", out, w.journal("ringwall.service"))
	}
	w.firstInstall()
	w.units()
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
// and of the host ring the service alone.
func (w *webServer) policy(tls string) {
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
app: {limits: {global: {requests: 100000, per: 1m}}, routes: [{path: /, allow: [anyone]}]}
waivers:
`
	until := time.Now().AddDate(0, 0, 30).Format(time.DateOnly)
	for _, c := range host.Controls() {
		if !slices.Contains([]string{"host/service", "host/nginx"}, c.ID) {
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
