package nginx_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// A server is an nginx that serves a site of its own before Ringwall comes.
type server struct {
	*site
	before string // URL of the old site
	stop   func()
}

// newServer has an old site, and perhaps Debian's page of welcome.
func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{site: newSite(t, "")}
	s.policy.Waivers = append(s.policy.Waivers, policy.Waiver{Control: "edge/key-exchange", Reason: "this OpenSSL may be an old one", Until: time.Now().UTC().AddDate(0, 0, 1).Truncate(24 * time.Hour)})
	s.policy.Waivers = append(s.policy.Waivers, policy.Waiver{Control: "edge/framing", Reason: "this nginx may be an old one", Until: time.Now().UTC().AddDate(0, 0, 1).Truncate(24 * time.Hour)})
	s.write(t, nil)
	for _, f := range []string{"conf.d/ringwall.conf", "ringwall", "state"} {
		if err := os.RemoveAll(filepath.Join(s.dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	at := porttest.Address(t)
	s.before = "http://" + at
	s.put(t, "conf.d/old.conf", "server { listen "+at+"; server_name old.example; location / { return 200 old; } }\n")
	s.stop = s.startAt(t, at)
	return s
}

func (s *server) put(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(s.dir, name), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startAt is startNginx for another address.
func (s *server) startAt(t *testing.T, at string) func() {
	listen := s.policy.Edge.Listen
	defer func() { s.policy.Edge.Listen = listen }()
	s.policy.Edge.Listen = at
	return s.startNginx(t)
}

func (s *server) installer(t *testing.T) *nginx.Installer {
	t.Helper()
	nginx.MachineAt(t, filepath.Join(s.dir, "machine"), false) // this machine keeps its own units
	return &nginx.Installer{Host: nginx.Host{Binary: nginxBinary(t), Conf: filepath.Join(s.dir, "nginx.conf"), Prefix: s.dir}, Options: nginx.Options{Headers: headers}}
}

func (s *server) old(t *testing.T) {
	t.Helper()
	res, err := http.Get(s.before)
	if err != nil {
		t.Errorf("the old site: %v", err)
		return
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); string(b) != "old" {
		t.Errorf("the old site: %s %s", res.Status, b)
	}
}

// served asks the new site.
func (s *server) served() error {
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	res, err := c.Get(s.url() + "/x")
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if b, _ := io.ReadAll(res.Body); res.StatusCode != 200 || !strings.Contains(string(b), "ok") {
		return fmt.Errorf("%s %s", res.Status, b)
	}
	return nil
}

// state is every file below the server's folder, but logs and backups.
func (s *server) state(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, folder := range []string{"conf.d", "ringwall", "state", "webroot"} {
		filepath.WalkDir(filepath.Join(s.dir, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil
			}
			fi, err := d.Info()
			if err != nil {
				t.Fatal(err)
			}
			link, _ := os.Readlink(path)
			b, _ := os.ReadFile(path)
			out[path] = fmt.Sprintf("%v %s %s", fi.Mode(), link, b)
			return nil
		})
	}
	return out
}

func (s *server) unchanged(t *testing.T, was map[string]string) {
	t.Helper()
	is := s.state(t)
	for path := range was {
		if is[path] != was[path] {
			t.Errorf("%s is not as it was", path)
		}
	}
	for path := range is {
		if _, ok := was[path]; !ok {
			t.Errorf("%s was left behind", path)
		}
	}
	s.old(t)
}

func TestInstall(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	in := s.installer(t)
	checked := false
	in.Check = func(context.Context) error {
		checked = true
		return s.served()
	}
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Fatal(err)
	}
	if !checked {
		t.Error("nobody looked")
	}
	s.old(t)
	if h, err := nginx.InstalledOn(s.policy); err != nil || h != in.Host {
		t.Errorf("it was installed on %+v, and is said to be on %+v: %v", in.Host, h, err)
	}
	if d, err := in.Diff(t.Context(), s.policy); err != nil || d != "" {
		t.Errorf("right after an install: %v %s", err, d)
	}
	for name, mode := range map[string]os.FileMode{"conf.d/ringwall.conf": 0o644, "ringwall": 0o700, "ringwall/proof.conf": 0o600, "ringwall/events.conf": 0o600, "state": 0o700, "ringwall-backups": 0o700} {
		if fi, err := os.Stat(filepath.Join(s.dir, name)); err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v %v, want %v", name, err, fi, mode)
		}
	}
	was := s.state(t)
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Fatalf("again: %v", err)
	}
	s.unchanged(t, was)

	// A change by hand is shown, and a secret is not.
	conf := filepath.Join(s.dir, "conf.d/ringwall.conf")
	b, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, "conf.d/ringwall.conf", strings.Replace(string(b), "limit_conn_status 444", "limit_conn_status 503", 1))
	s.put(t, "ringwall/proof.conf", "proxy_set_header X-Ringwall-Proof none;\n")
	d, err := in.Diff(t.Context(), s.policy)
	if err != nil || !strings.Contains(d, "-    limit_conn_status 503;\n+    limit_conn_status 444;\n") || !strings.Contains(d, "proof.conf: holds something else") ||
		!strings.Contains(d, "others can get at it") || strings.Contains(d, testProof) {
		t.Errorf("%v %s", err, d)
	}
}

