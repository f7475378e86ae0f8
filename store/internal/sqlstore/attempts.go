package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ringwall/ringwall/store"
)

const selectAttempt = "SELECT key, failures, last, until FROM attempts WHERE key = $1"

func scanAttempt(r scanner) (a store.Attempt, err error) {
	err = r.Scan(&a.Key, &a.Failures, since{&a.Last}, since{&a.Until})
	return a, err
}

// UpdateAttempt makes the row before it locks it, so that two that come first at
// once wait for each other.
func (s *Store) UpdateAttempt(ctx context.Context, key string, change func(*store.Attempt) error) (a store.Attempt, err error) {
	err = s.change(ctx, "update attempts", func(t tx) (bool, error) {
		if key == "" {
			return false, errors.New("a record of attempts has a key")
		}
		if err := texts(key); err != nil {
			return false, err
		}
		// Sets nothing, and locks the row, which DO NOTHING does not.
		if _, err := t.exec("INSERT INTO attempts (key, failures) VALUES ($1, 0) ON CONFLICT (key) DO UPDATE SET failures = attempts.failures", key); err != nil {
			return false, err
		}
		if a, err = scanAttempt(t.row(selectAttempt, key)); err != nil {
			return false, err
		}
		keep, result := kept(change(&a))
		if !keep {
			return false, result
		}
		if a.Key != key {
			return false, errors.New("the key of a record of attempts does not change")
		}
		if a.Failures == 0 && a.Last.IsZero() && a.Until.IsZero() {
			_, err = t.exec("DELETE FROM attempts WHERE key = $1", key)
			return err == nil, errors.Join(err, result)
		}
		a, err = scanAttempt(t.row("UPDATE attempts SET failures = $2, last = $3, until = $4 WHERE key = $1 RETURNING key, failures, last, until",
			key, a.Failures, micros(a.Last), micros(a.Until)))
		if err != nil {
			return false, err
		}
		return true, result
	})
	if err != nil {
		return store.Attempt{}, err
	}
	return a, nil
}

func (s *Store) Attempt(ctx context.Context, key string) (a store.Attempt, err error) {
	err = s.read(ctx, "read attempts", func() (err error) {
		a = store.Attempt{Key: key}
		if !isText(key) {
			return nil
		}
		found, err := scanAttempt(s.row(ctx, selectAttempt, key))
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err == nil {
			a = found
		}
		return err
	})
	return a, err
}

func (s *Store) CountAttempts(ctx context.Context, prefix string) (n int, err error) {
	err = s.read(ctx, "count attempts", func() error {
		if !isText(prefix) {
			return nil
		}
		// Keys are compared byte by byte; what follows is the last character there is.
		return s.row(ctx, "SELECT count(*) FROM attempts WHERE key >= $1 AND key < $2", prefix, prefix+"\U0010ffff").Scan(&n)
	})
	return n, err
}

func (s *Store) PruneAttempts(ctx context.Context, before time.Time) (int, error) {
	return s.prune(ctx, "attempts", "key", "(last IS NULL OR last < $1) AND (until IS NULL OR until < $1)", before)
}
