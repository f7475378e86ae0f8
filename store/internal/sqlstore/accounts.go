package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/ringwall/ringwall/store"
)

const accountColumns = "id, email, name, password_hash, roles, verified, locked, created, updated, expires"

func accountValues(a store.Account) []any {
	if !a.Verified.IsZero() {
		a.Expires = time.Time{}
	}
	return []any{a.ID, a.Email, a.Name, a.PasswordHash, list(a.Roles), micros(a.Verified), micros(a.Locked), micros(a.Created), micros(a.Updated),
		micros(a.Expires)}
}

func scanAccount(r scanner) (a store.Account, err error) {
	err = r.Scan(&a.ID, &a.Email, &a.Name, &a.PasswordHash, words{&a.Roles}, since{&a.Verified}, since{&a.Locked}, since{&a.Created}, since{&a.Updated},
		since{&a.Expires})
	return a, err
}

func accountText(a store.Account) error {
	if a.ID == "" || a.Email == "" {
		return errors.New("an account has an ID and an address")
	}
	return texts(append([]string{a.ID, a.Email, a.Name, a.PasswordHash}, a.Roles...)...)
}

func (s *Store) CreateAccount(ctx context.Context, a store.Account) error {
	return s.change(ctx, "create account", func(t tx) (bool, error) {
		if err := accountText(a); err != nil {
			return false, err
		}
		_, err := t.exec("INSERT INTO accounts ("+accountColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", accountValues(a)...)
		return err == nil, err
	})
}

func (s *Store) Account(ctx context.Context, id string) (store.Account, error) {
	return s.oneAccount(ctx, "id", id)
}

func (s *Store) AccountByEmail(ctx context.Context, email string) (store.Account, error) {
	return s.oneAccount(ctx, "email", email)
}

func (s *Store) oneAccount(ctx context.Context, column, value string) (a store.Account, err error) {
	err = s.read(ctx, "read account", func() (err error) {
		if !isText(value) {
			return store.ErrNotFound
		}
		a, err = scanAccount(s.row(ctx, "SELECT "+accountColumns+" FROM accounts WHERE "+column+" = $1", value))
		return err
	})
	return a, err
}

// lockAccount reads an account that stays as it is until the transaction ends.
func (t tx) lockAccount(id string) (store.Account, error) {
	if !isText(id) {
		return store.Account{}, store.ErrNotFound
	}
	return scanAccount(t.row("SELECT "+accountColumns+" FROM accounts WHERE id = $1"+t.dialect.ForUpdate, id))
}

func (s *Store) UpdateAccount(ctx context.Context, id string, now time.Time, change func(*store.Account) (store.End, error)) (store.Account, error) {
	var result store.Account
	err := s.change(ctx, "update account", func(t tx) (bool, error) {
		a, err := t.lockAccount(id)
		if err != nil {
			return false, err
		}
		email, hash := a.Email, a.PasswordHash
		end, err := change(&a)
		keep, result2 := kept(err)
		if !keep {
			return false, result2
		}
		if a.ID != id {
			return false, errors.New("the ID of an account does not change")
		}
		if err := accountText(a); err != nil {
			return false, err
		}
		a.Updated = now
		v := accountValues(a)
		if _, err := t.exec(`UPDATE accounts SET email = $2, name = $3, password_hash = $4, roles = $5,
			verified = $6, locked = $7, created = $8, updated = $9, expires = $10 WHERE id = $1`, v...); err != nil {
			return false, err
		}
		if a.Email != email || a.PasswordHash != hash {
			if _, err := t.exec("DELETE FROM tickets WHERE account_id = $1", id); err != nil {
				return false, err
			}
		}
		if _, err := t.endSessions(id, end, now); err != nil {
			return false, err
		}
		if result, err = t.lockAccount(id); err != nil { // as it is stored
			return false, err
		}
		return true, result2
	})
	if err != nil {
		return store.Account{}, err
	}
	return result, nil
}

func (s *Store) DeleteAccount(ctx context.Context, id string, now time.Time, check func(store.Account) error) error {
	return s.change(ctx, "delete account", func(t tx) (bool, error) {
		a, err := t.lockAccount(id)
		if err != nil {
			return false, err
		}
		if check != nil {
			if err := check(a); err != nil {
				return false, refuse(err)
			}
		}
		if _, err := t.endSessions(id, store.End{Reason: "deleted"}, now); err != nil {
			return false, err
		}
		if _, err := t.exec("UPDATE sessions SET device = '', user_agent = '', client = '' WHERE account_id = $1", id); err != nil {
			return false, err
		}
		_, err = t.exec("DELETE FROM accounts WHERE id = $1", id) // and its tickets, by the foreign key
		return err == nil, err
	})
}

func (s *Store) ListAccounts(ctx context.Context, after string, limit int) (all []store.Account, err error) {
	err = s.read(ctx, "list accounts", func() (err error) {
		if !isText(after) {
			return nil
		}
		rows, err := s.query(ctx, "SELECT "+accountColumns+" FROM accounts WHERE id > $1 ORDER BY id LIMIT $2", after, max(limit, 0))
		all, err = collect(rows, err, scanAccount)
		return err
	})
	return all, err
}

func (s *Store) CountAccounts(ctx context.Context) (n int, err error) {
	err = s.read(ctx, "count accounts", func() error {
		return s.row(ctx, "SELECT count(*) FROM accounts").Scan(&n)
	})
	return n, err
}

func (s *Store) PruneAccounts(ctx context.Context, before time.Time) (int, error) {
	return s.prune(ctx, "accounts", "id", `expires < $1 AND verified IS NULL AND locked IS NULL
		AND NOT EXISTS (SELECT 1 FROM sessions WHERE sessions.account_id = accounts.id)`, before)
}
