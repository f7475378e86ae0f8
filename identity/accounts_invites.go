package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// Invites returns up to limit invitations that wait, by address, after the
// given one, and the address to go on after; "" at the end.
func (a *Accounts) Invites(ctx context.Context, after string, limit int) (list []store.Ticket, next string, err error) {
	list, err = a.store.ListTickets(ctx, inviteTicket, after, limit+1, a.now())
	if err != nil {
		return nil, "", fmt.Errorf("list invitations: %w", err)
	}
	if len(list) > limit {
		list = list[:limit]
		next = list[limit-1].Email
	}
	return list, next, nil
}

// Withdraw makes the invitation to an address worthless, whoever made it.
func (a *Accounts) Withdraw(ctx context.Context, by Actor, email string) error {
	email, err := NormalizeEmail(email)
	if err != nil {
		return invalid("/email", "format", err.Error())
	}
	if !by.Operator {
		self, err := a.store.Account(ctx, by.ID)
		if err := a.missing(err, "read the account of who asks"); err != nil {
			return err
		}
		if !a.manages(self) {
			return errManager // since a moment ago
		}
	}
	err = a.store.DropTicket(ctx, inviteTicket, email, a.now())
	if errors.Is(err, store.ErrNotFound) {
		return errNoInvite
	}
	if err != nil {
		return fmt.Errorf("withdraw an invitation: %w", err)
	}
	a.record(by, audit.InviteWithdrawn, "")
	return nil
}
