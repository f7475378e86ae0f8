// Package store is the contract of what must survive a restart: accounts,
// sessions, tickets, attempts and the audit chain. It imports nothing of
// Ringwall's. Implementations are in sqlitestore and pgstore; storetest is the
// suite that both pass.
//
// Every method is atomic: after a crash either all of it is there or nothing.
// Only the Prune methods work in steps, so that others need not wait, and return
// what they have removed also with an error.
// A change function given to an Update method runs inside the transaction with
// the row locked, so that concurrent updates of one row happen one after the
// other; it must not call the store, and may run again when the database asks
// for a retry. Errors that are not ErrNotFound, ErrExists or the change
// function's own mean that the store could not do it, and nothing was changed;
// ErrUnknown is the exception.
//
// Text is UTF-8 without the character NUL; any other is refused where it would
// be stored, and found nowhere. Empty lists and byte slices come back nil. What
// identifies a row (an ID, a session's account, a key) cannot be changed.
package store

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")

	// ErrUnknown is the one error after which a change may have been made: the
	// connection to the database broke while it was committing, and the database
	// could not be asked within seconds what became of it.
	ErrUnknown = errors.New("it is not known whether the change was made")
)

// A Store holds everything. It is safe for concurrent use.
type Store interface {
	Accounts
	Sessions
	Tickets
	Attempts
	Chain

	// Ping reports whether the store answers; it must end with ctx.
	Ping(ctx context.Context) error
	// Close waits for transactions under way.
	Close() error
}

// An Account is one person or program that can sign in. Times are UTC with
// microseconds; a zero time means never.
type Account struct {
	ID           string // 26 lower-case letters and digits, never reused
	Email        string // normalised, unique
	Name         string
	PasswordHash string // PHC string; "" when none can match
	Roles        []string
	Verified     time.Time // when the address was proved
	Locked       time.Time // when an operator locked it
	Created      time.Time
	Updated      time.Time

	// Expires is when PruneAccounts may remove it, unless its address is proved
	// before; zero: never. The store forgets it once Verified is set.
	Expires time.Time
}

type Accounts interface {
	// CreateAccount answers ErrExists when the ID or the address is taken.
	CreateAccount(ctx context.Context, a Account) error
	Account(ctx context.Context, id string) (Account, error)
	AccountByEmail(ctx context.Context, email string) (Account, error)
	// UpdateAccount changes one account and ends sessions of it in the same
	// transaction: those that change asks for, the zero End none. A new password
	// or address removes its tickets, which were mailed for the old one. ErrExists
	// when the new address is taken. Updated is set by the store.
	UpdateAccount(ctx context.Context, id string, now time.Time, change func(*Account) (End, error)) (Account, error)
	// DeleteAccount removes the account and its tickets, and ends its sessions
	// with the reason "deleted". What is left of those until they are pruned holds
	// no address, user agent or device. check may refuse, with the row locked; nil
	// allows.
	DeleteAccount(ctx context.Context, id string, now time.Time, check func(Account) error) error
	// ListAccounts returns up to limit accounts by ascending ID, after the given one.
	ListAccounts(ctx context.Context, after string, limit int) ([]Account, error)
	CountAccounts(ctx context.Context) (int, error)
	// PruneAccounts removes those that expired before the time, with their
	// tickets, but none that is locked or ever signed in.
	PruneAccounts(ctx context.Context, before time.Time) (int, error)
}

// A Session is one sign-in and the family of refresh tokens that continue it.
// Tokens are here as SHA-256 sums only.
type Session struct {
	ID         string
	AccountID  string
	Device     string // SHA-256 of the device cookie in hex, "" when none
	UserAgent  string // the store cuts it at 256 bytes and makes it UTF-8
	Client     netip.Addr
	Created    time.Time
	Used       time.Time // last refresh
	Expires    time.Time // absolute end of the family
	Ended      time.Time // zero while it lives
	EndReason  string    // logout, revoked, reuse, password, roles, locked, deleted, replaced
	Generation int64     // of the current token, from 1
	Current    []byte    // sum of the current refresh token
	Previous   []byte    // sum of the one before; nil at first
	Rotated    time.Time // when Current replaced Previous
	Successor  []byte    // Current's token, sealed with a key that only Previous gives; for a lost response
}

// End says which sessions of an account end: all but Except, when Reason is not
// empty.
type End struct {
	Reason string
	Except string // session ID; "" for all
}

