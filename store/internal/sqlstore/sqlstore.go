// Package sqlstore is the store.Store of any SQL database that knows
// ON CONFLICT and RETURNING: one text of every query and one way to run a
// transaction, so that SQLite and PostgreSQL cannot drift apart. What differs
// between them is in Dialect.
//
// Columns hold text, bytes and integers only. A time is microseconds since 1970
// in UTC, and NULL when it is zero; an empty list or byte slice comes back nil.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ringwall/ringwall/store"
)

// A Kind is what an error of the database means to the store.
type Kind uint8

const (
	Other   Kind = iota
	Unique       // a key is taken
	Foreign      // a row that is referred to is not there
	Again        // the transaction was undone, or its connection is lost: it may be run again
)

// A Dialect is what one database says differently. It must not change.
type Dialect struct {
	// Rewrite gives a query, whose arguments are $1, $2 and so on, the database's
	// own form.
	Rewrite func(query string) string
	// Classify says what an error means.
	Classify func(error) Kind
	// Isolation of a transaction that changes something.
	Isolation sql.IsolationLevel
	// Snapshot is the isolation of one that reads all tables at one moment.
	Snapshot sql.IsolationLevel

	// There reports, before each call, whether the database is still where it was
	// opened; nil: that need not be asked.
	There func() error

	// The rest is "" when a transaction has the database to itself and commits
	// without a network in between.

	// ForUpdate follows a SELECT whose rows stay locked until the transaction
	// ends.
	ForUpdate string
	// LockChain keeps other transactions from the audit chain.
	LockChain string
	// Mark selects a text that names the transaction, and Outcome what became of
	// the one with the name $1: "committed", "aborted" or "in progress".
	Mark, Outcome string
}

// A Store is a store.Store. Reads goes to a pool of its own when the database
// has one writer.
type Store struct {
	reads, writes *sql.DB
	dialect       Dialect

	mu     sync.RWMutex // held for reading by every call, so that Close can wait
	closed bool
}

var _ store.Store = (*Store)(nil)

// New takes over the databases, which may be one and the same, and closes them
// in Close. The schema must be there.
func New(reads, writes *sql.DB, d Dialect) *Store {
	return &Store{reads: reads, writes: writes, dialect: d}
}

var errClosed = errors.New("the store is closed")

// enter begins a call; leave it with s.mu.RUnlock.
func (s *Store) enter(op string) error {
	s.mu.RLock()
	if s.closed {
		s.mu.RUnlock()
		return fmt.Errorf("%s: %w", op, errClosed)
	}
	if s.dialect.There != nil {
		if err := s.dialect.There(); err != nil {
			s.mu.RUnlock()
			return fmt.Errorf("%s: %w", op, err)
		}
	}
	return nil
}

// Ping reads from the database.
func (s *Store) Ping(ctx context.Context) error {
	return s.read(ctx, "ping", func() error {
		rows, err := s.query(ctx, "SELECT 1 FROM accounts LIMIT 1")
		if err != nil {
			return err
		}
		return rows.Close()
	})
}

// Close waits for calls under way. Later ones fail; a second Close does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.reads.Close()
	if s.writes != s.reads {
		err = errors.Join(err, s.writes.Close())
	}
	return err
}

// read runs what only reads, and names the operation in errors.
func (s *Store) read(ctx context.Context, op string, f func() error) error {
	if err := s.enter(op); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return s.explain(op, s.again(ctx, f))
}

func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.reads.QueryContext(ctx, s.dialect.Rewrite(query), args...)
}

func (s *Store) row(ctx context.Context, query string, args ...any) *sql.Row {
	return s.reads.QueryRowContext(ctx, s.dialect.Rewrite(query), args...)
}

// A tx is one transaction that changes something.
type tx struct {
	*sql.Tx
	ctx     context.Context
	dialect *Dialect
}

func (t tx) exec(query string, args ...any) (sql.Result, error) {
	return t.ExecContext(t.ctx, t.dialect.Rewrite(query), args...)
}

