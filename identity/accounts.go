package identity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
)

// Accounts are the operations on accounts that operators have, over HTTP and on
// the command line alike. Each is recorded in the audit sink. It is safe for
// concurrent use.
//
// A lock, a new password and a deletion end the account's sessions in the same
// transaction as the change, and so does taking a role away: no access token
// with the old roles is good any more, and its owner signs in again. A role
// that is given is in the next access token, at the next refresh.
//
// What is wrong with a request is a *Refusal; any other error is the store's,
// and nothing was changed.
type Accounts struct {
	store     store.Store
	passwords *password.Passwords
	roles     roleTable
	policy    *policy.Policy
	sink      audit.Sink
	log       *slog.Logger
	now       func() time.Time

	// ended hears of the sessions that an operation here has ended, once it is
	// committed; so does changed when their IDs are not known.
	ended   func(ids ...string)
	changed func(context.Context)

	managing *sync.Mutex // one change of who manages at a time
}

// NewAccounts returns the operations on the accounts of a policy's store. sink
// may be nil, and now too.
func NewAccounts(p *policy.Policy, st store.Store, sink audit.Sink, now func() time.Time) *Accounts {
	if sink == nil {
		sink = audit.Discard
	}
	if now == nil {
		now = time.Now
	}
	a := newAccounts(p, st, password.New(password.Options{BreachURL: password.PwnedPasswords}), sink, slog.Default(), now)
	a.managing = new(sync.Mutex)
	a.ended, a.changed = func(...string) {}, func(context.Context) {}
	return a
}

// newAccounts leaves ended, changed and managing to the caller.
func newAccounts(p *policy.Policy, st store.Store, passwords *password.Passwords, sink audit.Sink, log *slog.Logger, now func() time.Time) *Accounts {
	return &Accounts{store: st, passwords: passwords, roles: newRoleTable(p), policy: p, sink: sink, log: log, now: now}
}

// An Actor is who does something to accounts: an account, or an operator on the
// server, whom nothing but the server itself restrains.
type Actor struct {
	ID        string // of the account; of an operator "os:" and a user name
	Session   string
	Operator  bool
	Client    netip.Addr
	RequestID string
}

// A NewAccount is what Create makes.
type NewAccount struct {
	Email    string
	Name     string // "": the part of the address before the @
	Password string
	Roles    []string
}

// Create makes an account whose address counts as proved.
func (a *Accounts) Create(ctx context.Context, by Actor, n NewAccount) (store.Account, error) {
	email, err := NormalizeEmail(n.Email)
	if err != nil {
		return store.Account{}, invalid("/email", "format", err.Error())
	}
	if n.Name == "" {
		n.Name = nameOf(email)
	}
	name, err := normalizeName(n.Name)
	if err != nil {
		return store.Account{}, invalid("/name", "format", err.Error())
	}
	roles, err := a.checkRoles(n.Roles)
	if err != nil {
		return store.Account{}, err
	}
	if err := a.judge(ctx, "/password", n.Password, email, name); err != nil {
		return store.Account{}, err
	}
	hash, err := a.passwords.Hash(ctx, n.Password)
	if err != nil {
		return store.Account{}, fmt.Errorf("hash a password: %w", err)
	}
	now := a.now().UTC()
	out := store.Account{ID: newID(now), Email: email, Name: name, PasswordHash: hash, Roles: roles, Verified: now, Created: now, Updated: now}
	if err := a.store.CreateAccount(ctx, out); errors.Is(err, store.ErrExists) {
		return store.Account{}, errTaken
	} else if err != nil {
		return store.Account{}, fmt.Errorf("create an account: %w", err)
	}
	a.record(by, audit.AccountCreated, "account "+out.ID)
	return out, nil
}

// Find returns the account with this ID or address.
func (a *Accounts) Find(ctx context.Context, idOrEmail string) (store.Account, error) {
	email, err := NormalizeEmail(idOrEmail)
	var out store.Account
	if err == nil {
		out, err = a.store.AccountByEmail(ctx, email)
	} else {
		out, err = a.store.Account(ctx, idOrEmail)
	}
	return out, a.missing(err, "read an account")
}

