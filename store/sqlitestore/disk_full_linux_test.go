package sqlitestore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/store"
)

// TestDiskFull fills a small file system.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("a small file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, 0) })
	file := filepath.Join(dir, "ringwall.db")
	s := open(t, file)
	fill(t, s, 5)
	ballast := filepath.Join(dir, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	f.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}

	var full error
	done := 0
	for i := 0; i < 2000 && full == nil; i++ {
		full = s.CreateAccount(t.Context(), store.Account{ID: fmt.Sprint("x", i), Email: fmt.Sprint("x", i), Name: strings.Repeat("n", 1000)})
		if full == nil {
			done++
		}
	}
	if full == nil || !strings.Contains(full.Error(), "full") {
		t.Fatalf("got %v after %d accounts", full, done)
	}
	if n, err := s.CountAccounts(t.Context()); err != nil || n != 5+done {
		t.Errorf("%d accounts, %v, want %d: what was not refused is there", n, err, 5+done)
	}
	if _, err := s.Backup(t.Context(), filepath.Join(dir, "backup")); err == nil {
		t.Error("a backup was written to a full disk")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "backup*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateAccount(t.Context(), store.Account{ID: "after", Email: "after"}); err != nil {
		t.Errorf("with space again: %v", err)
	}
	s.Close()
	if n, err := open(t, file).CountAccounts(t.Context()); err != nil || n != 6+done {
		t.Errorf("%d accounts, %v", n, err)
	}
}
