package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"

	"github.com/ringwall/ringwall/store/internal/sqlstore"
)

// Backup writes everything, as it is at one moment, into a new file that the
// owner alone can read, and returns what is in that file. Other calls, and other
// processes, go on meanwhile. The file appears when it is whole, on the disk and
// checked; one that is there already is never replaced: fs.ErrExist.
func (s *Store) Backup(ctx context.Context, file string) ([]Table, error) {
	all, err := s.backup(ctx, file)
	if err != nil {
		return nil, fmt.Errorf("back up to %s: %w", file, err)
	}
	return all, nil
}

func (s *Store) backup(ctx context.Context, file string) ([]Table, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(file); err == nil {
		return nil, fs.ErrExist
	}
	part := file + ".part"
	whole, err := claim(part, filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	defer whole.release()
	defer removeAll(part)
	if err := snapshot(ctx, s.file, part); err != nil {
		return nil, err
	}
	all, err := inspect(ctx, part)
	if err != nil {
		return nil, err
	}
	if err := os.Link(part, file); err != nil { // does not replace, as a rename would
		return nil, err
	}
	return all, syncFolder(file)
}

// Restore puts a backup in the place of a store that nobody uses: ErrInUse
// otherwise. It checks the backup first, and brings its schema to the newest
// version. A store that is there already is fs.ErrExist, unless replace is set:
// it is then kept under the name that is returned, until somebody removes it: only
// people know when nothing of it is missed. What root restores belongs to the
// owner of the store that was there, else of the folder. After an error, and after a
// crash, the store is the old one or the new one, never a mixture.
//
// What ended after the backup must not live again: all sessions of the backup
// end, with the reason "revoked", and its tickets are gone.
func Restore(ctx context.Context, backup, file string, replace bool) (all []Table, kept string, err error) {
	all, kept, err = restore(ctx, backup, file, replace)
	if err != nil {
		return nil, kept, fmt.Errorf("restore %s from %s: %w", file, backup, err)
	}
	return all, kept, nil
}

func restore(ctx context.Context, backup, file string, replace bool) (all []Table, kept string, err error) {
	if file, err = filepath.Abs(file); err != nil {
		return nil, "", err
	}
	if backup, err = filepath.Abs(backup); err != nil {
		return nil, "", err
	}
	if _, err := inspect(ctx, backup); err != nil {
		return nil, "", err
	}
	lock, err := openLock(file)
	if err != nil {
		return nil, "", err
	}
	defer lock.release()
	if err := lock.alone(); err != nil {
		return nil, "", err
	}
	there, like := false, filepath.Dir(file)
	switch _, err := os.Lstat(file); {
	case err == nil && !replace:
		return nil, "", fs.ErrExist
	case err == nil:
		there, like = true, file
	case !errors.Is(err, fs.ErrNotExist):
		return nil, "", err
	}
	part := file + ".part"
	whole, err := claim(part, like)
	if err != nil {
		return nil, "", err
	}
	defer whole.release()
	defer removeAll(part)
	if err := snapshot(ctx, backup, part); err != nil {
		return nil, "", err
	}
	if all, err = renew(ctx, part); err != nil {
		return nil, "", err
	}
	if there {
		kept = file + ".before-" + time.Now().UTC().Format("20060102T150405.000000Z")
		if err := keep(ctx, file, kept); err != nil {
			return nil, "", fmt.Errorf("keep the old store: %w", err)
		}
	}
	if err := os.Rename(part, file); err != nil {
		return nil, kept, err
	}
	return all, kept, syncFolder(file)
}

// keep gives a store that nobody uses a second name. Its log, which must never
// be found beside another store, is written into it first; that of a damaged
// one goes with it.
func keep(ctx context.Context, file, name string) error {
	if db, err := connect(file, "immediate"); err == nil {
		_, _ = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
		_ = db.Close()
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Rename(file+suffix, name+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return os.Link(file, name)
}

// snapshot copies the database of a file, as it is at one moment, to an empty one.
func snapshot(ctx context.Context, from, to string) error {
	db, err := readOnly(from)
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.ExecContext(ctx, "VACUUM INTO ?", to); err != nil {
		return err
	}
	return syncFile(to)
}

// readOnly opens a file that may be anything.
func readOnly(file string) (*sql.DB, error) {
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	q := url.Values{"mode": {"ro"}, "_defensive": {"1"}, "_error_rc": {"1"}, "_pragma": {"busy_timeout(5000)", "trusted_schema(OFF)", "cell_size_check(ON)"}}
	c, err := sqlite.NewConnector((&url.URL{Scheme: "file", Path: file, RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(1)
	return db, nil
}

// inspect sees that a file is a whole store, of a schema that this program
// knows, and returns what is in it.
func inspect(ctx context.Context, file string) ([]Table, error) {
	db, err := readOnly(file)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	have, _, err := version(ctx, db)
	if err != nil {
		return nil, err
	}
	newest, err := newestVersion()
	switch {
	case err != nil:
		return nil, err
	case have == 0:
		return nil, errors.New("there is nothing in it")
	case have > newest:
		return nil, newer(have, newest)
	}
	if err := whole(ctx, db); err != nil {
		return nil, err
	}
	if have < newest {
		return nil, nil // its tables may be others
	}
	return sqlstore.New(db, db, dialect).Tables(ctx)
}

// whole runs SQLite's own checks.
func whole(ctx context.Context, db *sql.DB) error {
	for _, check := range []string{"SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
		"SELECT 'a row of '||\"table\"||' refers to none of '||parent FROM pragma_foreign_key_check"} {
		var complaint string
		switch err := db.QueryRowContext(ctx, check).Scan(&complaint); {
		case err == nil:
			return fmt.Errorf("it is damaged: %s", complaint)
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
	}
	return nil
}

// renew makes a copied backup a store that can be used.
func renew(ctx context.Context, file string) ([]Table, error) {
	db, err := connect(file, "immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	s := sqlstore.New(db, db, dialect)
	defer s.Close()
	if err := up(ctx, db); err != nil {
		return nil, err
	}
	for _, q := range []string{"UPDATE sessions SET ended = ?1, end_reason = 'revoked' WHERE ended IS NULL", "DELETE FROM tickets WHERE ?1 > 0"} {
		if _, err := db.ExecContext(ctx, q, time.Now().UnixMicro()); err != nil {
			return nil, err
		}
	}
	all, err := s.Tables(ctx)
	if err != nil {
		return nil, err
	}
	return all, errors.Join(s.Close(), syncFile(file)) // Close moves all into the file
}

// besides are the ends of the names of what SQLite keeps beside a file.
var besides = []string{"-wal", "-shm", "-journal"}

// removeAll removes a file that is not whole.
func removeAll(file string) {
	_ = os.Remove(file)
	for _, suffix := range besides {
		_ = os.Remove(file + suffix)
	}
}

func syncFile(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func syncFolder(file string) error { return syncFile(filepath.Dir(file)) }
