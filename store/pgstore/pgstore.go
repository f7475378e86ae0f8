// Package pgstore keeps everything in PostgreSQL, version 13 or newer, for more
// than one node or for who runs one anyway.
//
// It has a schema of its own, named ringwall, in the database that it is given:
// tables of other programs are not touched. Every change is committed when its
// call returns, as durably as synchronous_commit of the server says.
package pgstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/ringwall/ringwall/store/internal/sqlstore"
)

// The most connections at once. Those that change something are apart, so that
// many that wait for one row do not keep others from reading.
const (
	readers = 4
	writers = 12
)

// A Store is a store.Store in a PostgreSQL database.
type Store struct{ *sqlstore.Store }

// Open connects to the database of a postgres:// URL and brings its schema to
// the newest version; ctx bounds that. The password, when there is one, is not
// in the URL. What the URL does not say comes from the PG* variables and
// defaults that other PostgreSQL clients know too.
//
// Over a network the connection is encrypted and the server's certificate is
// verified, unless the URL asks for sslmode=verify-ca or require; less is
// refused. A unix socket and loopback may do without.
//
// It is an error when the schema is newer than this program.
func Open(ctx context.Context, address, password string) (*Store, error) {
	s, err := open(ctx, address, password)
	if err != nil {
		return nil, fmt.Errorf("open the store in PostgreSQL: %w", err)
	}
	return s, nil
}

func open(ctx context.Context, address, password string) (*Store, error) {
	cfg, err := config(address, password)
	if err != nil {
		return nil, err
	}
	writes, reads := pool(cfg, writers), pool(cfg, readers)
	s := &Store{sqlstore.New(reads, writes, dialect)}
	if err := migrate(ctx, writes); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func pool(cfg *pgx.ConnConfig, most int) *sql.DB {
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

func config(address, password string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "postgres" {
		return nil, errors.New("its address does not begin with postgres://")
	}
	q := u.Query()
	if local, err := localHost(address); err != nil {
		return nil, err
	} else if !local && !q.Has("sslmode") && os.Getenv("PGSSLMODE") == "" {
		q.Set("sslmode", "verify-full")
		u.RawQuery = q.Encode()
	}
	cfg, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, err
	}
	if host := plain(cfg); host != "" {
		return nil, fmt.Errorf("the connection to %s would not always be encrypted: remove sslmode from the address, or write sslmode=verify-full", host)
	}
	if password != "" {
		cfg.Password = password
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * time.Second
	}
	for name, value := range map[string]string{
		"application_name": "ringwall",
		// A node that is gone in the middle of a transaction holds no row for long.
		"idle_in_transaction_session_timeout": "30s",
	} {
		if cfg.RuntimeParams[name] == "" {
			cfg.RuntimeParams[name] = value
		}
	}
	cfg.RuntimeParams["search_path"] = schema
	return cfg, nil
}

// localHost says whether an address leads to this machine only.
func localHost(address string) (bool, error) {
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		return false, err
	}
	if !local(cfg.Host) {
		return false, nil
	}
	for _, f := range cfg.Fallbacks {
		if !local(f.Host) {
			return false, nil
		}
	}
	return true, nil
}

func local(host string) bool {
	ip, err := netip.ParseAddr(host)
	return filepath.IsAbs(host) || host == "localhost" || err == nil && ip.IsLoopback()
}

// plain names a host that would be spoken to without TLS over a network, or is
// "". It judges what would be done, not what the address says.
func plain(cfg *pgx.ConnConfig) string {
	if !local(cfg.Host) && cfg.TLSConfig == nil {
		return cfg.Host
	}
	for _, f := range cfg.Fallbacks {
		if !local(f.Host) && f.TLSConfig == nil {
			return f.Host
		}
	}
	return ""
}

var dialect = sqlstore.Dialect{
	Rewrite:   func(q string) string { return q },
	Classify:  classify,
	Isolation: sql.LevelReadCommitted, // rows are locked by name
	Snapshot:  sql.LevelRepeatableRead,
	ForUpdate: " FOR UPDATE",
	LockChain: "LOCK TABLE entries IN SHARE ROW EXCLUSIVE MODE", // readers go on
	Mark:      "SELECT pg_current_xact_id()::text",
	Outcome:   "SELECT pg_xact_status($1::text::xid8)",
}

// classify reads the codes of PostgreSQL's appendix A.
func classify(err error) sqlstore.Kind {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		switch e.Code {
		case "23505": // unique_violation
			return sqlstore.Unique
		case "23503": // foreign_key_violation
			return sqlstore.Foreign
		case "40001", "40P01", // serialization_failure, deadlock_detected
			"57P01", "57P02", "25P03": // admin_shutdown, crash_shutdown, idle_in_transaction_session_timeout
			return sqlstore.Again
		}
		return sqlstore.Other
	}
	if _, ok := errors.AsType[*pgconn.ConnectError](err); ok {
		return sqlstore.Other // the server is out
	}
	for _, lost := range []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, lost) {
			return sqlstore.Again
		}
	}
	if pgconn.SafeToRetry(err) {
		return sqlstore.Again
	}
	return sqlstore.Other
}
