package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/internal/quicktest"
)

// TestProved: what was not seen proves nothing.
func TestProved(t *testing.T) {
	stopped, stop := context.WithCancel(t.Context())
	stop()
	for name, tt := range map[string]struct {
		ctx      context.Context
		findings []check.Finding
		want     string // of the error; "": none
	}{
		"all pass":         {t.Context(), []check.Finding{check.Passed("seen")}, ""},
		"one fails":        {t.Context(), []check.Finding{check.Passed("seen"), check.Failed("a", "b", "c")}, "1 fail"},
		"one is unknown":   {t.Context(), []check.Finding{check.Passed("seen"), check.Unseen("not seen")}, ""},
		"one is not there": {t.Context(), []check.Finding{check.Passed("seen"), check.Moot("there is none")}, ""},
		"all are unknown":  {t.Context(), []check.Finding{check.Unseen("no answer"), check.Unseen("no answer")}, "0 pass"},
		"all are waived":   {t.Context(), []check.Finding{check.OffUntil(time.Now(), "why", "edge/tls", false)}, "0 pass"},
		"nothing is there": {t.Context(), nil, "0 pass"},
		"it was stopped":   {stopped, []check.Finding{check.Passed("seen"), check.Unseen("stopped")}, "canceled"},
	} {
		report, out := check.Report{}, &bytes.Buffer{}
		for i, f := range tt.findings {
			report.Results = append(report.Results, check.Result{Meta: check.Meta{ID: []string{"edge/tls", "edge/redirect"}[i]}, Finding: f})
		}
		unseen, err := proved(tt.ctx, out, report)
		if want := map[string]int{"one is unknown": 1}[name]; unseen != want {
			t.Errorf("%s: %d are said to be unseen", name, unseen)
		}
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
		if name == "one is unknown" && !strings.Contains(out.String(), "not seen") {
			t.Errorf("%s: nobody is told: %s", name, out)
		}
	}
}

func TestUnproved(t *testing.T) {
	for want, got := range map[string]string{"": unproved(false, 0), "1 control UNKNOWN": unproved(false, 1), "no check was made": unproved(true, 0)} {
		if !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestInstallOutlivesItsSession: neither the end of the terminal nor that nobody
// reads what it says ends an install.
func TestInstallOutlivesItsSession(t *testing.T) {
	quicktest.Skip(t, "starts processes")
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
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
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
