package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestInstallOutlivesItsSession: neither the end of the terminal nor that nobody
// reads what it says ends an install.
func TestInstallOutlivesItsSession(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"slow-nginx": "#!/bin/sh\ntouch asked\nwhile [ ! -e go ]; do sleep 0.05; done\nexit 1\n",
		policyFile: "site: api.example.com\nupstream: http://127.0.0.1:8000\nedge:\n  engine: nginx\n  tls: {cert: /etc/ssl/site.pem, key: /etc/ssl/site.key}\n" +
			"  nginx: {folder: " + dir + "/folder}\napp: {routes: [{path: /, allow: [anyone]}]}\n",
		"secrets/edge_nginx_proof": proofOfTests + "\n",
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(dir, "slow-nginx"), 0o700); err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := exec.Command("ringwall", "nginx", "install", "--nginx", "./slow-nginx")
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "asked")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nginx is not asked")
		}
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-ended
	if cmd.ProcessState.ExitCode() != 1 { // -1: a signal's end
		t.Errorf("it ended with %v", cmd.ProcessState)
	}
}
