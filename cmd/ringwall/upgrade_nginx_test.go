package main

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// newNginxSite is an upgradeSite behind a real nginx, which reaches it by a unix
// socket.
func newNginxSite(t *testing.T) *upgradeSite {
	t.Helper()
	if testing.Short() {
		t.Skip("a real nginx takes its time")
	}
	h, err := nginx.FindHost("")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	s := newUpgradeSite(t)
	https := porttest.Address(t)
	s.url = "https://" + https
	b, err := os.ReadFile(filepath.Join(s.dir, policyFile))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer(
		"  listen: localhost:0\n", "  engine: nginx\n  listen: "+https+"\n",
		"redirect: localhost:0", "redirect: "+porttest.Address(t),
		"{cert: site.pem, key: site.key}", fmt.Sprintf("{cert: %[1]s/site.pem, key: %[1]s/site.key}\n  nginx: {listen: \"unix:%[1]s/n.sock\", conf: %[1]s/conf.d/ringwall.conf, folder: %[1]s/ringwall, state: %[1]s/nginx, webroot: %[1]s/webroot, log: %[1]s/access.json}", s.dir),
		"requests: 1000000, per: 1s}\n  connections", "requests: 100000, per: 1s}\n  connections",
	).Replace(string(b))
	s.write(t, policyFile, text)
	for _, dir := range []string{"secrets", "conf.d", "ringwall", "nginx", "webroot"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.write(t, "secrets/edge_nginx_proof", proofOfTests+"\n")
	p, err := policy.Load(filepath.Join(s.dir, policyFile), policy.LoadOptions{Environ: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range nginx.Private(p) {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	render := s.command("nginx", "render")
	conf, err := render.Output()
	if err != nil {
		t.Fatalf("render: %v %s", err, s.logged())
	}
	s.write(t, "conf.d/ringwall.conf", string(conf))
	user := ""
	if os.Geteuid() == 0 {
		user = "user root;\n"
	}
	s.write(t, "nginx.conf", user+`worker_processes 2;
pid nginx.pid;
error_log error.log;
events { worker_connections 2048; }
http {
    access_log off;
    client_body_temp_path tmp-body;
    proxy_temp_path tmp-proxy;
    fastcgi_temp_path tmp-fastcgi;
    uwsgi_temp_path tmp-uwsgi;
    scgi_temp_path tmp-scgi;
    include conf.d/*.conf;
}
`)
	cmd := exec.Command(h.Binary, "-p", s.dir, "-c", filepath.Join(s.dir, "nginx.conf"), "-g", "daemon off;")
	cmd.Stderr = s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			b, _ := os.ReadFile(filepath.Join(s.dir, "error.log"))
			t.Logf("nginx said %s", b)
		}
	})
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", https); err == nil {
			c.Close()
			if pid, _ := os.ReadFile(filepath.Join(s.dir, "nginx.pid")); len(pid) > 0 { // it listens before it says who it is
				return s
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("nginx does not listen: " + s.logged())
		}
	}
}

var proofOfTests = base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32])

// hears sees that an event of nginx reaches the server that serves now.
func (s *upgradeSite) hears(t *testing.T, client string) {
	t.Helper()
	conn, err := net.Dial("unixgram", filepath.Join(s.dir, "n.sock.log"))
	if err != nil {
		t.Fatalf("nobody hears nginx: %v", err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, `<190>Nov 26 01:02:03 ringwall: %s {"why":"scanner","client":%q,"method":"GET","path":"/.env","request":"GET /.env HTTP/1.1"}`, proofOfTests, client); err != nil {
		t.Fatalf("nobody hears nginx: %v", err)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(s.logged(), client); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("an event of nginx is not in the log:\n%s", s.logged())
		}
	}
}

// Under load no client of nginx sees an upgrade, and nginx' events are heard after
// each, and after one that failed when the new server listened already.
func TestUpgradeBehindNginx(t *testing.T) {
	s := newNginxSite(t)
	s.start(t, s.command("serve"))
	s.hears(t, "192.0.2.1")
	asked, stop := s.load(t)
	defer stop()
	s.more(t, asked, 200)
	for i := range 2 {
		old := s.pid()
		if out, err := s.upgrade(); err != nil || s.pid() == old {
			t.Fatalf("upgrade: %v, %s", err, out)
		}
		s.more(t, asked, 200)
		s.hears(t, fmt.Sprintf("192.0.2.%d", 11+i))
	}

	good, err := os.ReadFile(filepath.Join(s.dir, policyFile))
	if err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s.write(t, policyFile, string(good)+"admin: "+taken.Addr().String()+"\n")
	if out, err := s.upgrade(); err == nil || !strings.Contains(out, "address already in use") {
		t.Errorf("an upgrade to a policy whose port is taken: %v, %s", err, out)
	}
	s.more(t, asked, 200)
	s.hears(t, "192.0.2.21")
}
