package sqlitestore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fill makes accounts with a session, a ticket and an entry each.
func fill(t testing.TB, s store.Store, n int) {
	t.Helper()
	ctx := context.Background()
	for i := range n {
		id := fmt.Sprintf("%04d", i)
		err := errors.Join(
			s.CreateAccount(ctx, store.Account{ID: id, Email: id + "@example.com", Roles: []string{"user"}, Created: start}),
			s.CreateSession(ctx, store.Session{ID: "s" + id, AccountID: id, Created: start, Expires: start.Add(time.Hour), Current: []byte(id)}, 0, nil),
			s.PutTicket(ctx, store.Ticket{Sum: []byte(id), Kind: "reset", AccountID: id, Expires: start.Add(time.Hour)}),
			s.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
				return []store.Entry{{Seq: last.Seq + 1, Time: start, Event: []byte("{}"), Previous: last.Hash, Hash: []byte(id)}}, nil
			}))
		if err != nil {
			t.Fatal(err)
		}
	}
}

func tables(t testing.TB, s *sqlitestore.Store) []sqlitestore.Table {
	t.Helper()
	all, err := s.Tables(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func sameTables(t testing.TB, what string, got, want []sqlitestore.Table) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestBackup(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "ringwall.db"))
	fill(t, s, 3)
	file := filepath.Join(dir, "a b%?.db")
	got, err := s.Backup(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	sameTables(t, "backup", got, tables(t, s))
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	before, _ := os.ReadFile(file)
	if _, err := s.Backup(t.Context(), file); !errors.Is(err, fs.ErrExist) {
		t.Errorf("to a file that is there: %v", err)
	}
	if after, _ := os.ReadFile(file); string(after) != string(before) {
		t.Error("a backup was overwritten")
	}
	left, _ := filepath.Glob(filepath.Join(dir, "*.part*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	sameTables(t, "the backup, opened", tables(t, open(t, file)), got)
}

// TestBackupUnderLoad: each backup is one moment of a store in which an account
// and its entry in the chain come together.
func TestBackupUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "ringwall.db"))
	fill(t, s, 1)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 3 {
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				_ = s.UpdateSession(ctx, "s0000", func(n *store.Session, _ store.Account) error {
					n.Generation++
					n.UserAgent = strings.Repeat("x", int(n.Generation)%256)
					n.EndReason = fmt.Sprint(n.Generation)
					return nil
				})
				_ = s.CreateAccount(ctx, store.Account{ID: fmt.Sprint(w, "x", i), Email: fmt.Sprint(w, "x", i)})
			}
		})
	}
	for i := range 5 {
		file := filepath.Join(dir, fmt.Sprint(i))
		if _, err := s.Backup(t.Context(), file); err != nil {
			t.Error(err)
			continue
		}
		one, err := open(t, file).Session(t.Context(), "s0000")
		if err != nil || one.Generation > 0 && (one.EndReason != fmt.Sprint(one.Generation) || len(one.UserAgent) != int(one.Generation)%256) {
			t.Errorf("half a change is in the backup: %+v, %v", one, err)
		}
	}
	stop()
	wg.Wait()
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	file, backup := filepath.Join(dir, "ringwall.db"), filepath.Join(dir, "backup.db")
	s := open(t, file)
	fill(t, s, 3)
	if _, err := s.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	fill2 := func() error { return s.CreateAccount(t.Context(), store.Account{ID: "late", Email: "late"}) }
	if err := fill2(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := sqlitestore.Restore(t.Context(), backup, file, true); !errors.Is(err, sqlitestore.ErrInUse) {
		t.Fatalf("while it is used: %v", err)
	}
	want := tables(t, s)
	s.Close()
	if _, _, err := sqlitestore.Restore(t.Context(), backup, file, false); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("without replace: %v", err)
	}
	_, kept, err := sqlitestore.Restore(t.Context(), backup, file, true)
	if err != nil {
		t.Fatal(err)
	}
	sameTables(t, "the old store", tables(t, open(t, kept)), want)

	r := open(t, file)
	ctx := t.Context()
	if _, err := r.Account(ctx, "late"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an account of after the backup: %v", err)
	}
	if _, err := r.Account(ctx, "0002"); err != nil {
		t.Errorf("an account of the backup: %v", err)
	}
	all, err := r.ListSessions(ctx, "0001", start)
	if err != nil || len(all) > 0 {
		t.Errorf("sessions came back to life: %v, %v", all, err)
	}
	if one, err := r.Session(ctx, "s0001"); err != nil || one.EndReason != "revoked" {
		t.Errorf("%+v, %v", one, err)
	}
	if _, err := r.TakeTicket(ctx, "reset", []byte("0001"), start); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a ticket came back to life: %v", err)
	}
	if last, err := r.LastEntry(ctx); err != nil || last.Seq != 3 {
		t.Errorf("the chain: %+v, %v", last, err)
	}
	for _, name := range []string{file, kept} {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRestoreToANewPlace works from a folder that cannot be written.
func TestRestoreToANewPlace(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "ringwall.db"))
	fill(t, s, 1)
	from := filepath.Join(dir, "from")
	if err := os.Mkdir(from, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Backup(t.Context(), filepath.Join(from, "b")); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(from, "b"))
	if err := os.Chmod(from, 0o500); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "new.db")
	if _, kept, err := sqlitestore.Restore(t.Context(), filepath.Join(from, "b"), file, false); err != nil || kept != "" {
		t.Fatal(kept, err)
	}
	if n, err := open(t, file).CountAccounts(t.Context()); err != nil || n != 1 {
		t.Error(n, err)
	}
	after, _ := os.ReadFile(filepath.Join(from, "b"))
	if string(before) != string(after) {
		t.Error("the backup was changed")
	}
	if left, _ := os.ReadDir(from); len(left) != 1 {
		t.Errorf("beside the backup: %v", left)
	}
}