// List returns up to limit accounts after the one with the ID after, oldest
// first, and the ID to go on after; "" at the end.
func (a *Accounts) List(ctx context.Context, after string, limit int) (list []store.Account, next string, err error) {
	list, err = a.store.ListAccounts(ctx, after, limit+1)
	if err != nil {
		return nil, "", fmt.Errorf("list accounts: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].ID
	}
	return list, next, nil
}

// Lock keeps an account out until Unlock, and ends its sessions. One that is
// locked already keeps its time.
func (a *Accounts) Lock(ctx context.Context, by Actor, id string) (store.Account, error) {
	return a.update(ctx, by, id, audit.AccountLocked, func(acc *store.Account, now time.Time) (store.End, error) {
		if acc.Locked.IsZero() {
			acc.Locked = now
		}
		return store.End{Reason: "locked"}, nil
	})
}

// Unlock lets an account sign in again, and ends the delay after failed
// sign-ins. Sessions that ended stay ended.
func (a *Accounts) Unlock(ctx context.Context, by Actor, id string) (store.Account, error) {
	out, err := a.update(ctx, by, id, audit.AccountUnlocked, func(acc *store.Account, _ time.Time) (store.End, error) {
		acc.Locked = time.Time{}
		return store.End{}, nil
	})
	if err != nil {
		return out, err
	}
	return out, a.forgive(ctx, out)
}

// forgive ends the delay after failed sign-ins.
func (a *Accounts) forgive(ctx context.Context, acc store.Account) error {
	if err := newGuard(a.store, a.now).passed(ctx, accountKey(acc.Email)); err != nil {
		return fmt.Errorf("end the delay of an account: %w", err)
	}
	return nil
}

// SetRoles gives an account these roles and no others.
func (a *Accounts) SetRoles(ctx context.Context, by Actor, id string, roles []string) (store.Account, error) {
	roles, err := a.checkRoles(roles)
	if err != nil {
		return store.Account{}, err
	}
	return a.update(ctx, by, id, audit.RolesChanged, func(acc *store.Account, _ time.Time) (end store.End, err error) {
		if len(difference(acc.Roles, roles)) > 0 {
			end.Reason = "roles"
		}
		acc.Roles = roles
		return end, nil
	})
}

// SetPassword gives an account a new password, and ends its sessions and the
// delay after failed sign-ins. It is for operators, who vouch for the address as
// Create does: no password of before is left, so that it counts as proved.
func (a *Accounts) SetPassword(ctx context.Context, by Actor, id, pw string) (store.Account, error) {
	acc, err := a.store.Account(ctx, id)
	if err := a.missing(err, "read an account"); err != nil {
		return store.Account{}, err
	}
	if err := a.judge(ctx, "/password", pw, acc.Email, acc.Name); err != nil {
		return store.Account{}, err
	}
	hash, err := a.passwords.Hash(ctx, pw)
	if err != nil {
		return store.Account{}, fmt.Errorf("hash a password: %w", err)
	}
	out, err := a.update(ctx, by, id, audit.PasswordReset, func(acc *store.Account, now time.Time) (store.End, error) {
		acc.PasswordHash = hash
		if acc.Verified.IsZero() {
			acc.Verified = now
		}
		return store.End{Reason: "password"}, nil
	})
	if err != nil {
		return out, err
	}
	return out, a.forgive(ctx, out)
}

// Delete removes an account, its sessions and its tickets.
func (a *Accounts) Delete(ctx context.Context, by Actor, id string) error {
	a.managing.Lock()
	defer a.managing.Unlock()
	judge, err := a.mayChange(ctx, by, id)
	if err != nil {
		return err
	}
	err = a.store.DeleteAccount(ctx, id, a.now(), func(acc store.Account) error { return judge(acc, store.Account{}) })
	if err := a.missing(err, "delete an account"); err != nil {
		return err
	}
	a.changed(ctx)
	a.record(by, audit.AccountDeleted, "account "+id)
	return nil
}

// update changes an account if by may, and records it.
func (a *Accounts) update(ctx context.Context, by Actor, id string, kind audit.Kind, change func(*store.Account, time.Time) (store.End, error)) (store.Account, error) {
	a.managing.Lock()
	defer a.managing.Unlock()
	judge, err := a.mayChange(ctx, by, id)
	if err != nil {
		return store.Account{}, err
	}
	now := a.now().UTC()
	ends := false
	out, err := a.store.UpdateAccount(ctx, id, now, func(acc *store.Account) (store.End, error) {
		before := *acc
		before.Roles = slices.Clone(acc.Roles)
		end, err := change(acc, now)
		if err == nil {
			err = judge(before, *acc)
		}
		ends = end.Reason != ""
		return end, err
	})
	if err := a.missing(err, "change an account"); err != nil {
		return store.Account{}, err
	}
	if ends {
		a.changed(ctx)
	}
	a.record(by, kind, "account "+id)
	return out, nil
}

// missing makes a refusal of store.ErrNotFound, and leaves refusals alone.
func (a *Accounts) missing(err error, doing string) error {
	var r *Refusal
	switch {
	case err == nil || errors.As(err, &r):
		return err
	case errors.Is(err, store.ErrNotFound):
		return errNoAccount
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func (a *Accounts) record(by Actor, kind audit.Kind, detail string) {
	a.sink.Record(audit.Event{Time: a.now(), Kind: kind, Outcome: audit.Success, Control: "identity/accounts",
		Client: by.Client, Subject: by.ID, Session: by.Session, RequestID: by.RequestID, Detail: detail})
}
