package main

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge/nginx"
)

// TestServeReloadsTheNginxThatItIsBehind: a server that is root's, where no systemd
// runs, tells the nginx that the policy was installed on of a ban, and no other one
// of the machine; before an install it tells none, and says so.
func TestServeReloadsTheNginxThatItIsBehind(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("who is not root has nobody reloaded")
	}
	if _, err := os.Lstat("/etc/systemd/system/multi-user.target.wants/" + nginxUnit); err == nil {
		t.Skip("a unit of this machine watches the files")
	}
	s := newNginxSite(t)
	h, err := nginx.FindHost("")
	if err != nil {
		t.Fatal(err)
	}
	// Whoever takes the first nginx that there is takes this one.
	other := filepath.Join(s.dir, "other")
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	s.write(t, "bin/nginx", "#!/bin/sh\necho \"$@\" >>"+other+"\n")
	if err := os.Chmod(filepath.Join(s.dir, "bin/nginx"), 0o755); err != nil {
		t.Fatal(err)
	}
	serve := s.command("serve")
	serve.Env = append(serve.Env, "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	s.start(t, serve)

	status := func(from byte) int { // 0: the connection is closed
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, from)}, Timeout: 5 * time.Second}
		c := http.Client{Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: upgradeName}, DisableKeepAlives: true}, Timeout: 20 * time.Second}
		req, _ := http.NewRequest("GET", s.url+"/", nil)
		req.Host = upgradeName
		res, err := c.Do(req)
		if err != nil {
			return 0
		}
		res.Body.Close()
		return res.StatusCode
	}
	workers := func() string {
		pid, _ := os.ReadFile(filepath.Join(s.dir, "nginx.pid"))
		p := strings.TrimSpace(string(pid))
		b, _ := os.ReadFile("/proc/" + p + "/task/" + p + "/children")
		return string(b)
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: not within %v\n%s", what, patience, s.logged())
			}
		}
	}
	if got := status(1); got != 200 {
		t.Fatalf("before the ban: %d\n%s", got, s.logged())
	}
	before := workers()
	if out, err := s.command("ban", "add", "127.9.9.1").Output(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	await("without an install it says so", func() bool {
		return strings.Contains(s.logged(), "which nginx has this policy is not known until ringwall nginx install")
	})
	// What an install leaves behind.
	b, err := json.Marshal(nginx.Host{Binary: h.Binary, Conf: filepath.Join(s.dir, "nginx.conf"), Prefix: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "ringwall/host.json", string(b))
	await("it is told", func() bool { return workers() != before })
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // what refuses now is nginx itself
	await("nginx refuses the banned, and nobody else", func() bool { return status(1) == 0 && status(2) == 502 })
	if b, err := os.ReadFile(other); err == nil {
		t.Errorf("another nginx was run: %s", b)
	}
}
