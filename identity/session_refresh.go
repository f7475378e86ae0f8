package identity

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// A use says which token of its family was presented.
type use int

const (
	useEnded   use = iota // the family has ended
	useCurrent            // the one that is good now
	useRetry              // the one before, within the window: its answer was lost
	useReused             // any other: two have the family
)

// useOf judges a token's sum against its family. Both comparisons are made
// always, in constant time.
func useOf(f *store.Session, sum []byte, now time.Time, window time.Duration) use {
	current := subtle.ConstantTimeCompare(sum, f.Current)
	previous := subtle.ConstantTimeCompare(sum, f.Previous)
	switch {
	case !f.Ended.IsZero(), !now.Before(f.Expires):
		return useEnded
	case current == 1:
		return useCurrent
	case previous == 1 && now.Sub(f.Rotated).Abs() <= window: // a clock that went back does not stretch it
		return useRetry
	}
	return useReused
}

// refresh continues a session: it rotates the token, or answers the same
// successor again when the token before is presented within the retry window.
// The account is read in the same transaction, with the roles of the new access
// token. One that may not sign in any more ends the session.
func (s *sessions) refresh(ctx context.Context, text string, from origin) (grant, error) {
	token, ok := parseRefreshToken(text)
	if !ok {
		return grant{}, errBadRefresh
	}
	now, next := s.time(), newRefreshToken(token.family)
	var answer refreshToken
	var detail string
	f, a, err := s.present(ctx, token, from, now, func(f *store.Session, a store.Account, u use) (err error) {
		if reason := s.barred(a); reason != "" {
			end(f, reason, now)
			return store.Keep{Err: errBadRefresh}
		}
		if u == useRetry {
			answer, err = token.open(f.Successor, f.Generation)
			detail = "again: the answer before was lost"
			return err
		}
		answer, detail = next, ""
		if f.Successor, err = token.seal(next, f.Generation+1); err != nil {
			return err
		}
		f.Generation++
		f.Previous, f.Current = f.Current, next.sum()
		f.Rotated, f.Used = now, now
		return nil
	})
	if err != nil {
		return grant{}, err
	}
	s.record(from.event(audit.TokenRefreshed, audit.Success, a.ID, f.ID, detail))
	return s.grant(a, f, answer)
}

// endByToken signs out: it ends the session that the token continues, also that
// of an account that may not sign in. A token that continues nothing is
// errBadRefresh.
func (s *sessions) endByToken(ctx context.Context, text string, from origin) error {
	token, ok := parseRefreshToken(text)
	if !ok {
		return errBadRefresh
	}
	now := s.time()
	_, _, err := s.present(ctx, token, from, now, func(f *store.Session, _ store.Account, _ use) error {
		end(f, "logout", now)
		return nil
	})
	return err
}

// present judges a token and has change act on a good one (useCurrent or
// useRetry), in one transaction. Any other token of a living session is theft: its
// family is known to who had one of the session's tokens, and to nobody else.
func (s *sessions) present(ctx context.Context, token refreshToken, from origin, now time.Time,
	change func(*store.Session, store.Account, use) error) (f store.Session, a store.Account, err error) {
	sum, lived := token.sum(), false
	err = s.store.UpdateSession(ctx, token.sessionID(), func(row *store.Session, account store.Account) error {
		defer func() { f, a = *row, account }()
		u := useOf(row, sum, now, s.policy.RetryWindow)
		switch lived = row.Ended.IsZero(); u {
		case useEnded:
			return errBadRefresh
		case useReused:
			end(row, "reuse", now)
			return store.Keep{Err: errReused}
		}
		return change(row, account, u)
	})
	known := err == nil || errors.Is(err, errBadRefresh) || errors.Is(err, errReused)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return f, a, errBadRefresh
	case !known:
		return f, a, fmt.Errorf("use a refresh token: %w", err)
	case lived && !f.Ended.IsZero():
		s.ended(f.ID)
		kind, outcome := audit.SignedOut, audit.Success
		if f.EndReason == "reuse" {
			kind, outcome = audit.TokenReused, audit.Failure
		}
		s.record(from.event(kind, outcome, f.AccountID, f.ID, f.EndReason))
	}
	return f, a, err
}

// end ends a family: no token of it is good any more, and the sealed one is
// forgotten.
func end(f *store.Session, reason string, now time.Time) {
	f.Ended, f.EndReason, f.Successor = now, reason, nil
}
