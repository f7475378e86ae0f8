package pgstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"

	"github.com/ringwall/ringwall/store/internal/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	schema   = "ringwall"
	versions = "schema_versions" // the table of what was migrated when

	// migrating is the advisory lock of who migrates: "RWL1".
	migrating = 0x52574c31
)

// migrate brings the schema to the newest version. Of several nodes that start
// at once one does it, and the others wait.
func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	newest := int64(len(files))
	have, err := version(ctx, db)
	switch {
	case err != nil:
		return err
	case have > newest:
		return fmt.Errorf("its schema has version %d, and this ringwall knows %d: it was used by a newer one, install that again", have, newest)
	case have == newest:
		return nil
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(migrating), lock.WithLockTimeout(1, 30))
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(database.DialectPostgres, db, dir, goose.WithTableName(versions),
		goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the schema from version %d to %d: %w", have, newest, err)
	}
	return nil
}

// version is the schema's, 0 for a new one, which it makes.
func version(ctx context.Context, db *sql.DB) (v int64, err error) {
	var encoding string
	var number int
	var there, used bool
	if err := db.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_setting('server_version_num')::int,
		to_regnamespace($1) IS NOT NULL, to_regclass($1 || '.' || $2) IS NOT NULL`, schema, versions).Scan(&encoding, &number, &there, &used); err != nil {
		return 0, err
	}
	switch {
	case number < 130000:
		return 0, fmt.Errorf("the server has version %d.%d, and 13 or newer is wanted", number/10000, number%10000)
	case encoding != "UTF8":
		return 0, fmt.Errorf("the database holds text as %s: make it with ENCODING 'UTF8'", encoding)
	case used:
		err = db.QueryRowContext(ctx, "SELECT coalesce(max(version_id), 0) FROM "+versions).Scan(&v)
		return v, err
	case there:
		return 0, nil
	}
	_, err = db.ExecContext(ctx, "CREATE SCHEMA IF NOT EXISTS "+schema)
	if err != nil && classify(err) != sqlstore.Unique { // another node makes it right now
		return 0, fmt.Errorf("make the schema %s: %w", schema, err)
	}
	return 0, nil
}
