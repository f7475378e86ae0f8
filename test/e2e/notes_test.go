package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNewcomer goes the way that the README shows, and what comes after it.
func TestNewcomer(t *testing.T) {
	d := deploy(t)
	t.Logf("ready after %v, with a new authority", d.start())

	t.Run("redirect", func(t *testing.T) {
		a := d.call("", "GET", d.Redirect+"/api/notes?q=1", "")
		if to := a.Header.Get("Location"); a.Status != http.StatusPermanentRedirect && a.Status != http.StatusMovedPermanently || to != d.URL+"/api/notes?q=1" {
			t.Errorf("%d to %q", a.Status, to)
		}
	})
	t.Run("curl", func(t *testing.T) { d.curl(t) })

	var n struct {
		ID          int
		Owner, Text string
	}
	t.Run("notes", func(t *testing.T) {
		a := d.call("alice", "POST", "/api/notes", `{"title":"Milk","text":"two litres"}`)
		if a.Status != 201 || json.Unmarshal(a.Body, &n) != nil || n.Owner == "" || a.Header.Get("Location") != fmt.Sprint("/api/notes/", n.ID) {
			t.Fatalf("create: %d %s, at %q", a.Status, a.Body, a.Header.Get("Location"))
		}
		one := fmt.Sprint("/api/notes/", n.ID)
		if a := d.call("alice", "PUT", one, `{"title":"Milk","text":"one litre"}`); a.Status != 200 {
			t.Errorf("change: %d %s", a.Status, a.Body)
		}
		if a := d.call("alice", "GET", one, ""); a.Status != 200 || !strings.Contains(string(a.Body), "one litre") {
			t.Errorf("get: %d %s", a.Status, a.Body)
		}
		if a := d.call("admin", "GET", one, ""); a.Status != 404 {
			t.Errorf("another's note: %d %s, want 404", a.Status, a.Body)
		}
		if a := d.call("admin", "GET", "/api/admin/notes", ""); a.Status != 200 || !strings.Contains(string(a.Body), "one litre") {
			t.Errorf("everyone's: %d %s", a.Status, a.Body)
		}
		if a := d.call("alice", "GET", "/api/notes?q=LITRE&limit=1", ""); a.Status != 200 || !strings.Contains(string(a.Body), "one litre") {
			t.Errorf("search: %d %s", a.Status, a.Body)
		}
		problem(t, "nobody reads", d.call("", "GET", "/api/notes", ""), 401)
		problem(t, "alice is no admin", d.call("alice", "GET", "/api/admin/notes", ""), 403)
		problem(t, "a member too many", d.call("alice", "POST", "/api/notes", `{"title":"a","text":"b","owner":"x"}`), 400)
		problem(t, "no such operation", d.call("alice", "GET", "/api/nothing", ""), 404)
	})
	if t.Failed() {
		return
	}

	t.Run("restart", func(t *testing.T) {
		d.stop()
		t.Logf("ready after %v, the second time", d.start())
		if a := d.call("alice", "GET", fmt.Sprint("/api/notes/", n.ID), ""); a.Status != 200 || !strings.Contains(string(a.Body), "one litre") {
			t.Errorf("after a restart: %d %s", a.Status, a.Body)
		}
		if a := d.call("alice", "DELETE", fmt.Sprint("/api/notes/", n.ID), ""); a.Status != 204 || len(a.Body) != 0 {
			t.Errorf("delete: %d %s", a.Status, a.Body)
		}
	})
	t.Run("check", func(t *testing.T) {
		d.proved()
		if a := d.call("alice", "GET", "/api/notes", ""); a.Status != 200 {
			t.Errorf("the check has shut its user out: %d %s", a.Status, a.Body)
		}
	})
	t.Run("secrets are private", func(t *testing.T) {
		err := filepath.WalkDir(d.state, func(path string, e os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := e.Info()
			if err != nil {
				return err
			}
			if info.Mode().Perm()&0o077 != 0 && filepath.Ext(path) != ".pem" {
				t.Errorf("%s is open to others: %v", path, info.Mode())
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		log := d.stderr.String() + d.stdout.String()
		for _, who := range []string{"user", "admin"} {
			var a struct{ Password string }
			if err := json.Unmarshal([]byte(d.account(who)), &a); err != nil || a.Password == "" {
				t.Fatal(who, err)
			}
			if strings.Contains(log, d.signIn(who)) || strings.Contains(log, a.Password) {
				t.Errorf("the token or the password of %s is in the output", who)
			}
		}
	})
	d.stop()
	t.Run("check of nothing", func(t *testing.T) {
		exit, results := d.check()
		if exit != 2 {
			t.Errorf("with the server stopped, check exits %d, want 2", exit)
		}
		for _, r := range results {
			if r.Verdict != "unknown" {
				t.Errorf("%s is %s with the server stopped: %s", r.ID, r.Verdict, r.Got)
			}
		}
	})
}

// curl does what the printed lines say, in the same words.
func (d *deployment) curl(t *testing.T) {
	curl := tool(t, "curl")
	d.account("admin") // is there
	_, script, _ := strings.Cut(d.stdout.String(), "\nnext:\n")
	script, _, _ = strings.Cut(script, "\n\n")
	if n := strings.Count(script, "curl "); n < 7 {
		t.Errorf("%d lines of curl are printed:\n%s", n, d.stdout)
	}
	// With --fail, curl says what was not answered 2xx.
	steps := exec.Command("sh", "-ec", strings.ReplaceAll(script, "curl ", "curl -sS --fail-with-body "))
	steps.Env = d.environ()
	if out, err := steps.CombinedOutput(); err != nil || !strings.Contains(string(out), "two litres") || !strings.Contains(string(out), " 0 fail, 0 unknown") {
		t.Errorf("the printed lines: %v\n%s\n%s", err, script, out)
	}
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--path-as-is {}/api/public/../admin/notes", "400"},
		{"--path-as-is {}/api/public/%2fadmin/notes", "400"},
		{"--path-as-is --http1.1 {}/api/public/..%2fadmin/notes", "000"}, // hung up on, as a scanner
		{"--path-as-is --http2 {}/api/public/..%2fadmin/notes", "000"},
		{"{}/.env", "000"},
		{"--path-as-is {}//api/notes", "400"},
		{"-X TRACE {}/", "405"},
		{"-H Host:evil.example {}/", "421"},
		{"-H X-Ringwall-User:alice {}/api/notes", "401"},
		{"-H X_Ringwall_User:alice {}/api/notes", "401"},
		{"--http2 {}/api/public/status", "200"},
		{"-I {}/api/public/status", "200"},
	} {
		args := append([]string{"--cacert", d.ca(), "-sS", "-o", "/dev/null", "-w", "%{http_code}"}, strings.Fields(strings.ReplaceAll(tt.args, "{}", d.URL))...)
		if out, err := exec.Command(curl, args...).Output(); (err != nil) != (tt.want == "000") || string(out) != tt.want {
			t.Errorf("curl %s: %v %s, want %s", tt.args, err, out, tt.want)
		}
	}
	if out, err := exec.Command(curl, "-sS", d.URL+"/healthz").CombinedOutput(); err == nil {
		t.Errorf("curl believes the certificate without --cacert: %s", out)
	}
}

// upstream is an API of the test's own behind a policy of its own.
func (d *deployment) upstream(h http.Handler, policy string) *httptest.Server {
	d.t.Helper()
	u, err := url.Parse(d.Upstream)
	if err != nil {
		d.t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		d.t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.Listener.Close()
	s.Listener = l
	s.Start()
	d.t.Cleanup(s.Close)
	d.policy = filepath.Join(d.t.TempDir(), "ringwall.yaml")
	if err := os.WriteFile(d.policy, []byte(policy), 0o600); err != nil {
		d.t.Fatal(err)
	}
	return s
}

const openPolicy = `
site: localhost
upstream: http://127.0.0.1:8000
app:
  timeout: 2s
  routes:
    - {path: "/public/", allow: [anyone]}
    - {path: "/", allow: [signed-in]}
`

// TestDrain: SIGTERM ends the server once the request under way has its answer.
func TestDrain(t *testing.T) {
	d := deploy(t)
	entered, release := make(chan struct{}), make(chan struct{})
	d.upstream(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		io.WriteString(w, "late, but whole")
	}), openPolicy)
	d.start()

	answered := make(chan answer, 1)
	go func() { answered <- d.call("", "GET", "/public/slow", "") }()
	<-entered
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// It drains from the moment that it takes no new connection.
	address := strings.TrimPrefix(d.URL, "https://")
	for deadline := time.Now().Add(patience); ; {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			break
		}
		conn.Close()
		if time.Now().After(deadline) {
			t.Fatal("it still takes connections after SIGTERM")
		}
	}
	select {
	case <-d.exited:
		t.Fatal("it ended with a request under way")
	default:
	}
	close(release)
	if a := <-answered; a.Status != 200 || string(a.Body) != "late, but whole" {
		t.Errorf("the request under way got %d %s", a.Status, a.Body)
	}
	d.waitExit(0)
}

