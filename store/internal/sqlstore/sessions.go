package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/ringwall/ringwall/store"
)

const (
	sessionColumns = `id, account_id, device, user_agent, client, created, used, expires, ended, end_reason,
		generation, current_sum, previous_sum, rotated, successor`

	// living sessions are those at the time $2.
	living = "ended IS NULL AND expires > $2"
)

func sessionValues(s store.Session) []any {
	return []any{s.ID, s.AccountID, s.Device, userAgent(s.UserAgent), address(s.Client), micros(s.Created), micros(s.Used), micros(s.Expires),
		micros(s.Ended), s.EndReason, s.Generation, blob(s.Current), blob(s.Previous), micros(s.Rotated), blob(s.Successor)}
}

func scanSession(r scanner) (s store.Session, err error) {
	err = r.Scan(&s.ID, &s.AccountID, &s.Device, &s.UserAgent, client{&s.Client}, since{&s.Created}, since{&s.Used}, since{&s.Expires},
		since{&s.Ended}, &s.EndReason, &s.Generation, &s.Current, &s.Previous, since{&s.Rotated}, &s.Successor)
	return s, err
}

func sessionText(s store.Session) error {
	if s.ID == "" || s.AccountID == "" || s.Created.IsZero() || s.Expires.IsZero() {
		return errors.New("a session has an ID, an account, a beginning and an end")
	}
	return texts(s.ID, s.AccountID, s.Device, s.EndReason)
}

func (s *Store) CreateSession(ctx context.Context, n store.Session, most int, allowed func(store.Account) error) error {
	return s.change(ctx, "create session", func(t tx) (bool, error) {
		if err := sessionText(n); err != nil {
			return false, err
		}
		a, err := t.lockAccount(n.AccountID)
		if err != nil {
			return false, err
		}
		if allowed != nil {
			if err := allowed(a); err != nil {
				return false, refuse(err)
			}
		}
		if most > 0 {
			if _, err := t.exec(`UPDATE sessions SET ended = $2, end_reason = 'replaced' WHERE id IN (
				SELECT id FROM sessions WHERE account_id = $1 AND `+living+` ORDER BY created DESC, id DESC LIMIT $3 OFFSET $4)`,
				n.AccountID, micros(n.Created), int64(math.MaxInt64), most-1); err != nil {
				return false, err
			}
		}
		_, err = t.exec("INSERT INTO sessions ("+sessionColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)", sessionValues(n)...)
		return err == nil, err
	})
}

