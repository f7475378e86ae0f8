//go:build linux

package vps_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/test/vps"
)

// TestNginxFromABareServer has one host apply make of a server without nginx one
// that serves by the policy, with an authority's certificate; and of one with a certificate
// and another site, as certbot leaves them. Killed and rolled back it is as it was.
func TestNginxFromABareServer(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{vps.Ready, "trixie", "noble"} {
		t.Run(suite, func(t *testing.T) {
			if suite != vps.Ready && *start > 0 {
				t.Skip("each takes three minutes: `make servers` has the time")
			}
			t.Parallel()
			nginxFromABareServer(t, suite)
		})
	}
}

func nginxFromABareServer(t *testing.T, suite string) {
	s, o := bare(t, suite, "")
	o.MustSSH("root", "true") // which starts sshd where systemd listens
	w := &webServer{s, t}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the server said:\n%s\n%s", w.journal("ringwall.service"), w.journal("nginx.service"))
		}
	})
	w.authority()
	w.api()
	w.policy("")
	w.Name("api.example.com")
	w.Run("apt-get", "install", "-y", "-q", "--no-install-recommends", "logrotate") // host/logs is not looked at here
	before := snap(t, s)

	plan := o.MustSSH("root", ringwall+"plan 2>&1")
	contains(t, "the plan", plan, "$ apt-get install nginx", "+++ /etc/nginx/conf.d/ringwall.conf (new, -rw-r--r-- root:root)", "server_name", "take away /etc/nginx/sites-enabled/default", "$ systemctl enable --now nginx.service")

	// Killed once the package is there, nothing of it serves; killed later, and at the end, likewise.
	for _, title := range []string{"install nginx", "the configuration of", "enable and start nginx.service"} {
		at := w.stepOf(o, title) + ":done"
		out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, "HOSTEXEC_FAULT=" + at}, "ringwall", "host", "apply", "--yes")
		if err == nil || !strings.Contains(err.Error(), "killed") && !strings.Contains(err.Error(), "137") {
			t.Fatalf("%s: it was to be killed: %v\n%s", at, err, out)
		}
		if listens := s.Run("ss", "-Hltn"); !strings.HasPrefix(title, "enable") && strings.Contains(listens, ":80 ") {
			t.Errorf("killed at %s, nginx serves something:\n%s", at, listens)
		}
		s.Run("ringwall", "host", "rollback")
		same(t, "killed at "+at, before, snap(t, s))
		w.stateless("killed at " + at)
		if t.Failed() {
			t.FailNow()
		}
	}

	began := time.Now()
	contains(t, "the apply", apply(t, o), "in force: nginx runs, shut in")
	t.Logf("the apply took %v", time.Since(began).Round(time.Second))
	w.units()
	w.Await("the site is served with the authority's certificate", 2*time.Minute, func() bool { return w.ask() == "200" })
	if got := w.Run("sh", "-c", "ls /etc/nginx/sites-enabled"); strings.TrimSpace(got) != "" {
		t.Errorf("also served: %s", got)
	}
	contains(t, "the second plan", o.MustSSH("deploy", "sudo env "+ringwall+"plan 2>&1"), "nothing to do")
	w.noFail(inside(t, s, policyFile))

	// A hand's work is drift, and is not overwritten; what nginx install puts in place is what the policy says.
	const conf = "/etc/nginx/conf.d/ringwall.conf"
	good := w.Read(conf)
	w.Write(conf, strings.Replace(good, "limit_conn_status 444", "limit_conn_status 503", 1), 0o644)
	if out, err := o.SSH("deploy", "sudo env "+ringwall+"apply --yes 2>&1"); err == nil || !strings.Contains(out, "changed by hand") || w.Read(conf) == good {
		t.Errorf("overwritten: %v\n%s", err, out)
	}
	out, _ := o.SSH("deploy", "sudo env "+ringwall+"status 2>&1")
	contains(t, "status", out, "drift: host/nginx: "+conf+" was changed")
	w.Run("sh", "-c", nginxInstall+" --without-checks")
	if out, err := o.SSH("deploy", "sudo env "+ringwall+"status 2>&1"); err != nil {
		t.Errorf("status after nginx install: %v\n%s", err, out)
	}

	s.Run("ringwall", "host", "rollback")
	s.Run("rm", "-r", "/root/.local") // of the checks
	same(t, "rolled back", before, snap(t, s))
	w.stateless("rolled back")
	w.besideAnother(o)
}

