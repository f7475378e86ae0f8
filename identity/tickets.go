package identity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ringwall/ringwall/store"
)

// Kinds of tickets, as they are in the store and in links.
const (
	verifyTicket = "verify"
	resetTicket  = "reset"
	inviteTicket = "invite"
)

// lifetimes of tickets: long enough for a mail that is late, short for what
// changes a password.
var lifetimes = map[string]time.Duration{
	verifyTicket: 24 * time.Hour,
	resetTicket:  time.Hour,
	inviteTicket: 7 * 24 * time.Hour,
}

var errNoTicket = errors.New("no such ticket, or it was used or has expired")

// tickets are secrets that are mailed and work once. The store has their
// SHA-256 only.
type tickets struct {
	store store.Tickets
	now   func() time.Time
}

// issue makes a ticket of an account and returns its secret, 256 bits in
// base64url. Older ones of the kind stop working.
func (t tickets) issue(ctx context.Context, kind, account, email string) (secret string, expires time.Time, err error) {
	secret = newSecret()
	expires, err = t.put(ctx, store.Ticket{Sum: ticketSum(secret, ""), Kind: kind, AccountID: account, Email: email})
	return secret, expires, err
}

// invite makes an invitation by the account by. Its secret ends in a dot and
// that account's ID, and works with that ID and this address only: who uses it
// cannot name another inviter, whose rights count then.
func (t tickets) invite(ctx context.Context, by, email string, roles []string) (secret string, expires time.Time, err error) {
	secret = newSecret() + "." + by
	expires, err = t.put(ctx, store.Ticket{Sum: ticketSum(secret, email), Kind: inviteTicket, Email: email, Roles: roles})
	return secret, expires, err
}

// inviter is the account that made an invitation.
func inviter(secret string) string {
	_, by, _ := strings.Cut(secret, ".")
	return by
}

func newSecret() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (t tickets) put(ctx context.Context, k store.Ticket) (expires time.Time, err error) {
	now := t.now().UTC()
	k.Created, k.Expires = now, now.Add(lifetimes[k.Kind])
	if err := t.store.PutTicket(ctx, k); err != nil {
		return time.Time{}, fmt.Errorf("keep a ticket: %w", err)
	}
	return k.Expires, nil
}

// take uses a ticket up. email is who shows an invitation: with another
// address it is not found, and stays.
func (t tickets) take(ctx context.Context, kind, secret, email string) (store.Ticket, error) {
	random, by, named := strings.Cut(secret, ".")
	if b, err := base64.RawURLEncoding.Strict().DecodeString(random); err != nil || len(b) != 32 {
		return store.Ticket{}, errNoTicket
	}
	if kind != inviteTicket {
		email = ""
	}
	if named != (kind == inviteTicket) || named && by == "" {
		return store.Ticket{}, errNoTicket
	}
	got, err := t.store.TakeTicket(ctx, kind, ticketSum(secret, email), t.now())
	if errors.Is(err, store.ErrNotFound) {
		return store.Ticket{}, errNoTicket
	}
	if err != nil {
		return store.Ticket{}, fmt.Errorf("take a ticket: %w", err)
	}
	return got, nil
}

// giveBack makes a ticket good again whose use failed for another reason, such
// as a password that is too weak. It is not there in between; a crash then
// loses it, and its owner asks for another.
func (t tickets) giveBack(ctx context.Context, ticket store.Ticket) error {
	if err := t.store.PutTicket(ctx, ticket); err != nil {
		return fmt.Errorf("give a ticket back: %w", err)
	}
	return nil
}

// ticketSum is what the store keeps of a secret. bound is the address that an
// invitation works together with.
func ticketSum(secret, bound string) []byte {
	sum := sha256.Sum256([]byte(secret + " " + bound)) // no secret has a blank
	return sum[:]
}
