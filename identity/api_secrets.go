package identity

import (
	"context"
	"errors"
	"net/http"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/store"
)

// errWrong says that a secret was looked at and is not the right one.
var errWrong = errors.New("the secret is wrong")

// guarded has look see whether a secret is right, if the guard lets it, and
// tells the guard. It returns nil, errWrong, or the answer to give: 429 with
// Retry-After when too many were wrong before, and the secret was not looked at.
//
// Who goes away meanwhile gains nothing: the attempt was counted before.
func (s *Service) guarded(ctx context.Context, v visit, keys []guardKey, look func() (right bool, err error)) error {
	keys, wait, err := s.guard.look(ctx, keys...)
	if err != nil {
		return s.refuse(v, err)
	}
	if wait > 0 {
		s.event(v, audit.AttemptDelayed, audit.Failure, "", http.StatusTooManyRequests, "")
		return v.later(http.StatusTooManyRequests, wait, "Too many attempts have failed. Try again later.", nil)
	}
	ctx = context.WithoutCancel(ctx)
	right, err := look()
	switch {
	case err != nil:
		return s.refuse(v, errors.Join(err, s.guard.release(ctx, keys...)))
	case right:
		return s.refuse(v, s.guard.passed(ctx, keys...))
	}
	if err := s.guard.failed(ctx, keys...); err != nil {
		return s.refuse(v, err)
	}
	return errWrong
}

// verify is password.Verify; a stored hash that cannot be read is nobody's
// password, and the operator is told.
func (s *Service) verify(ctx context.Context, a store.Account, pw string) (right, stale bool, err error) {
	right, stale, err = s.passwords.Verify(ctx, a.PasswordHash, pw)
	if errors.Is(err, password.ErrHash) {
		s.deps.Log.Error("the password of an account cannot be checked", "account", a.ID, "error", err)
		return false, false, nil
	}
	return right, stale, err
}

// ownPassword checks the password of who is signed in, and returns the account.
func (s *Service) ownPassword(ctx context.Context, v visit, path, pw string) (store.Account, error) {
	a, err := s.deps.Store.Account(ctx, v.x.Caller.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return a, v.unauthorized("The account is not there any more.", nil)
	}
	if err != nil {
		return a, s.refuse(v, err)
	}
	known, err := v.sessions.knownDevice(ctx, a.ID, v.from.Device)
	if err != nil {
		return a, s.refuse(v, err)
	}
	err = s.guarded(ctx, v, secretKeys(a.Email, v.from, known), func() (bool, error) {
		right, _, err := s.verify(ctx, a, pw)
		return right, err
	})
	if errors.Is(err, errWrong) {
		s.event(v, audit.AuthFailed, audit.Failure, a.ID, http.StatusBadRequest, "wrong password")
		return a, s.refuse(v, invalid(path, "wrong", "is not the password of this account"))
	}
	return a, err
}

// takeTicket uses a ticket up, if the guard lets the client try.
func (s *Service) takeTicket(ctx context.Context, v visit, kind, path, secret, email string) (store.Ticket, error) {
	var t store.Ticket
	err := s.guarded(ctx, v, []guardKey{addressKey(v.from.Client)}, func() (bool, error) {
		var err error
		if t, err = v.tickets.take(ctx, kind, secret, email); errors.Is(err, errNoTicket) {
			return false, nil
		}
		return err == nil, err
	})
	if errors.Is(err, errWrong) {
		s.event(v, audit.AuthFailed, audit.Failure, "", http.StatusBadRequest, "no such "+kind+" ticket")
		return t, badTicket(v, s, path)
	}
	return t, err
}

func badTicket(v visit, s *Service, path string) error {
	return s.refuse(v, invalid(path, "invalid", "is not valid, was used already, or has expired"))
}

// giveBack makes a ticket good again after a refusal that is not its fault, and
// returns that refusal.
func (s *Service) giveBack(ctx context.Context, v visit, t store.Ticket, refusal error) error {
	if err := v.tickets.giveBack(context.WithoutCancel(ctx), t); err != nil {
		return s.refuse(v, err)
	}
	return s.refuse(v, refusal)
}

// none is the answer of what has nothing to say.
var none app.None
