package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

const (
	versions = "schema_versions" // the table of what was migrated when

	// applicationID is in the header of every store's file: "RWL1".
	applicationID = 0x52574c31
)

// migrate brings the schema to the newest version; ErrInUse when it is older and
// another process uses the store.
func migrate(ctx context.Context, db *sql.DB, lock *fileLock) error {
	newest, err := newestVersion()
	if err != nil {
		return err
	}
	have, wal, err := version(ctx, db)
	switch {
	case err != nil:
		return err
	case have > newest:
		return newer(have, newest)
	case have == newest && wal:
		return nil
	}
	if err := lock.alone(); err != nil {
		return fmt.Errorf("its schema has version %d and %d is wanted, but %w: stop it first", have, newest, err)
	}
	if err := up(ctx, db); err != nil {
		return fmt.Errorf("bring the schema from version %d to %d: %w", have, newest, err)
	}
	return lock.share(ctx)
}

func newer(have, newest int64) error {
	return fmt.Errorf("its schema has version %d, and this ringwall knows %d: it was used by a newer one, install that again", have, newest)
}

// up migrates. The header comes first, so that a crash in between leaves what
// the next start goes on with.
func up(ctx context.Context, db *sql.DB) error {
	for _, pragma := range []string{fmt.Sprintf("PRAGMA application_id = %d", applicationID), "PRAGMA journal_mode = WAL"} {
		if _, err := db.ExecContext(ctx, pragma); err != nil {
			return err
		}
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(database.DialectSQLite3, db, dir, goose.WithTableName(versions), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

func newestVersion() (int64, error) {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	return int64(len(files)), err
}

// version is the schema's, 0 for an empty file, and whether the file is in WAL
// mode. A database of another program is an error.
func version(ctx context.Context, db *sql.DB) (v int64, wal bool, err error) {
	var id, tables int64
	var mode string
	if err := db.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT journal_mode FROM pragma_journal_mode),
		(SELECT count(*) FROM sqlite_schema)`).Scan(&id, &mode, &tables); err != nil {
		return 0, false, err
	}
	switch {
	case tables == 0:
		return 0, false, nil
	case id != applicationID:
		return 0, false, errors.New("it is a database of another program")
	}
	err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versions).Scan(&v)
	return v, mode == "wal", err
}