// TestUpstreamGone: what is behind has stopped; the ring has not.
func TestUpstreamGone(t *testing.T) {
	d := deploy(t)
	api := d.upstream(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "up") }), openPolicy)
	d.start()
	if a := d.call("alice", "GET", "/", ""); a.Status != 200 {
		t.Fatalf("while it is up: %d %s", a.Status, a.Body)
	}
	if a := d.call("", "GET", "/readyz", ""); a.Status != 200 {
		t.Errorf("readyz while it is up: %d %s", a.Status, a.Body)
	}
	api.Close()
	problem(t, "an upstream that is gone", d.call("alice", "GET", "/", ""), 502)
	if a := d.call("", "GET", "/healthz", ""); a.Status != 200 {
		t.Errorf("healthz: %d %s", a.Status, a.Body)
	}
	problem(t, "refused before the upstream", d.call("", "GET", "/", ""), 401)
	exit, results := d.check()
	seen := map[string]int{}
	for _, r := range results {
		seen[r.Verdict]++
		if r.Verdict == "fail" {
			t.Errorf("%s fails because the API is down: %s, want %s", r.ID, r.Got, r.Want)
		}
	}
	if exit != 2 || seen["unknown"] == 0 || seen["pass"] == 0 {
		t.Errorf("check exits %d with %v, want 2 with some unknown and some pass", exit, seen)
	}
}
