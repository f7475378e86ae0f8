package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/internal/quicktest"
)

// TestSystemdUnits has systemd judge the units that we ship.
func TestSystemdUnits(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(err)
	}
	binary, err := exec.LookPath("ringwall")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shipped, err := filepath.Glob("../../packaging/systemd/ringwall*")
	if err != nil || len(shipped) < 3 {
		t.Fatalf("units: %v, %v", shipped, err)
	}
	args := []string{"verify"}
	for _, path := range shipped {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.ReplaceAll(b, []byte("/usr/local/bin/ringwall"), []byte(binary)) // which must be there
		unit := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(unit, b, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, unit)
	}
	if out, err := exec.Command(analyze, args...).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
	// 0 is a process that can do nothing, 100 one that can do all.
	for unit, most := range map[string]string{"ringwall.service": "15", "ringwall-check.service": "50"} { // the second looks at everything as root
		if out, err := exec.Command(analyze, "security", "--offline=true", "--threshold="+most, filepath.Join(dir, unit)).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze security %s: %v\n%s", unit, err, out)
		}
	}
}

// activated runs the server of a site on sockets that systemd's own tool opens.
func activated(t *testing.T, s *upgradeSite, names string, sockets []string, env ...string) *exec.Cmd {
	t.Helper()
	tool, err := exec.LookPath("systemd-socket-activate")
	if err != nil {
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	args := []string{"--fdname=" + names}
	for _, at := range sockets {
		args = append(args, "--listen="+at)
	}
	for _, v := range append(env, s.env, "PATH="+os.Getenv("PATH"), "NO_COLOR=1") {
		args = append(args, "--setenv="+v)
	}
	cmd := exec.CommandContext(ctx, tool, append(args, "ringwall", "serve")...)
	cmd.Dir, cmd.Stderr, cmd.Stdout = s.dir, s.log, s.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(s.logged())
		}
	})
	return cmd
}

// freePorts are addresses that nobody listens on.
func freePorts(t *testing.T, n int) (addresses []string) {
	t.Helper()
	for range n {
		addresses = append(addresses, porttest.Address(t))
	}
	return addresses
}

// connect waits until the tool listens, which starts the server.
func connect(t *testing.T, address string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) { // it says nothing when it does
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func TestSocketsOfSystemdAreServed(t *testing.T) {
	s := newUpgradeSite(t)
	at := freePorts(t, 2)
	cmd := activated(t, s, "https:redirect", at, "RINGWALL_EDGE_LISTEN="+at[0], "RINGWALL_EDGE_REDIRECT="+at[1])
	connect(t, at[0])
	client := &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: upgradeName}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       patience,
	}
	for url, want := range map[string]int{"https://" + at[0] + "/healthz": 200, "http://" + at[1] + "/": 308} {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = upgradeName
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s, want %d", url, res.Status, want)
		}
	}
	// The tool has become the server: these are its own sockets, and no others.
	if s.pid() != cmd.Process.Pid {
		t.Errorf("pid %d serves, want %d", s.pid(), cmd.Process.Pid)
	}
}

func TestSocketsOfSystemdThatThePolicyDoesNotKnow(t *testing.T) {
	at := freePorts(t, 2)
	for _, tt := range []struct{ name, listen, want string }{
		{"https", at[1], "edge.listen: the inherited socket https is at " + at[0] + ", and the policy says " + at[1]},
		{"admin", "127.0.0.1:0", "given a socket named admin"},
		{"web", "127.0.0.1:0", "FileDescriptorName="},
	} {
		s := newUpgradeSite(t)
		cmd := activated(t, s, tt.name, at[:1], "RINGWALL_EDGE_LISTEN="+tt.listen)
		connect(t, at[0])
		if err := cmd.Wait(); err == nil || !strings.Contains(s.logged(), tt.want) {
			t.Errorf("%s: %v, %s; want %q", tt.name, err, s.logged(), tt.want)
		}
	}
}