// With a certificate of an authority's, which install only stands in for, there is
// a difference before the install and none after.
func TestDiffWithAnAuthority(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo) // which asks nobody
	s.policy.Edge.TLS.Cert, s.policy.Edge.TLS.Key, s.policy.Edge.TLS.ACME.Email = "", "", "ops@example.com"
	in := s.installer(t)
	if d, err := in.Diff(t.Context(), s.policy); err != nil || !strings.Contains(d, "site.pem: is not there") {
		t.Errorf("before an install: %v %s", err, d)
	}
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Fatal(err)
	}
	if d, err := s.installer(t).Diff(t.Context(), s.policy); err != nil || d != "" {
		t.Errorf("after it: %v %s", err, d)
	}
}

// Every way in which an install can fail leaves an nginx that serves as before.
func TestInstallThatFailsChangesNothing(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(*testing.T, *server, *nginx.Installer)
		ring    bool
		want    string
	}{
		{"the check fails", func(_ *testing.T, _ *server, in *nginx.Installer) {
			in.Check = func(context.Context) error { return errors.New("edge/hsts: fail") }
		}, true, "edge/hsts: fail"},
		{"nginx -t fails", func(t *testing.T, s *server, _ *nginx.Installer) {
			if err := os.WriteFile(s.policy.Edge.TLS.Cert, []byte("no certificate"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, true, "nginx -t: "},
		{"the port is taken", func(t *testing.T, s *server, _ *nginx.Installer) {
			l, err := net.Listen("tcp", s.policy.Edge.Listen)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
		}, true, "nginx did not take its configuration"},
		{"nginx's own configuration is wrong", func(t *testing.T, s *server, _ *nginx.Installer) {
			s.put(t, "conf.d/bad.conf", "server { listen }\n")
		}, true, "before anything of Ringwall's"},
		{"nginx does not read the file", func(t *testing.T, s *server, _ *nginx.Installer) {
			s.policy.Edge.Nginx.Conf = filepath.Join(s.dir, "elsewhere.conf")
		}, true, "have nginx.conf say include"},
		{"another site has the name", func(t *testing.T, s *server, _ *nginx.Installer) {
			_, port, _ := net.SplitHostPort(s.policy.Edge.Redirect)
			s.put(t, "conf.d/same.conf", "# a site\nserver {\n listen 127.0.0.1:"+port+";\n server_name www.example LOCALHOST;\n}\n")
		}, true, "same.conf:2: another site is called localhost"},
		{"another site is the default", func(t *testing.T, s *server, _ *nginx.Installer) {
			_, port, _ := net.SplitHostPort(s.policy.Edge.Redirect)
			s.put(t, "conf.d/default.conf", "server { listen "+port+" default_server; server_name x.example; }\n")
		}, true, "default.conf:1: this site is the default of port"},
		{"an adopted file that nginx does not read", func(t *testing.T, s *server, in *nginx.Installer) {
			in.Adopt = "/etc/hosts"
		}, true, "nginx does not read that file"},
		{"no secret", func(_ *testing.T, s *server, _ *nginx.Installer) { s.policy.Edge.Nginx.Proof = policy.Secret{} }, true, "edge.nginx.proof"},
		{"Ringwall does not run", func(*testing.T, *server, *nginx.Installer) {}, false, "nothing answers there"},
		{"nginx is not there", func(_ *testing.T, _ *server, in *nginx.Installer) { in.Host.Binary = "/nowhere/nginx" }, true, "/nowhere/nginx"},
		{"nginx's folder cannot be written", func(t *testing.T, s *server, _ *nginx.Installer) {
			s.policy.Edge.Nginx.Folder = "/proc/ringwall"
		}, true, "/proc/ringwall"},
		{"it is stopped", func(t *testing.T, s *server, in *nginx.Installer) {
			ctx, stop := context.WithCancel(t.Context())
			in.Check = func(context.Context) error { stop(); return ctx.Err() }
		}, true, "context canceled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(t)
			if tt.ring {
				s.startRing(t, echo)
			}
			in := s.installer(t)
			in.Check = func(context.Context) error { return s.served() }
			tt.prepare(t, s, in)
			was := s.state(t)
			err := in.Install(t.Context(), s.policy)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
			t.Log(err)
			s.unchanged(t, was)
		})
	}
}

func TestInstallWhereNginxDoesNotRun(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	s.stop()
	was := s.state(t)
	if err := s.installer(t).Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "systemctl start nginx") {
		t.Error(err)
	}
	for path, is := range s.state(t) {
		if was[path] != is {
			t.Errorf("%s is not as it was", path)
		}
	}
}

