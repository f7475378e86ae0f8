package identity

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// Sessions lists the living sessions of an account, newest first.
func (a *Accounts) Sessions(ctx context.Context, id string) ([]store.Session, error) {
	if _, err := a.store.Account(ctx, id); err != nil {
		return nil, a.missing(err, "read an account")
	}
	list, err := a.store.ListSessions(ctx, id, a.now())
	if err != nil {
		return nil, fmt.Errorf("list sessions: %w", err)
	}
	return list, nil
}

// EndSessions ends the sessions of an account, all but except, and returns how
// many they were.
func (a *Accounts) EndSessions(ctx context.Context, by Actor, id, except string) (int, error) {
	judge, err := a.mayChange(ctx, by, id)
	if err != nil {
		return 0, err
	}
	acc, err := a.store.Account(ctx, id)
	if err == nil {
		err = judge(acc, acc)
	}
	if err := a.missing(err, "read an account"); err != nil {
		return 0, err
	}
	ids, err := a.store.EndSessions(ctx, id, store.End{Reason: "revoked", Except: except}, a.now())
	if err != nil {
		return 0, fmt.Errorf("end sessions: %w", err)
	}
	a.ended(ids...)
	a.record(by, audit.SignedOut, strconv.Itoa(len(ids))+" sessions of account "+id)
	return len(ids), nil
}

// Session returns one session, also one that has ended.
func (a *Accounts) Session(ctx context.Context, id string) (store.Session, error) {
	f, err := a.store.Session(ctx, id)
	if errors.Is(err, store.ErrNotFound) {
		return f, errNoSession
	}
	if err != nil {
		return f, fmt.Errorf("read a session: %w", err)
	}
	return f, nil
}

// EndSession ends one session of an account.
func (a *Accounts) EndSession(ctx context.Context, by Actor, id, session string) error {
	err := a.store.EndSession(ctx, id, session, "revoked", a.now())
	if errors.Is(err, store.ErrNotFound) {
		return errNoSession
	}
	if err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	a.ended(session)
	a.record(by, audit.SignedOut, "session "+session+" of account "+id)
	return nil
}
