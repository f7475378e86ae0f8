// Package sqlitestore keeps everything in one SQLite file, without a server.
// One process or several of one machine may use it; a network file system will
// not do, since SQLite's locks and shared memory do not work there.
//
// Every change is on the disk when its call returns. One transaction writes at
// a time, and readers do not wait for it.
package sqlitestore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/ringwall/ringwall/store/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// readers is how many calls read at once.
const readers = 4

// A Store is a store.Store in a file.
type Store struct {
	*sqlstore.Store
	file string
	lock *fileLock
}

// A Table is a table's name, how many rows it has, and a sum over all of them.
type Table = sqlstore.Table

// Open opens the store in a file, which is made when it is missing, and brings
// its schema to the newest version; ctx bounds that. The file and those that
// SQLite keeps beside it are the owner's alone, mode 0600.
//
// While the file is not where it was opened, removed or replaced by another,
// every call fails.
//
// It is an error when the file is no store, when its schema is newer than this
// program, and when it is older and another process uses the file.
func Open(ctx context.Context, file string) (*Store, error) {
	s, err := open(ctx, file)
	if e, ok := errors.AsType[*sqlite.Error](err); ok && (e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE || e.Code() == sqlite3.SQLITE_FULL) {
		return nil, fmt.Errorf("open the store %s: there is no room on its disk: %w", file, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", file, err)
	}
	return s, nil
}

// How long Open waits for other processes that open, make or replace the store.
const patience = 10 * time.Second

func open(ctx context.Context, file string) (_ *Store, err error) {
	file, err = filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	turn, err := lockFolder(waiting, file)
	if err != nil {
		return nil, err
	}
	defer turn.release()
	lock, err := openLock(file)
	if err != nil {
		return nil, err
	}
	var writes *sql.DB
	defer func() {
		if err != nil {
			if writes != nil {
				err = errors.Join(err, writes.Close())
			}
			lock.release()
		}
	}()
	if err := lock.share(waiting); err != nil {
		return nil, err
	}
	if err := lock.mayMake(file); err != nil {
		return nil, err
	}
	if err := private(file); err != nil {
		return nil, err
	}
	opened, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if writes, err = connect(file, "immediate", "query_only(OFF)"); err != nil {
		return nil, err
	}
	writes.SetMaxOpenConns(1)
	if err := migrate(ctx, writes, lock); err != nil {
		return nil, err
	}
	reads, err := connect(file, "deferred", "query_only(ON)")
	if err != nil {
		return nil, err
	}
	reads.SetMaxOpenConns(readers)
	reads.SetMaxIdleConns(readers)
	d := dialect
	d.There = func() error {
		if now, err := os.Stat(file); err != nil || !os.SameFile(now, opened) {
			return errGone
		}
		return nil
	}
	return &Store{sqlstore.New(reads, writes, d), file, lock}, nil
}

// errGone: SQLite goes on in a file that was removed or replaced, as if nothing
// were wrong, and all of it is lost when the process ends.
var errGone = errors.New("the file was removed or replaced while it was open; put it back, or restart")

// Alone keeps the file from every other process until Close: ErrInUse when one
// has it open. Then only Close is left to do.
func (s *Store) Alone() error { return s.lock.alone() }

// Close waits for calls under way.
func (s *Store) Close() error {
	err := s.Store.Close()
	s.lock.release()
	return err
}

// connect names the file to the driver; nothing is opened yet, and opening does
// not change the file. Besides the pragmas for durability there are those
// against a damaged or planted file: they cost nothing that shows. WAL mode is
// kept in the file; migrate sets it.
func connect(file, begin string, more ...string) (*sql.DB, error) {
	q := url.Values{
		"_txlock": {begin}, "_defensive": {"1"}, "_dqs": {"0"}, "_error_rc": {"1"},
		"_pragma": append([]string{
			"busy_timeout(5000)", // another process may write
			"synchronous(FULL)",  // NORMAL would lose the last logouts when the power fails
			"foreign_keys(ON)",
			"secure_delete(ON)", // what is deleted is overwritten
			"trusted_schema(OFF)",
			"cell_size_check(ON)",
			"journal_size_limit(16777216)", // what the log grew to during a backup is given back
		}, more...),
	}
	c, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(c), nil
}

// private makes the file when it is missing and takes all access to it from
// others. SQLite gives those beside it the same mode. A link that another user may
// have put there is not followed: it could lead root to any file.
func private(file string) error {
	f, err := makeFile(file)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if st := fi.Sys().(*syscall.Stat_t); fi.Mode()&fs.ModeSymlink != 0 && st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is a link of another user (uid %d): name the file itself", file, st.Uid)
	}
	if file, err = filepath.EvalSymlinks(file); err != nil {
		return err
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		fi, err := os.Lstat(file + suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist) && suffix != "":
			continue
		case err != nil:
			return err
		case !fi.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file", file+suffix)
		case fi.Mode().Perm()&0o177 != 0:
			if err := os.Chmod(file+suffix, fi.Mode().Perm()&0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

var dialect = sqlstore.Dialect{
	Rewrite:   func(q string) string { return strings.ReplaceAll(q, "$", "?") },
	Isolation: sql.LevelDefault, // serializable
	Snapshot:  sql.LevelDefault,
	Classify: func(err error) sqlstore.Kind {
		if e, ok := errors.AsType[*sqlite.Error](err); ok {
			switch e.Code() {
			case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
				return sqlstore.Unique
			case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
				return sqlstore.Foreign
			}
		}
		return sqlstore.Other
	},
}