// What this nginx cannot do has to be waived, in writing.
func TestInstallSaysWhatNginxCannotDo(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	s.policy.Waivers = nil
	v, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	was := s.state(t)
	in := s.installer(t)
	err = in.Install(t.Context(), s.policy)
	var wrong *policy.Error
	switch {
	case v.Hybrid() && v.StrictFraming():
		if err != nil {
			t.Error(err)
		}
		return
	case !errors.As(err, &wrong) || !strings.Contains(wrong.Hint, "- {control: edge/"):
		t.Error(err)
	}
	s.unchanged(t, was)
}

// What the ring writes meanwhile, such as who is banned, is not taken back with an
// install that was killed, nor with one that failed.
func TestTakingBackLeavesTheRingsFiles(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	if err := os.MkdirAll(filepath.Join(s.dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.put(t, "state/bans.conf", "# nobody\n")
	in := s.installer(t)
	in.Check = func(context.Context) error { panic("killed") }
	func() {
		defer func() { recover() }()
		in.Install(t.Context(), s.policy)
	}()
	const banned = "192.0.2.1/32 1;\n"
	s.put(t, "state/bans.conf", banned)
	in.Check = func(context.Context) error {
		if b, _ := os.ReadFile(filepath.Join(s.dir, "state/bans.conf")); string(b) != banned {
			t.Errorf("after the install that was killed: %q", b)
		}
		s.put(t, "state/bans.conf", banned+banned)
		return errors.New("no")
	}
	if err := in.Install(t.Context(), s.policy); err == nil {
		t.Error("it went well")
	}
	if b, _ := os.ReadFile(filepath.Join(s.dir, "state/bans.conf")); string(b) != banned+banned {
		t.Errorf("after the install that failed: %q", b)
	}
}

// Of two installs at once the second ends at once, and disturbs neither the first
// nor the one after it.
func TestTwoInstallsAtOnce(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	in := s.installer(t)
	in.Check = func(context.Context) error {
		was := s.state(t)
		if err := s.installer(t).Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "another install is at work") {
			t.Errorf("the second: %v", err)
		}
		s.unchanged(t, was)
		return s.served()
	}
	for range 2 {
		if err := in.Install(t.Context(), s.policy); err != nil {
			t.Error(err)
		}
	}
}

// An install that was killed is taken back by the next one.
func TestInstallThatWasKilled(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	in := s.installer(t)
	in.Check = func(context.Context) error { panic("killed") }
	was := s.state(t)
	func() {
		defer func() { recover() }()
		in.Install(t.Context(), s.policy)
	}()
	if len(s.state(t)) == len(was) {
		t.Fatal("nothing was written")
	}
	in.Check = func(context.Context) error { return errors.New("no") }
	said := ""
	in.Say = func(format string, args ...any) { said += fmt.Sprintf(format, args...) + "\n" }
	if err := in.Install(t.Context(), s.policy); err == nil {
		t.Error("it went well")
	}
	if !strings.Contains(said, "broken off") {
		t.Errorf("said %s", said)
	}
	s.unchanged(t, was)
}

// listens reports whether nginx has the new site.
func (s *server) listens() bool {
	c, err := net.Dial("tcp", s.policy.Edge.Listen)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// kill has an install end after nginx has taken the new site.
func (s *server) kill(t *testing.T) {
	t.Helper()
	in := s.installer(t)
	in.Check = func(context.Context) error { panic("killed") }
	func() {
		defer func() { recover() }()
		in.Install(t.Context(), s.policy)
	}()
	if !s.listens() {
		t.Fatal("nginx has not taken it")
	}
}

// nginx takes what the next install puts back, also when that install cannot begin;
// where nginx cannot, the one after it tries again.
func TestInstallThatWasKilledIsTakenBackByNginxToo(t *testing.T) {
	s := newServer(t)
	_, stopRing := s.startRing(t, echo)
	was := s.state(t)
	s.kill(t)
	if d, err := s.installer(t).Diff(t.Context(), s.policy); err != nil || !strings.HasPrefix(d, filepath.Join(s.dir, "ringwall-backups")) || !strings.Contains(d, "was broken off") {
		t.Errorf("all is written, and nothing proved: %v %q", err, d)
	}
	s.put(t, "conf.d/bad.conf", "server { listen }\n")
	if err := s.installer(t).Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "cannot be taken back") {
		t.Errorf("beside a broken file: %v", err)
	}
	if err := os.Remove(filepath.Join(s.dir, "conf.d/bad.conf")); err != nil {
		t.Fatal(err)
	}
	stopRing()
	if err := s.installer(t).Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "nothing answers there") {
		t.Errorf("without the ring: %v", err)
	}
	if s.listens() {
		t.Error("nginx goes on with what was taken back on the disk")
	}
	s.unchanged(t, was)
}

