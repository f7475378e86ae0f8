package sqlstore

import (
	"context"
	"errors"
	"time"

	"github.com/ringwall/ringwall/store"
)

const ticketColumns = "sum, kind, account_id, email, roles, created, expires"

func scanTicket(r scanner) (k store.Ticket, err error) {
	err = r.Scan(&k.Sum, &k.Kind, &k.AccountID, &k.Email, words{&k.Roles}, since{&k.Created}, since{&k.Expires})
	return k, err
}

// PutTicket replaces the older ticket in one statement, so that of two at once
// one is left.
func (s *Store) PutTicket(ctx context.Context, k store.Ticket) error {
	return s.change(ctx, "put ticket", func(t tx) (bool, error) {
		if len(k.Sum) == 0 || k.Kind == "" || k.Expires.IsZero() {
			return false, errors.New("a ticket has a sum, a kind and an end")
		}
		if err := texts(append([]string{k.Kind, k.AccountID, k.Email}, k.Roles...)...); err != nil {
			return false, err
		}
		var account any
		older := "(kind, email) WHERE account_id IS NULL"
		if k.AccountID != "" {
			account, older = k.AccountID, "(kind, account_id) WHERE account_id IS NOT NULL"
		}
		_, err := t.exec("INSERT INTO tickets ("+ticketColumns+") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT "+older+
			" DO UPDATE SET sum = excluded.sum, email = excluded.email, roles = excluded.roles, created = excluded.created, expires = excluded.expires",
			k.Sum, k.Kind, account, k.Email, list(k.Roles), micros(k.Created), micros(k.Expires))
		if err != nil && t.dialect.Classify(err) == Foreign {
			err = store.ErrNotFound
		}
		return err == nil, err
	})
}

func (s *Store) TakeTicket(ctx context.Context, kind string, sum []byte, now time.Time) (k store.Ticket, err error) {
	err = s.change(ctx, "take ticket", func(t tx) (_ bool, err error) {
		if len(sum) == 0 || !isText(kind) {
			return false, store.ErrNotFound
		}
		k, err = scanTicket(t.row("DELETE FROM tickets WHERE kind = $1 AND sum = $2 AND expires > $3 RETURNING sum, kind, coalesce(account_id, ''), email, roles, created, expires",
			kind, sum, now.UnixMicro()))
		return err == nil, err
	})
	if err != nil {
		return store.Ticket{}, err
	}
	return k, nil
}

// unowned are good tickets of a kind $1 at the time $2 that belong to no account.
const unowned = "kind = $1 AND account_id IS NULL AND expires > $2"

func (s *Store) ListTickets(ctx context.Context, kind, after string, limit int, now time.Time) (all []store.Ticket, err error) {
	err = s.read(ctx, "list tickets", func() (err error) {
		if !isText(kind) || !isText(after) {
			return nil
		}
		rows, err := s.query(ctx, "SELECT sum, kind, coalesce(account_id, ''), email, roles, created, expires FROM tickets WHERE "+unowned+" AND email > $3 ORDER BY email LIMIT $4",
			kind, now.UnixMicro(), after, max(limit, 0))
		all, err = collect(rows, err, scanTicket)
		return err
	})
	return all, err
}

func (s *Store) DropTicket(ctx context.Context, kind, email string, now time.Time) error {
	return s.change(ctx, "drop ticket", func(t tx) (bool, error) {
		if !isText(kind) || !isText(email) {
			return false, store.ErrNotFound
		}
		n, err := count(t.exec("DELETE FROM tickets WHERE "+unowned+" AND email = $3", kind, now.UnixMicro(), email))
		if err == nil && n == 0 {
			err = store.ErrNotFound
		}
		return err == nil, err
	})
}

func (s *Store) PruneTickets(ctx context.Context, before time.Time) (int, error) {
	return s.prune(ctx, "tickets", "sum", "expires < $1", before)
}
