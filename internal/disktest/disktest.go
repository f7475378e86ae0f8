//go:build unix

// Package disktest fills the disk for a test: for a while no file of the process
// can grow beyond a size, and what is written to it is cut off there.
package disktest

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

const alone = "DISKTEST_ALONE"

// Alone runs a test in a process of its own and returns true there, where the test
// goes on; elsewhere it returns false once that process has ended, with its verdict.
// The limit is the whole process's, and go test writes files from it, too.
func Alone(t *testing.T) bool {
	t.Helper()
	if os.Getenv(alone) == t.Name() {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), alone+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// Full returns what do does while no file can grow beyond size bytes. The test is
// to be Alone.
func Full(t *testing.T, size int64, do func() error) error {
	t.Helper()
	if os.Getenv(alone) != t.Name() {
		t.Fatal("the disk is full for other tests, too: disktest.Alone")
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	full := old
	full.Cur = uint64(size)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &full); err != nil {
		t.Fatal(err)
	}
	err := do()
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	return err
}