// An nginx that was stopped meanwhile is no reason not to take an install back.
func TestInstallThatWasKilledWhereNginxDoesNotRun(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	was := s.state(t)
	s.kill(t)
	s.stop()
	for range 2 {
		if err := s.installer(t).Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "systemctl start nginx") {
			t.Error(err)
		}
	}
	if is := s.state(t); len(is) != len(was) {
		t.Errorf("%d files, and %d before", len(is), len(was))
	}
}

// An install that could not be taken back is tried again by the next one.
func TestTakingBackThatFailsIsTriedAgain(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	was := s.state(t)
	in := s.installer(t)
	in.Check = func(context.Context) error {
		s.put(t, "conf.d/bad.conf", "server { listen }\n")
		return errors.New("no")
	}
	if err := in.Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "could not be taken back") {
		t.Errorf("beside a broken file: %v", err)
	}
	if err := os.Remove(filepath.Join(s.dir, "conf.d/bad.conf")); err != nil {
		t.Fatal(err)
	}
	s.policy.Edge.Nginx.Proof = policy.Secret{} // it cannot even begin
	if err := s.installer(t).Install(t.Context(), s.policy); err == nil || !strings.Contains(err.Error(), "edge.nginx.proof") {
		t.Error(err)
	}
	if s.listens() {
		t.Error("nginx goes on with what was taken back on the disk")
	}
	s.unchanged(t, was)
}

// Debian's page of welcome makes way, another site only when it is adopted; both
// come back when the install fails.
func TestInstallInThePlaceOfOthers(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	_, port, _ := net.SplitHostPort(s.policy.Edge.Redirect)
	s.policy.Edge.Redirect = ":" + port
	if err := os.MkdirAll(s.dir+"/available", 0o755); err != nil {
		t.Fatal(err)
	}
	s.put(t, "available/same", "server { listen "+port+"; server_name localhost; location / { proxy_pass http://127.0.0.1:8000; } }\n")
	if err := os.Symlink("../available/same", s.dir+"/conf.d/same.conf"); err != nil {
		t.Fatal(err)
	}
	in := s.installer(t)
	in.Adopt = s.dir + "/available/same"
	in.Check = func(context.Context) error { return errors.New("no") }
	was := s.state(t)
	if err := in.Install(t.Context(), s.policy); err == nil {
		t.Error("it went well")
	}
	s.unchanged(t, was)
	in.Check = func(context.Context) error { return s.served() }
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(s.dir + "/conf.d/same.conf"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the adopted site is still there: %v", err)
	}
	if _, err := os.Stat(s.dir + "/available/same"); err != nil {
		t.Errorf("the file that it linked to is gone: %v", err)
	}
}

