package sqlitestore_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// plainSQL changes a file behind the store's back.
func plainSQL(t testing.TB, file, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
}

// refused wants Open to fail, with a text.
func refused(t *testing.T, file, text string) {
	t.Helper()
	s, err := sqlitestore.Open(t.Context(), file)
	if err == nil {
		s.Close()
		t.Errorf("%s was opened, want an error with %q", file, text)
	} else if !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), file) {
		t.Errorf("got the error %v, want one with %q and the file", err, text)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	garbage := file("garbage.db", strings.Repeat("garbage ", 1000))
	refused(t, garbage, "not a database")
	if b, _ := os.ReadFile(garbage); string(b) != strings.Repeat("garbage ", 1000) {
		t.Error("a file that is no database was changed")
	}

	other := filepath.Join(dir, "other.db")
	plainSQL(t, other, "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
	before, _ := os.ReadFile(other)
	refused(t, other, "another program")
	if after, _ := os.ReadFile(other); string(after) != string(before) {
		t.Error("a database of another program was changed")
	}

	newer := filepath.Join(dir, "newer.db")
	s := open(t, newer)
	s.Close()
	plainSQL(t, newer, "INSERT INTO schema_versions (version_id, is_applied) VALUES (99, 1)")
	refused(t, newer, "version 99, and this ringwall knows 2")

	refused(t, filepath.Join(dir, "none", "ringwall.db"), "no such file")
	refused(t, dir, "not a regular file")

	damaged := filepath.Join(dir, "damaged.db")
	s = open(t, damaged)
	fill(t, s, 100)
	s.Close()
	b, _ := os.ReadFile(damaged)
	for i := 4096; i < len(b); i++ { // all but the first page
		b[i] = 0xff
	}
	if err := os.WriteFile(damaged, b, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, damaged, "malformed")
}

func TestOpenTakesAccessFromOthers(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	open(t, file).Close()
	if err := os.Chmod(file, 0o666); err != nil {
		t.Fatal(err)
	}
	s := open(t, file)
	fill(t, s, 1)
	for _, suffix := range []string{"", "-wal", "-shm", ".lock"} {
		if fi, err := os.Stat(file + suffix); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("%s%s: %v, %v", file, suffix, fi.Mode(), err)
		}
	}
}

// TestOpenAtOnce: of many that make a store at once none fails.
func TestOpenAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			s, err := sqlitestore.Open(t.Context(), file)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := s.CreateAccount(t.Context(), store.Account{ID: fmt.Sprint(i), Email: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, err := open(t, file).CountAccounts(t.Context()); n != 10 || err != nil {
		t.Errorf("%d accounts, %v", n, err)
	}
}

// TestOldSchemaInUse: nobody changes the schema under a process that has it open.
func TestOldSchemaInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	s := open(t, file)
	plainSQL(t, file, "DELETE FROM schema_versions WHERE version_id > 0")
	if _, err := sqlitestore.Open(t.Context(), file); !errors.Is(err, sqlitestore.ErrInUse) || !strings.Contains(err.Error(), "stop it first") {
		t.Errorf("got %v", err)
	}
	if err := s.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAlone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	s, other := open(t, file), open(t, file)
	if err := s.Alone(); !errors.Is(err, sqlitestore.ErrInUse) {
		t.Errorf("with another: %v", err)
	}
	s.Close()
	if err := other.Alone(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second) // less, and it may not have come so far
	defer cancel()
	if _, err := sqlitestore.Open(ctx, file); !errors.Is(err, sqlitestore.ErrInUse) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("opened beside one that is alone: %v", err)
	}
}

