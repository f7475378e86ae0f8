package identity

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
)

type registerInput struct {
	Name     string `json:"name" check:"max=1000"`
	Email    string `json:"email" check:"max=1000"`
	Password string `json:"password" check:"maxbytes=1024"`
	Invite   string `json:"invite" check:"optional,max=100"`
}

// registered is the answer to every registration, also to that of an address
// that has an account.
type registered struct {
	Next string `json:"next"` // verify-email or login
}

// register makes an account, or sends a mail to the owner of the one that is
// there: the answer and the work are the same, a hash and a write. Mails are
// written and sent later, so that they do not tell by their time either.
//
// Nobody signs in before the address is proved (identity.verify_email). Until
// then the account can do nothing, and whoever proves the address by a password
// reset takes it over, with a password of his own. One that nobody proves goes
// away after identity.verify_within.
func (s *Service) register(ctx context.Context, in registerInput) (app.Created[registered], error) {
	v := s.visit(ctx)
	out := app.Created[registered]{Value: registered{Next: "login"}}
	mode := v.policy.Identity.Registration
	if mode == "closed" {
		return out, &app.Error{Status: http.StatusForbidden, Detail: "Accounts are made by the operators of this site."}
	}
	var wrong issues
	name, err := normalizeName(in.Name)
	wrong.add("/name", "format", err)
	email, err := NormalizeEmail(in.Email)
	wrong.add("/email", "format", err)
	if err := wrong.addRefusal(v.accounts.judge(ctx, "/password", in.Password, email, name)); err != nil {
		return out, s.refuse(v, err)
	}
	if mode == "invite" && in.Invite == "" {
		wrong.add("/invite", "required", errors.New("is required: this site makes accounts by invitation"))
	}
	if err := wrong.refusal(); err != nil {
		return out, err
	}
	hash, err := s.passwords.Hash(ctx, in.Password)
	if err != nil {
		return out, s.refuse(v, err)
	}
	now := s.deps.Now().UTC()
	a := store.Account{ID: newID(now), Email: email, Name: name, PasswordHash: hash, Roles: v.policy.Identity.DefaultRoles, Created: now, Updated: now}
	var invitation *store.Ticket
	if in.Invite != "" {
		t, err := s.takeTicket(ctx, v, inviteTicket, "/invite", in.Invite, email)
		if err != nil {
			return out, err
		}
		if err := v.accounts.mayGive(ctx, Actor{ID: inviter(in.Invite)}, t.Roles); errors.As(err, new(*Refusal)) {
			s.event(v, audit.AuthFailed, audit.Failure, "", http.StatusBadRequest, "an invitation of account "+inviter(in.Invite)+", which may not give its roles any more")
			return out, badTicket(v, s, "/invite")
		} else if err != nil {
			return out, s.giveBack(ctx, v, t, err)
		}
		a.Roles, a.Verified, invitation = t.Roles, now, &t // the invitation proved the address
	} else if v.policy.Identity.VerifyEmail {
		out.Value.Next = "verify-email"
		a.Expires = now.Add(v.policy.Identity.VerifyWithin)
	}
	err = s.deps.Store.CreateAccount(ctx, a)
	switch {
	case errors.Is(err, store.ErrExists):
		s.event(v, audit.AccountCreated, audit.Failure, "", http.StatusCreated, "the address has an account")
		return out, s.refuse(v, s.tellTaken(ctx, v, email))
	case err != nil && invitation != nil:
		return out, s.giveBack(ctx, v, *invitation, err)
	case err != nil:
		return out, s.refuse(v, err)
	}
	s.event(v, audit.AccountCreated, audit.Success, a.ID, http.StatusCreated, "account "+a.ID)
	if out.Value.Next == "verify-email" {
		s.mail(v.policy, "verify", a)
	}
	return out, nil
}

// tellTaken tells the owner of an account that somebody tried to register with
// the address. The write is the counterpart of CreateAccount's.
func (s *Service) tellTaken(ctx context.Context, v visit, email string) error {
	may, err := s.mayMail(ctx, "taken", email)
	if err != nil || !may || s.deps.Mail == nil {
		return err
	}
	s.post.put("taken", func(ctx context.Context) (Mail, error) {
		a, err := s.deps.Store.AccountByEmail(ctx, email)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return Mail{}, errNoMail
		case err != nil:
			return Mail{}, err
		case !a.Verified.IsZero() || !a.Locked.IsZero():
			return compose(v.policy, "taken", email, "", time.Time{}), nil
		}
		return s.ticketMail(ctx, v.policy, "waiting", a)
	})
	return nil
}

// mail sends an account a mail of that kind, if there is a way.
func (s *Service) mail(p *policy.Policy, kind string, a store.Account) {
	if s.deps.Mail != nil {
		s.post.put(kind, func(ctx context.Context) (Mail, error) { return s.ticketMail(ctx, p, kind, a) })
	}
}

// ticketMail writes a mail, with a ticket when its kind has one.
func (s *Service) ticketMail(ctx context.Context, p *policy.Policy, kind string, a store.Account) (Mail, error) {
	var secret string
	var expires time.Time
	if k := letters[kind].ticket; k != "" {
		var err error
		secret, expires, err = tickets{s.deps.Store, s.deps.Now}.issue(ctx, k, a.ID, a.Email)
		if errors.Is(err, store.ErrNotFound) {
			return Mail{}, errNoMail // the account is gone
		}
		if err != nil {
			return Mail{}, err
		}
	}
	return compose(p, kind, a.Email, secret, expires), nil
}

type verifyInput struct {
	Token    string `json:"token" check:"max=100"`
	Password string `json:"password" check:"maxbytes=1024"`
}

// verifyEmail proves an address: the secret was mailed to it, and the password
// is that of the registration. Both are asked for, so that the owner of an
// address does not prove it for a stranger who registered with it.
func (s *Service) verifyEmail(ctx context.Context, in verifyInput) (app.None, error) {
	v := s.visit(ctx)
	t, err := s.takeTicket(ctx, v, verifyTicket, "/token", in.Token, "")
	if err != nil {
		return none, err
	}
	a, err := s.deps.Store.Account(ctx, t.AccountID)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Email != t.Email {
		return none, badTicket(v, s, "/token")
	}
	if err != nil {
		return none, s.giveBack(ctx, v, t, err)
	}
	err = s.guarded(ctx, v, secretKeys(a.Email, v.from, false), func() (bool, error) {
		right, _, err := s.verify(ctx, a, in.Password)
		return right, err
	})
	if errors.Is(err, errWrong) {
		s.event(v, audit.AuthFailed, audit.Failure, a.ID, http.StatusBadRequest, "wrong password for a verify ticket")
		err = invalid("/password", "wrong", "is not the password of the registration; if you did not choose one, ask for a new one")
	}
	if err != nil {
		return none, s.giveBack(ctx, v, t, err)
	}
	_, err = s.deps.Store.UpdateAccount(ctx, a.ID, s.deps.Now(), func(b *store.Account) (store.End, error) {
		if b.PasswordHash != a.PasswordHash || b.Email != t.Email {
			return store.End{}, errAccountChanged
		}
		if b.Verified.IsZero() {
			b.Verified = s.deps.Now().UTC()
		}
		return store.End{}, nil
	})
	if errors.Is(err, errAccountChanged) || errors.Is(err, store.ErrNotFound) {
		return none, badTicket(v, s, "/token")
	}
	if err != nil {
		return none, s.giveBack(ctx, v, t, err)
	}
	s.event(v, audit.AccountVerified, audit.Success, a.ID, http.StatusNoContent, "account "+a.ID)
	return none, nil
}