func (t tx) query(query string, args ...any) (*sql.Rows, error) {
	return t.QueryContext(t.ctx, t.dialect.Rewrite(query), args...)
}

func (t tx) row(query string, args ...any) *sql.Row {
	return t.QueryRowContext(t.ctx, t.dialect.Rewrite(query), args...)
}

// refusal is an error of a change function: it is the caller's, and is handed
// back as it is.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

// refuse marks an error of a change function.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return refusal{err}
}

// kept takes the error of a change function apart: whether to write what it
// changed, and what to return.
func kept(err error) (keep bool, result error) {
	if err == nil {
		return true, nil
	}
	if k, ok := errors.AsType[store.Keep](err); ok {
		return true, refuse(k.Err)
	}
	return false, refuse(err)
}

// How often a transaction is run when the database undoes it, how long the
// first pause is at most (each later one is twice as long), and how long a lost
// COMMIT is asked about.
const (
	tries      = 8
	firstPause = 4 * time.Millisecond
	askAbout   = 5 * time.Second
)

// change runs f in a transaction. What f returns decides about it: it is kept
// when keep is true, and err is handed back either way.
func (s *Store) change(ctx context.Context, op string, f func(tx) (keep bool, err error)) error {
	if err := s.enter(op); err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return s.explain(op, s.again(ctx, func() error { return s.once(ctx, f) }))
}

// again runs f until it is not the database that asks for it.
func (s *Store) again(ctx context.Context, f func() error) error {
	pause := firstPause
	for try := 1; ; try++ {
		err := f()
		var own refusal
		if err == nil || errors.As(err, &own) {
			return err
		}
		if ctx.Err() != nil {
			if !errors.Is(err, ctx.Err()) {
				err = fmt.Errorf("%w (%w)", ctx.Err(), err) // the database says only that it was interrupted
			}
			return err
		}
		if try == tries || errors.Is(err, store.ErrUnknown) || s.dialect.Classify(err) != Again {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(rand.N(pause)):
			pause *= 2
		}
	}
}

func (s *Store) once(ctx context.Context, f func(tx) (keep bool, err error)) error {
	t, err := s.writes.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.Isolation})
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // also when f panics; nothing after Commit
	keep, result := f(tx{t, ctx, &s.dialect})
	if !keep {
		return result
	}
	mark := ""
	if s.dialect.Mark != "" {
		if err := t.QueryRowContext(ctx, s.dialect.Mark).Scan(&mark); err != nil {
			return err
		}
	}
	if err := t.Commit(); err != nil && !s.committed(ctx, mark, &err) {
		return err
	}
	return result
}

// committed asks what became of a transaction whose COMMIT was not answered, be
// it that the connection broke or that ctx ended. err becomes ErrUnknown when
// there is no answer either.
func (s *Store) committed(ctx context.Context, mark string, err *error) bool {
	if mark == "" || errors.Is(*err, sql.ErrTxDone) {
		return false // there is nothing to ask, or it was never sent
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), askAbout)
	defer cancel()
	for {
		var outcome string
		_ = s.reads.QueryRowContext(ctx, s.dialect.Outcome, mark).Scan(&outcome) // "" when it cannot be asked
		switch outcome {
		case "committed":
			return true
		case "aborted":
			return false
		}
		select {
		case <-ctx.Done():
			*err = fmt.Errorf("%w: %w", store.ErrUnknown, *err)
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// explain gives an error the form that the contract has.
func (s *Store) explain(op string, err error) error {
	var own refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &own):
		return own.error
	case errors.Is(err, sql.ErrNoRows), errors.Is(err, store.ErrNotFound):
		return store.ErrNotFound
	case errors.Is(err, store.ErrExists), s.dialect.Classify(err) == Unique:
		return store.ErrExists
	}
	return fmt.Errorf("%s: %w", op, err)
}

// collect reads all rows.
func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// A scanner is a *sql.Row or *sql.Rows.
type scanner interface{ Scan(...any) error }

func scanText(r scanner) (s string, err error) {
	err = r.Scan(&s)
	return s, err
}

// count is how many rows a statement changed.
func count(res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}
