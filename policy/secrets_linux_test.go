package policy_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestSecretsOfAnotherUser: a folder that one may not enter is told once, and not
// for each secret that might be in it.
func TestSecretsOfAnotherUser(t *testing.T) {
	s := newSecretPlaces(t)
	write(t, s.beside, keyA, 0o600)
	if err := os.Chmod(filepath.Dir(s.beside), 0); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 { // root enters everywhere: this thread looks as nobody
		for folder := s.dir; folder != "/"; folder = filepath.Dir(folder) {
			if fi, err := os.Stat(folder); err == nil && fi.Mode().Perm()&0o001 == 0 {
				_ = os.Chmod(folder, fi.Mode().Perm()|0o011)
			}
		}
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // which ends with this
		if os.Geteuid() == 0 {
			syscall.RawSyscall(syscall.SYS_SETFSUID, 65534, 0, 0)
		}
		_, err := s.load()
		done <- err
	}()
	err := <-done
	if err == nil || strings.Count(err.Error(), "permission denied") != 1 || !strings.Contains(err.Error(), "the user that the folder belongs to") {
		t.Errorf("got %v", err)
	}
}
