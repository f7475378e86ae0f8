package e2e

import (
	"bytes"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestAWatchEndsWhenItIsTold: a check that runs again and again ends well when
// systemd stops it.
func TestAWatchEndsWhenItIsTold(t *testing.T) {
	d := deploy(t)
	d.start()
	cmd := exec.Command(binary, "check", d.URL, "--only", "app/nosniff", "--watch", "1m")
	cmd.Dir, cmd.Env = d.state, d.environ()
	out, errs := newOutput("1 pass"), new(bytes.Buffer)
	cmd.Stdout, cmd.Stderr = out, errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-out.seen:
	case err := <-ended:
		t.Fatalf("it ended by itself: %v\n%s%s", err, out, errs)
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Fatalf("no report within %v\n%s", patience, out)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v, want exit 0\n%s", err, errs)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		t.Error("SIGTERM does not end it")
	}
}