// TestRestoreRefuses what is no good backup, and leaves the store as it is.
// TestRootGivesAway: what root restores, and backs up, the server can open whose
// folder it is.
func TestRootGivesAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives a file away")
	}
	from := filepath.Join(t.TempDir(), "backup")
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	fill(t, s, 1)
	if _, err := s.Backup(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	owned := func(file string, uid, gid uint32) {
		t.Helper()
		fi, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		if st := fi.Sys().(*syscall.Stat_t); st.Uid != uid || st.Gid != gid || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s is %d:%d's, %v", filepath.Base(file), st.Uid, st.Gid, fi.Mode())
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "a.db")
	other := filepath.Join(dir, "other")
	err := errors.Join(os.Chown(dir, 1000, 1001), os.WriteFile(other, []byte("whole"), 0o644), os.Link(other, file+".part"))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := sqlitestore.Restore(t.Context(), from, file, true); err != nil {
		t.Fatal(err)
	}
	owned(file, 1000, 1001)
	owned(file+".lock", 1000, 1001)
	if b, err := os.ReadFile(other); string(b) != "whole" {
		t.Errorf("what had a second name is %.60q, %v", b, err)
	}
	if err := errors.Join(os.Chown(file, 1002, 1003), os.WriteFile(file+".part", []byte("of one that was killed"), 0o644)); err != nil {
		t.Fatal(err)
	}
	_, kept, err := sqlitestore.Restore(t.Context(), from, file, true)
	if err != nil {
		t.Fatal(err)
	}
	owned(file, 1002, 1003)
	owned(kept, 1002, 1003)
	copied := filepath.Join(dir, "copy")
	if _, err := s.Backup(t.Context(), copied); err != nil {
		t.Fatal(err)
	}
	owned(copied, 1000, 1001)
}

func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	file, good := filepath.Join(dir, "ringwall.db"), filepath.Join(dir, "good.db")
	s := open(t, file)
	fill(t, s, 100)
	if _, err := s.Backup(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	want := tables(t, s)
	s.Close()
	content, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	damaged := []byte(string(content))
	for i := len(damaged) / 2; i < len(damaged)/2+4096; i++ {
		damaged[i] ^= 0x55
	}
	for name, bad := range map[string][]byte{
		"empty": {}, "no database": []byte(strings.Repeat("garbage ", 1000)), "cut off": content[:len(content)/2],
		"damaged": damaged, "header alone": content[:100],
	} {
		b := filepath.Join(dir, "bad.db")
		if err := os.WriteFile(b, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, err := sqlitestore.Restore(t.Context(), b, file, true); err == nil {
			t.Errorf("%s was restored", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]string{
		"newer":                      "INSERT INTO schema_versions (version_id, is_applied) VALUES (99, 1)",
		"of another program":         "PRAGMA application_id = 1",
		"a ticket of no account":     "PRAGMA foreign_keys = OFF; DELETE FROM accounts WHERE id = '0001'",
		"an index that tells others": "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'sessions_expires'",
	} {
		b := filepath.Join(dir, "bad.db")
		if err := os.WriteFile(b, content, 0o600); err != nil {
			t.Fatal(err)
		}
		plainSQL(t, b, change)
		if _, _, err := sqlitestore.Restore(t.Context(), b, file, true); err == nil {
			t.Errorf("%s was restored", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
	if _, _, err := sqlitestore.Restore(t.Context(), filepath.Join(dir, "none"), file, true); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	sameTables(t, "after refusals", tables(t, open(t, file)), want)
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// Two that back up to the same name at once do not write into each other's file: the
// one that succeeds has a whole one. What a killed one left is no matter.
func TestBackupTwiceAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "ringwall.db"))
	fill(t, s, 200)
	for round := range 10 {
		to := filepath.Join(dir, fmt.Sprint("backup", round))
		if err := os.WriteFile(to+".part", []byte("half of it"), 0o600); err != nil {
			t.Fatal(err)
		}
		var errs [2]error
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = s.Backup(t.Context(), to) })
		}
		wg.Wait()
		good := 0
		for _, err := range errs {
			switch {
			case err == nil:
				good++
			case !errors.Is(err, fs.ErrExist) && !strings.Contains(err.Error(), "another process is writing"):
				t.Error(err)
			}
		}
		if good != 1 {
			t.Errorf("%d succeeded: %v", good, errs)
		}
		if n, err := open(t, to).CountAccounts(t.Context()); n != 200 || err != nil {
			t.Errorf("%d accounts, %v", n, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.part*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What the log grows to while somebody reads for long is given back.
func TestLogIsBounded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	s := open(t, file)
	fill(t, s, 1)
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := tx.QueryRow("SELECT count(*) FROM accounts").Scan(&n); err != nil {
		t.Fatal(err)
	}
	const bound = 16 << 20
	size := func() int64 {
		fi, err := os.Stat(file + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return fi.Size()
	}
	name := strings.Repeat("n", 1<<20)
	for i := 0; size() < bound+4<<20; i++ {
		if err := s.CreateAccount(t.Context(), store.Account{ID: fmt.Sprint("x", i), Email: fmt.Sprint("x", i), Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the first has all written into the file, the next begins the log anew
		if err := s.CreateAccount(t.Context(), store.Account{ID: fmt.Sprint("y", i), Email: fmt.Sprint("y", i)}); err != nil {
			t.Fatal(err)
		}
	}
	if got := size(); got > bound {
		t.Errorf("the log has %d bytes", got)
	}
}
