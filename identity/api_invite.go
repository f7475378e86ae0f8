package identity

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

type inviteInput struct {
	Email string   `json:"email" check:"max=1000"`
	Roles []string `json:"roles" check:"optional,max=32" each:"max=64"`
}

type invited struct {
	Expires time.Time `json:"expires"`
}

// invite mails an invitation. Roles that are left out are those of who registers
// without one. It works as long as who invites may still give them.
func (s *Service) invite(ctx context.Context, in inviteInput) (app.Created[invited], error) {
	var out app.Created[invited]
	v, err := s.admin(ctx)
	if err != nil {
		return out, err
	}
	email, err := NormalizeEmail(in.Email)
	if err != nil {
		return out, s.refuse(v, invalid("/email", "format", err.Error()))
	}
	roles := v.policy.Identity.DefaultRoles
	if in.Roles != nil {
		roles = in.Roles
	}
	if roles, err = v.accounts.checkRoles(roles); err != nil {
		return out, s.refuse(v, err)
	}
	switch {
	case v.policy.Identity.Registration == "closed":
		return out, &app.Error{Status: http.StatusConflict, Detail: "Registration is closed: accounts are made on the server, with ringwall user add."}
	case s.deps.Mail == nil:
		return out, &app.Error{Status: http.StatusConflict, Detail: "This site sends no mail, and so no invitations: set identity.mail in the policy."}
	}
	if err := v.accounts.mayGive(ctx, v.actor(), roles); err != nil {
		return out, s.refuse(v, err)
	}
	if a, err := s.accountOf(ctx, email); err != nil {
		return out, s.refuse(v, err)
	} else if a.ID != "" {
		return out, s.refuse(v, errTaken)
	}
	secret, expires, err := v.tickets.invite(ctx, v.x.Caller.Subject, email, roles)
	if err != nil {
		return out, s.refuse(v, err)
	}
	m := compose(v.policy, "invite", email, secret, expires)
	s.post.put("invite", func(context.Context) (Mail, error) { return m, nil })
	s.event(v, audit.InviteCreated, audit.Success, v.x.Caller.Subject, http.StatusCreated, "roles "+strings.Join(roles, ", "))
	out.Value.Expires = expires
	return out, nil
}

// mayGive refuses roles that by may not give.
func (a *Accounts) mayGive(ctx context.Context, by Actor, roles []string) error {
	self, err := a.store.Account(ctx, by.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if !a.manages(self) {
		return errManager
	}
	for _, role := range roles {
		if !a.roles.mayGive(self.Roles, role) {
			return errNotGiver
		}
	}
	return nil
}

// inviteView is an invitation that waits. Its secret is in the mail alone.
type inviteView struct {
	Email   string    `json:"email"`
	Roles   []string  `json:"roles"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

type inviteList struct {
	Invites []inviteView `json:"invites"`
	Next    string       `json:"next,omitempty"` // after, for the next page
}

func (s *Service) listInvites(ctx context.Context, in struct {
	After string `query:"after" check:"optional,max=1000"`
	Limit int    `query:"limit" check:"default=50,min=1,max=200"`
}) (inviteList, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return inviteList{}, err
	}
	out := inviteList{Invites: []inviteView{}}
	all, next, err := v.accounts.Invites(ctx, in.After, in.Limit)
	if err != nil {
		return out, s.refuse(v, err)
	}
	for _, i := range all {
		out.Invites = append(out.Invites, inviteView{Email: i.Email, Roles: list(i.Roles), Created: i.Created, Expires: i.Expires})
	}
	out.Next = next
	return out, nil
}

func (s *Service) withdrawInvite(ctx context.Context, in struct {
	Email string `query:"email" check:"max=1000"`
}) (app.None, error) {
	v, err := s.admin(ctx)
	if err != nil {
		return none, err
	}
	email, err := NormalizeEmail(in.Email)
	if err != nil {
		return none, s.refuse(v, invalid("query/email", "format", err.Error()))
	}
	return none, s.refuse(v, v.accounts.Withdraw(ctx, v.actor(), email))
}