// TestSlow: another process writes for long. Calls give up with their context,
// and what reads goes on.
func TestSlow(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ringwall.db")
	s := open(t, file)
	fill(t, s, 1)
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	quickest := time.Hour
	for try := 0; try < 5 && quickest > time.Second; try++ { // other load makes it slower only
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		began := time.Now()
		err = s.UpdateSession(ctx, "s0000", func(*store.Session, store.Account) error { t.Error("change was called"); return nil })
		if quickest = min(quickest, time.Since(began)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	}
	if quickest > time.Second {
		t.Errorf("it gave up after %v", quickest)
	}
	if _, err := s.Session(t.Context(), "s0000"); err != nil {
		t.Error(err)
	}
	if _, err := db.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateSession(t.Context(), "s0000", func(*store.Session, store.Account) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestReadOnlyFolder runs as a user whom permissions bind.
func TestReadOnlyFolder(t *testing.T) {
	if file := os.Getenv("READ_ONLY_STORE"); file != "" {
		_, err := sqlitestore.Open(t.Context(), file)
		fmt.Println("got:", err)
		return
	}
	dir, err := os.MkdirTemp("", "ringwall")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "ringwall.db")
	open(t, file).Close()
	self := filepath.Join(dir, "self")
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(self, b, 0o755), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run", "^TestReadOnlyFolder$", "-test.v")
	cmd.Env, cmd.Dir = append(os.Environ(), "READ_ONLY_STORE="+file), "/"
	if os.Geteuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "got: open the store "+file+": ") || !strings.Contains(string(out), "permission denied") && os.Geteuid() == 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestKilled kills a process that writes all the time, again and again. What it
// said that it had done is there, and nothing is there by halves.
func TestKilled(t *testing.T) {
	if file := os.Getenv("KILLED_STORE"); file != "" {
		writeForEver(file)
	}
	if testing.Short() {
		t.Skip("kills processes")
	}
	file := filepath.Join(t.TempDir(), "ringwall.db")
	rounds := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestKilled$")
		cmd.Env = append(os.Environ(), "KILLED_STORE="+file, fmt.Sprint("ROUND=", round))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		said, lines := "", 0
		scan := bufio.NewScanner(out)
		for scan.Scan() && lines < 5+round*7 {
			said = scan.Text()
			lines++
		}
		_ = cmd.Process.Kill() // SIGKILL
		for scan.Scan() {
			if s := scan.Text(); strings.HasPrefix(s, "done ") {
				said = s
			}
		}
		_ = cmd.Wait()
		var done int
		if _, err := fmt.Sscanf(said, "done %d", &done); err != nil {
			t.Fatalf("the process said %q", said)
		}
		rounds = done
		inspectKilled(t, file, round, done)
	}
	t.Logf("%d transactions in the last round", rounds)
}

// writeForEver changes many things together, and says so when each is done.
func writeForEver(file string) {
	ctx, round := context.Background(), os.Getenv("ROUND")
	s, err := sqlitestore.Open(ctx, file)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	for i := 1; ; i++ {
		id := round + "-" + fmt.Sprint(i)
		err := errors.Join(
			s.CreateAccount(ctx, store.Account{ID: id, Email: id, Created: start}),
			s.CreateSession(ctx, store.Session{ID: id, AccountID: id, Created: start, Expires: start.Add(time.Hour)}, 0, nil),
		)
		if err == nil {
			_, err = s.UpdateAccount(ctx, id, start, func(a *store.Account) (store.End, error) {
				a.Locked = start
				return store.End{Reason: "locked"}, nil
			})
		}
		if err == nil {
			err = s.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
				var all []store.Entry
				for range 3 {
					last = store.Entry{Seq: last.Seq + 1, Time: start, Event: []byte(id), Previous: last.Hash, Hash: []byte(id)}
					all = append(all, last)
				}
				return all, nil
			})
		}
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("done", i)
	}
}

func inspectKilled(t *testing.T, file string, round, done int) {
	t.Helper()
	ctx := t.Context()
	s := open(t, file)
	defer s.Close()
	for i := 1; ; i++ {
		id := fmt.Sprint(round, "-", i)
		a, err := s.Account(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			if i <= done {
				t.Fatalf("account %s of %d that were done is not there", id, done)
			}
			break
		}
		one, serr := s.Session(ctx, id)
		switch {
		case err != nil:
			t.Fatal(err)
		case i <= done && (serr != nil || a.Locked.IsZero()):
			t.Fatalf("%s was done, and is %+v, %+v, %v", id, a, one, serr)
		case serr == nil && a.Locked.IsZero() != one.Ended.IsZero():
			t.Fatalf("half a change: %+v, %+v", a, one)
		}
	}
	all, err := s.Entries(ctx, 0, 1<<30)
	if err != nil || len(all)%3 != 0 {
		t.Fatalf("%d entries, which come in threes: %v", len(all), err)
	}
	for i, e := range all {
		if e.Seq != int64(i+1) || string(e.Event) != string(all[i/3*3].Event) {
			t.Fatalf("entry %d: %+v", i+1, e)
		}
	}
}

// SQLite itself goes on in a file that nobody finds any more.
func TestFileGone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "store.db")
	s, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	use := func() []error {
		_, read := s.Account(t.Context(), "a")
		if errors.Is(read, store.ErrNotFound) {
			read = nil
		}
		_, write := s.UpdateAttempt(t.Context(), "k", func(a *store.Attempt) error { a.Failures++; return nil })
		return []error{s.Ping(t.Context()), read, write}
	}
	check := func(state string, good bool) {
		for i, err := range use() {
			if (err == nil) != good {
				t.Errorf("%s, call %d: %v", state, i, err)
			}
		}
	}
	check("at first", true)
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	check("removed", false)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	check("replaced", false)
	if err := os.Rename(file+".away", file); err != nil {
		t.Fatal(err)
	}
	check("put back", true)
}

// TestSchemaGrows: what the first version of the schema held is there after the
// newest was made of it.
func TestSchemaGrows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.db")
	s, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	want := store.Account{ID: "a", Email: "a@example.com", Name: "A", Roles: []string{"user"}, Created: time.UnixMicro(1).UTC()}
	if err := errors.Join(s.CreateAccount(t.Context(), want), s.Close()); err != nil {
		t.Fatal(err)
	}
	plainSQL(t, file, "DROP INDEX accounts_expires; ALTER TABLE accounts DROP COLUMN expires; DELETE FROM schema_versions WHERE version_id > 1")
	if s, err = sqlitestore.Open(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Account(t.Context(), "a")
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	if n, err := s.PruneAccounts(t.Context(), time.Now()); n != 0 || err != nil {
		t.Errorf("%d accounts of before pruned, %v", n, err)
	}
}

// TestRemovedInUse: whoever opens a store whose file was taken from under another
// process makes no empty one in its place.
func TestRemovedInUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "s.db")
	s, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Rename(file, file+".away"); err != nil {
		t.Fatal(err)
	}
	refused(t, file, "the file is missing, and another process uses the store")
	if _, err := os.Stat(file); err == nil {
		t.Error("it was made anew")
	}
	if err := errors.Join(os.Rename(file+".away", file), s.Ping(t.Context())); err != nil {
		t.Error(err)
	}
}