// Without a certificate port 80 is served, for certbot to get one.
func TestInstallBeforeCertbot(t *testing.T) {
	s := newServer(t)
	s.startRing(t, echo)
	cert, err := os.ReadFile(s.policy.Edge.TLS.Cert)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.policy.Edge.TLS.Cert); err != nil {
		t.Fatal(err)
	}
	in := s.installer(t)
	in.Check = func(context.Context) error { return s.served() }
	if err := in.Install(t.Context(), s.policy); !errors.Is(err, nginx.ErrNeedsCertificate) {
		t.Fatal(err)
	}
	if d, err := in.Diff(t.Context(), s.policy); err != nil || !strings.Contains(d, "there is no certificate yet") {
		t.Errorf("port 80 alone is served: %v %q", err, d)
	}
	s.put(t, "webroot/.keep", "")
	if err := os.MkdirAll(s.dir+"/webroot/.well-known/acme-challenge", 0o755); err != nil {
		t.Fatal(err)
	}
	s.put(t, "webroot/.well-known/acme-challenge/token", "proof of the site")
	for path, want := range map[string]string{"/.well-known/acme-challenge/token": "proof of the site", "/.well-known/acme-challenge/../../etc/passwd": "", "/.well-known/acme-challenge/none": ""} {
		out, err := exec.Command("curl", "-s", "--path-as-is", "-H", "Host: localhost", "http://"+s.policy.Edge.Redirect+path).Output()
		if want != "" && string(out) != want || strings.Contains(string(out), "root:") {
			t.Errorf("GET %s: %v %s", path, err, out)
		}
	}
	if err := os.WriteFile(s.policy.Edge.TLS.Cert, cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := in.Install(t.Context(), s.policy); err != nil {
		t.Errorf("with the certificate: %v", err)
	}
	if d, err := in.Diff(t.Context(), s.policy); err != nil || d != "" {
		t.Errorf("with the certificate: %v %q", err, d)
	}
}

// welcome is the site of Debian's and Ubuntu's package, without its comments.
const welcome = `server {
	listen 80 default_server;
	listen [::]:80 default_server;
	# SSL configuration
	root /var/www/html;
	index index.html index.htm index.nginx-debian.html;
	server_name _;
	location / {
		try_files $uri $uri/ =404;
	}
}
`

func TestTheWelcomePageMakesWay(t *testing.T) {
	p := nginxPolicy(t)
	p.Edge.Nginx.Proof = policy.NewSecret(testProof)
	in := &nginx.Installer{Options: nginx.Options{Version: nginx.Version{Major: 1, Minor: 22}, Headers: headers, WithoutTLS: true, Now: time.Now}}
	const name = "/etc/nginx/sites-enabled/default"
	changes, _, err := in.Plan(p, []nginx.File{{Name: name, Text: welcome}})
	if err != nil || changes[0].Path != name || !changes[0].Remove {
		t.Errorf("%v %+v", err, changes)
	}
	if b, err := os.ReadFile("/etc/nginx/sites-available/default"); err == nil && strings.Contains(string(b), "index.nginx-debian.html") {
		if changes, _, err = in.Plan(p, []nginx.File{{Name: name, Text: string(b)}}); err != nil || !changes[0].Remove {
			t.Errorf("the installed one: %v %+v", err, changes)
		}
	}
	if _, _, err := in.Plan(p, []nginx.File{{Name: name, Text: strings.Replace(welcome, "/var/www/html", "/srv/site", 1)}}); err == nil || !strings.Contains(err.Error(), name+":1") {
		t.Errorf("one that somebody changed: %v", err)
	}
}
