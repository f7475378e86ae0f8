package sqlitestore_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/internal/disktest"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// TestDiskFull fills a small file system.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	disktest.Small(t, dir, "1m")
	file := filepath.Join(dir, "ringwall.db")
	s := open(t, file)
	fill(t, s, 5)
	empty := disktest.Fill(t, dir)

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
	empty()
	if err := s.CreateAccount(t.Context(), store.Account{ID: "after", Email: "after"}); err != nil {
		t.Errorf("with space again: %v", err)
	}
	s.Close()
	if n, err := open(t, file).CountAccounts(t.Context()); err != nil || n != 6+done {
		t.Errorf("%d accounts, %v", n, err)
	}
}

// TestRootInTheServersFolder: what root makes is the server's, and a link that the
// server's user has put there leads root nowhere.
func TestRootInTheServersFolder(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is about root")
	}
	const server = 65534
	dir := t.TempDir()
	if err := os.Chown(dir, server, server); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ringwall.db")
	s := open(t, file)
	fill(t, s, 1)
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if fi, err := os.Stat(file + suffix); err != nil || fi.Sys().(*syscall.Stat_t).Uid != server || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %+v, %v", suffix, fi, err)
		}
	}
	s.Close()

	target := filepath.Join(t.TempDir(), "precious")
	for _, suffix := range []string{"", "-wal", ".lock"} {
		if err := errors.Join(os.WriteFile(target, []byte("precious"), 0o644), os.Chmod(target, 0o644)); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, "planted.db") + suffix
		if suffix != "" {
			open(t, filepath.Join(dir, "planted.db")).Close()
			_ = os.Remove(link)
		}
		if err := errors.Join(os.Symlink(target, link), os.Lchown(link, server, server)); err != nil {
			t.Fatal(err)
		}
		if s, err := sqlitestore.Open(t.Context(), filepath.Join(dir, "planted.db")); err == nil {
			s.Close()
			t.Errorf("%s: a link was followed", suffix)
		}
		if fi, err := os.Stat(target); err != nil || fi.Mode().Perm() != 0o644 {
			t.Errorf("%s: the target has mode %v, %v", suffix, fi.Mode(), err)
		}
		if b, err := os.ReadFile(target); err != nil || string(b) != "precious" {
			t.Errorf("%s: the target is %q, %v", suffix, b, err)
		}
		_ = os.Remove(link)
	}

	// A link of root's own is followed, as before.
	other := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(file, other); err != nil {
		t.Fatal(err)
	}
	if n, err := open(t, other).CountAccounts(t.Context()); n != 1 || err != nil {
		t.Errorf("%d accounts, %v", n, err)
	}
}
