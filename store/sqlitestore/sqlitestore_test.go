package sqlitestore_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
	"github.com/ringwall/ringwall/store/storetest"
)

func open(t testing.TB, file string) *sqlitestore.Store {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestOpenMakesPrivateFiles(t *testing.T) {
	for _, name := range []string{"ringwall.db", "a b%20?#&c.db", "ü.db"} {
		dir := t.TempDir()
		s := open(t, filepath.Join(dir, name))
		if err := s.CreateAccount(t.Context(), store.Account{ID: "a", Email: "a@example.com"}); err != nil {
			t.Fatal(err)
		}
		seen := 0
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			fi, err := d.Info()
			if err == nil && fi.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v", path, fi.Mode())
			}
			seen++
			return err
		})
		if err != nil || seen != 4 { // also -wal, -shm, .lock
			t.Errorf("%d files, %v", seen, err)
		}
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkUpdateSession(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "ringwall.db"))
	ctx, now := context.Background(), time.Now()
	if err := s.CreateAccount(ctx, store.Account{ID: "a", Email: "a@example.com", Roles: []string{"user"}}); err != nil {
		b.Fatal(err)
	}
	if err := s.CreateSession(ctx, store.Session{ID: "s", AccountID: "a", Created: now, Expires: now.Add(time.Hour), Current: make([]byte, 32)}, 10, nil); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.UpdateSession(ctx, "s", func(n *store.Session, _ store.Account) error {
			n.Generation++
			n.Previous, n.Current = n.Current, make([]byte, 32)
			n.Successor = make([]byte, 90)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}

func TestConformance(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store { return open(t, filepath.Join(t.TempDir(), "ringwall.db")) })
}