func (s *Store) Session(ctx context.Context, id string) (one store.Session, err error) {
	err = s.read(ctx, "read session", func() (err error) {
		if !isText(id) {
			return store.ErrNotFound
		}
		one, err = scanSession(s.row(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE id = $1", id))
		return err
	})
	return one, err
}

// UpdateSession locks the session first and then reads the account without a
// lock: whoever changes the account and ends its sessions either came before,
// and is seen here, or waits for the session.
func (s *Store) UpdateSession(ctx context.Context, id string, change func(*store.Session, store.Account) error) error {
	return s.change(ctx, "update session", func(t tx) (bool, error) {
		if !isText(id) {
			return false, store.ErrNotFound
		}
		one, err := scanSession(t.row("SELECT "+sessionColumns+" FROM sessions WHERE id = $1"+t.dialect.ForUpdate, id))
		if err != nil {
			return false, err
		}
		a, err := scanAccount(t.row("SELECT "+accountColumns+" FROM accounts WHERE id = $1", one.AccountID))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
		account := one.AccountID
		keep, result := kept(change(&one, a))
		if !keep {
			return false, result
		}
		if one.ID != id || one.AccountID != account {
			return false, errors.New("the ID and the account of a session do not change")
		}
		if err := sessionText(one); err != nil {
			return false, err
		}
		v := sessionValues(one)
		_, err = t.exec(`UPDATE sessions SET device = $2, user_agent = $3, client = $4, created = $5, used = $6, expires = $7, ended = $8, end_reason = $9,
			generation = $10, current_sum = $11, previous_sum = $12, rotated = $13, successor = $14 WHERE id = $1`, slices.Delete(v, 1, 2)...)
		if err != nil {
			return false, err
		}
		return true, result
	})
}

func (s *Store) ListSessions(ctx context.Context, accountID string, now time.Time) (all []store.Session, err error) {
	err = s.read(ctx, "list sessions", func() (err error) {
		if !isText(accountID) {
			return nil
		}
		rows, err := s.query(ctx, "SELECT "+sessionColumns+" FROM sessions WHERE account_id = $1 AND "+living+" ORDER BY created DESC, id DESC", accountID, now.UnixMicro())
		all, err = collect(rows, err, scanSession)
		return err
	})
	return all, err
}

func (s *Store) EndSessions(ctx context.Context, accountID string, end store.End, now time.Time) (ids []string, err error) {
	err = s.change(ctx, "end sessions", func(t tx) (_ bool, err error) {
		ids, err = t.endSessions(accountID, end, now)
		return err == nil, err
	})
	if err != nil {
		return nil, err
	}
	return ids, nil
}

func (t tx) endSessions(accountID string, end store.End, now time.Time) ([]string, error) {
	if end.Reason == "" || !isText(accountID) {
		return nil, nil
	}
	if err := texts(end.Reason, end.Except); err != nil {
		return nil, err
	}
	rows, err := t.query("UPDATE sessions SET ended = $2, end_reason = $3 WHERE account_id = $1 AND "+living+" AND id <> $4 RETURNING id",
		accountID, now.UnixMicro(), end.Reason, end.Except)
	return collect(rows, err, scanText)
}

func (s *Store) EndSession(ctx context.Context, accountID, id, reason string, now time.Time) error {
	return s.change(ctx, "end session", func(t tx) (bool, error) {
		if !isText(accountID) || !isText(id) {
			return false, store.ErrNotFound
		}
		if reason == "" {
			return false, errors.New("a session ends for a reason")
		}
		if err := texts(reason); err != nil {
			return false, err
		}
		n, err := count(t.exec("UPDATE sessions SET ended = $2, end_reason = $3 WHERE account_id = $1 AND "+living+" AND id = $4",
			accountID, now.UnixMicro(), reason, id))
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err == nil, err
	})
}

func (s *Store) EndedSince(ctx context.Context, from time.Time, limit int) (ids []string, more bool, err error) {
	limit = max(limit, 0)
	err = s.read(ctx, "read ended sessions", func() (err error) {
		rows, err := s.query(ctx, "SELECT id FROM sessions WHERE ended >= $1 ORDER BY ended, id LIMIT $2", from.UnixMicro(), limit+1)
		ids, err = collect(rows, err, scanText)
		return err
	})
	if len(ids) > limit {
		return ids[:limit], true, err
	}
	return ids, false, err
}

func (s *Store) KnownDevice(ctx context.Context, accountID, device string) (known bool, err error) {
	err = s.read(ctx, "look for a device", func() error {
		if device == "" || !isText(accountID) || !isText(device) {
			return nil
		}
		return s.row(ctx, "SELECT EXISTS (SELECT 1 FROM sessions WHERE account_id = $1 AND device = $2)", accountID, device).Scan(&known)
	})
	return known, err
}

func (s *Store) PruneSessions(ctx context.Context, before time.Time) (n int, err error) {
	return s.prune(ctx, "sessions", "id", "ended < $1 OR expires < $1", before)
}

// pruneStep is how many rows are removed at once. A million take SQLite four
// seconds, in which nobody could sign in.
const pruneStep = 1000

// prune removes the rows of a table that are older than a time, in steps, so
// that other changes come in between. What is old is asked twice: a row that
// waited for another change is judged again as that has left it.
func (s *Store) prune(ctx context.Context, table, key, old string, before time.Time) (n int, err error) {
	for {
		var step int
		err = s.change(ctx, "prune "+table, func(t tx) (_ bool, err error) {
			step, err = count(t.exec("DELETE FROM "+table+" WHERE ("+old+") AND "+key+" IN (SELECT "+key+" FROM "+table+" WHERE "+old+" LIMIT $2)", before.UnixMicro(), pruneStep))
			return err == nil, err
		})
		if err != nil {
			return n, err
		}
		if n += step; step < pruneStep {
			return n, nil
		}
	}
}