type Sessions interface {
	// CreateSession stores a new session, unless allowed refuses the account as it
	// is in the same transaction: a lock or a new password that came in between
	// is never missed; nil allows. The account's oldest living sessions end, with
	// the reason "replaced", when there would be more than most; below 1 there is
	// no bound. ErrNotFound when there is no such account, ErrExists when the ID
	// is taken.
	CreateSession(ctx context.Context, s Session, most int, allowed func(Account) error) error
	Session(ctx context.Context, id string) (Session, error)
	// UpdateSession changes one session, with its account's row read in the same
	// transaction (zero when it was deleted), so that a lock or a role change is
	// never missed. An error of change is returned as it is, out of its Keep; what it changed is kept only when it is nil
	// or wrapped by Keep.
	UpdateSession(ctx context.Context, id string, change func(*Session, Account) error) error
	// ListSessions returns the account's living sessions, newest first.
	ListSessions(ctx context.Context, accountID string, now time.Time) ([]Session, error)
	// EndSessions ends the account's living sessions as end says, and returns the
	// IDs of those that it ended.
	EndSessions(ctx context.Context, accountID string, end End, now time.Time) ([]string, error)
	// EndSession ends one living session of the account: ErrNotFound when there
	// is no such.
	EndSession(ctx context.Context, accountID, id, reason string, now time.Time) error
	// EndedSince returns the IDs of sessions that ended at since or later, in any
	// order, at most limit of them; more says that there are others.
	EndedSince(ctx context.Context, since time.Time, limit int) (ids []string, more bool, err error)
	// KnownDevice reports whether the account had a session, not pruned yet, with
	// this device sum.
	KnownDevice(ctx context.Context, accountID, device string) (bool, error)
	// PruneSessions removes those that ended or expired before the time.
	PruneSessions(ctx context.Context, before time.Time) (int, error)
}

// Keep marks an error after which an Update keeps the change: a refusal that
// must be remembered, such as a reused token.
type Keep struct{ Err error }

func (k Keep) Error() string { return k.Err.Error() }
func (k Keep) Unwrap() error { return k.Err }

// A Ticket is a secret sent by mail that works once: to verify an address, to
// reset a password, to accept an invitation.
type Ticket struct {
	Sum       []byte // SHA-256 of the secret
	Kind      string // verify, reset, invite
	AccountID string // "" for an invitation
	Email     string
	Roles     []string // of an invitation
	Created   time.Time
	Expires   time.Time
}

type Tickets interface {
	// PutTicket stores a ticket and removes the one before it of its kind and
	// account, of an invitation that of its kind and address. ErrNotFound when
	// there is no such account.
	PutTicket(ctx context.Context, t Ticket) error
	// TakeTicket removes and returns the ticket; of two that take it at once one
	// gets it. ErrNotFound when it is not there, or expired.
	TakeTicket(ctx context.Context, kind string, sum []byte, now time.Time) (Ticket, error)
	// ListTickets returns up to limit tickets of the kind that are good at now and
	// belong to no account, by ascending address, after the given one.
	ListTickets(ctx context.Context, kind, after string, limit int, now time.Time) ([]Ticket, error)
	// DropTicket removes the ticket of the kind and address that belongs to no
	// account: ErrNotFound when there is none that is good at now.
	DropTicket(ctx context.Context, kind, email string, now time.Time) error
	// PruneTickets removes those that expired before the time.
	PruneTickets(ctx context.Context, before time.Time) (int, error)
}

// Attempt counts failures against one key, such as an account or an address.
type Attempt struct {
	Key      string
	Failures int
	Last     time.Time // of the last failure
	Until    time.Time // no attempt is looked at before
}

type Attempts interface {
	// UpdateAttempt changes the key's record, a zero one with the key when there is
	// none. One that is left zero is removed.
	UpdateAttempt(ctx context.Context, key string, change func(*Attempt) error) (Attempt, error)
	// Attempt returns the key's record, a zero one with the key when there is none.
	Attempt(ctx context.Context, key string) (Attempt, error)
	// CountAttempts is how many records have a key that begins so.
	CountAttempts(ctx context.Context, prefix string) (int, error)
	// PruneAttempts removes those whose last failure and delay are before the time.
	PruneAttempts(ctx context.Context, before time.Time) (int, error)
}

// An Entry is one link of the audit chain. Hash covers Previous, Seq, Time and
// Event; the first entry's Previous is empty.
type Entry struct {
	Seq      int64 // from 1, without gaps, but that the oldest may be pruned
	Time     time.Time
	Event    []byte // JSON
	Previous []byte
	Hash     []byte
}

type Chain interface {
	// Append adds entries at the end. link is given the last entry (zero when
	// there is none) and returns the next ones, linked to it; it may run again, as
	// a change function may. Their Seq must go on without a gap, and their Time be
	// in whole microseconds, so that it comes back as it was hashed.
	Append(ctx context.Context, link func(last Entry) ([]Entry, error)) error
	// Entries returns up to limit entries by ascending Seq, after the given one.
	Entries(ctx context.Context, after int64, limit int) ([]Entry, error)
	// PruneEntries removes the entries up to that Seq, oldest first, but never the
	// last one, which the next is linked to.
	PruneEntries(ctx context.Context, through int64) (int, error)
	// LastEntry answers ErrNotFound for an empty chain.
	LastEntry(ctx context.Context) (Entry, error)
}
