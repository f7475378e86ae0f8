package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/internal/disktest"
	"github.com/ringwall/ringwall/internal/state"
)

// init on a full disk leaves nothing that the next one would take for whole: no
// half a key, policy or line of .gitignore.
func TestInitDiskFull(t *testing.T) {
	if !disktest.Alone(t) {
		return
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".gitignore", []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	run := func() error {
		cmd := initCommand()
		cmd.SetArgs([]string{}) // none, and not those of the test
		cmd.SetOut(new(strings.Builder))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		return cmd.Execute()
	}
	for _, size := range []int{0, 20, 50, 1000} {
		if err := disktest.Full(t, int64(size), run); !errors.Is(err, syscall.EFBIG) {
			t.Fatalf("full after %d bytes: %v", size, err)
		}
		if b, err := os.ReadFile(tokenKey); err == nil && len(b) != 45 {
			t.Errorf("full after %d bytes: a key of %d bytes is left", size, len(b))
		}
		if _, err := os.Lstat(policyFile); err == nil {
			t.Errorf("full after %d bytes: half a policy is left", size)
		}
	}
	if err := os.WriteFile(".gitignore", []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := disktest.Full(t, 20, run); !errors.Is(err, syscall.EFBIG) {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(".gitignore"); string(b) != "mine" {
		t.Errorf(".gitignore is %q", b)
	}
	if err := run(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(".gitignore"); string(b) != "mine\nsecrets/\n.env\nringwall.db*\n" {
		t.Errorf(".gitignore is %q", b)
	}
	if left, _ := filepath.Glob("*/.*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// init in a folder of another user writes no key to where he has led it.
func TestInitFollowsNoPlantedLink(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can make a link of another user")
	}
	for _, name := range []string{"secrets", ".gitignore"} {
		elsewhere := t.TempDir()
		t.Chdir(t.TempDir())
		if err := errors.Join(os.Symlink(filepath.Join(elsewhere, "x"), name), os.Lchown(name, 65534, 65534), os.Mkdir(filepath.Join(elsewhere, "x"), 0o755)); err != nil {
			t.Fatal(err)
		}
		if name == ".gitignore" {
			_ = os.Remove(filepath.Join(elsewhere, "x"))
		}
		cmd := initCommand()
		cmd.SetArgs([]string{}) // none, and not those of the test
		cmd.SetOut(new(strings.Builder))
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), "is a link of another user") {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(elsewhere, "*", "*")); len(left) > 0 {
			t.Errorf("%s: written: %v", name, left)
		}
		if fi, err := os.Stat(filepath.Join(elsewhere, "x")); err == nil && !fi.IsDir() {
			t.Errorf("%s: written", name)
		}
	}
}

// A report goes where its name leads, and not where another user has led it.
func TestReportGoesNowhereElse(t *testing.T) {
	dir := t.TempDir()
	target, name := filepath.Join(dir, "precious"), filepath.Join(dir, "report.json")
	fresh := func(owner int) {
		t.Helper()
		_ = os.Remove(name)
		if err := errors.Join(os.WriteFile(target, []byte("precious"), 0o640), os.Symlink(target, name), os.Lchown(name, owner, owner)); err != nil {
			t.Fatal(err)
		}
	}
	reads := func(want string) {
		t.Helper()
		if b, err := os.ReadFile(target); err != nil || string(b) != want {
			t.Errorf("%q, %v; want %q", b, err, want)
		}
	}
	fresh(os.Geteuid())
	f := checkFlags{out: []string{name}}
	if err := errors.Join(f.writable(), replaceFile(name, []byte("report"))); err != nil {
		t.Error(err)
	}
	reads("report")
	if fi, err := os.Lstat(name); err != nil || fi.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", fi, err)
	}
	if fi, err := os.Stat(target); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", fi, err)
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can make a link of another user")
	}
	fresh(65534)
	for what, err := range map[string]error{"before the work": f.writable(), "after it": replaceFile(name, []byte("report"))} {
		if err == nil || !strings.Contains(err.Error(), name+" is a link of another user (uid 65534)") {
			t.Errorf("%s: %v", what, err)
		}
	}
	reads("precious")
	_ = os.Remove(name)
	if err := errors.Join(syscall.Mkfifo(name, 0o666), os.Chown(name, 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"before the work": f.writable(), "after it": replaceFile(name, []byte("report"))} {
		if err == nil || !strings.Contains(err.Error(), name+" is no file, and of another user") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// In shared memory a report is replaced, as on a disk: a shorter one is not written
// over the beginning of a longer one.
func TestReportInSharedMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "ringwall-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "report.json")
	if err := errors.Join(replaceFile(name, []byte("a longer one")), replaceFile(name, []byte("short"))); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(name); err != nil || string(b) != "short" {
		t.Errorf("%q, %v", b, err)
	}
}

// A server starts on a full disk.
func TestLockDiskFull(t *testing.T) {
	if !disktest.Alone(t) {
		return
	}
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var lock *os.File
	if err := disktest.Full(t, 0, func() (err error) { lock, err = lockState(dir, &inheritance{}); return err }); err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if _, err := lockState(dir, &inheritance{}); err == nil {
		t.Error("two servers have the state directory")
	}
}