// stateless: of edge.nginx.state nothing is left, where the service had it either.
func (w *webServer) stateless(when string) {
	w.t.Helper()
	if out, err := w.Try("sh", "-c", "ls -dA /var/lib/ringwall/nginx /var/lib/private/ringwall/nginx 2>/dev/null"); err == nil || out != "" {
		w.t.Errorf("%s, of edge.nginx.state is left: %s", when, out)
	}
}

// stepOf is the number of the change with a title.
func (w *webServer) stepOf(o *vps.Owner, title string) string {
	w.t.Helper()
	for line := range strings.Lines(o.MustSSH("root", ringwall+"plan 2>/dev/null")) {
		if number, rest, ok := strings.Cut(strings.TrimSpace(line), ". "); ok && strings.Contains(rest, ": "+title) && len(number) < 3 {
			return number
		}
	}
	w.t.Fatalf("no change is called %q", title)
	return ""
}

// besideAnother: an nginx that serves another site goes on with it, and has the policy's
// beside it with the files of somebody else's, links as certbot makes them. One that is the default of a port is in the way.
func (w *webServer) besideAnother(o *vps.Owner) {
	t := w.t
	w.Run("apt-get", "install", "-y", "-q", "--no-install-recommends", "nginx")
	live := "/etc/letsencrypt/live/api.example.com"
	w.Run("sh", "-c", "mkdir -p "+live+" /etc/letsencrypt/archive && cd /etc/letsencrypt/archive && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=api.example.com -addext subjectAltName=DNS:api.example.com -keyout k.pem -out c.pem 2>/dev/null && ln -s ../../archive/k.pem "+live+"/privkey.pem && ln -s ../../archive/c.pem "+live+"/fullchain.pem")
	w.policy("{cert: " + live + "/fullchain.pem, key: " + live + "/privkey.pem}")
	const other = "/etc/nginx/conf.d/other.conf"
	w.Write(other, "server { listen 80 default_server; server_name other.example.com; return 200 other; }\n", 0o644)
	w.Run("rm", "/etc/nginx/sites-enabled/default")
	contains(t, "beside a default", o.MustSSH("root", ringwall+"plan 2>&1"), "left out: host/nginx", "the default of port 80")
	w.Run("sh", "-c", "ln -s /etc/nginx/sites-available/default /etc/nginx/sites-enabled/default; sed -i 's/ default_server//' "+other+" && systemctl reload nginx")
	before := snap(t, w.Server)
	apply(t, o)
	serves := func(from, what string) {
		t.Helper()
		w.Await(what, 20*time.Second, func() bool {
			out, _ := w.Outside("curl", "-s", "--max-time", "10", "-H", "Host: other.example.com", "http://"+w.Address.String()+"/")
			return out == from
		})
	}
	serves("other", "the other site is served")
	out, err := w.Outside("curl", "-sk", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "https://api.example.com/")
	if err != nil || out != "200" {
		t.Errorf("with certbot's files the site answers %q %v", out, err)
	}
	if got := find(inside(t, w.Server, policyFile), "host/nginx"); got.Verdict != check.Pass {
		t.Errorf("host/nginx: %v %s", got.Verdict, got.Got)
	}
	w.Run("ringwall", "host", "rollback")
	w.Run("rm", "-r", "/root/.local")
	same(t, "rolled back beside another", before, snap(t, w.Server))
	serves("other", "the other site is served as before")
}
