package identity

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

type changeInput struct {
	Password string `json:"password" check:"maxbytes=1024"`
	New      string `json:"new_password" check:"maxbytes=1024"`
}

// changePassword gives who is signed in a new password, once the old one was
// shown. All other sessions end.
func (s *Service) changePassword(ctx context.Context, in changeInput) (app.None, error) {
	v, err := s.signedIn(ctx)
	if err != nil {
		return none, err
	}
	a, err := s.ownPassword(ctx, v, "/password", in.Password)
	if err != nil {
		return none, err
	}
	if in.New == in.Password {
		return none, s.refuse(v, invalid("/new_password", "same", "is the old password"))
	}
	if err := v.accounts.judge(ctx, "/new_password", in.New, a.Email, a.Name); err != nil {
		return none, s.refuse(v, err)
	}
	hash, err := s.passwords.Hash(ctx, in.New)
	if err != nil {
		return none, s.refuse(v, err)
	}
	now, err := s.deps.Store.UpdateAccount(ctx, a.ID, s.deps.Now(), func(b *store.Account) (store.End, error) {
		if b.PasswordHash != a.PasswordHash || v.sessions.barred(*b) != "" {
			return store.End{}, errAccountChanged
		}
		b.PasswordHash = hash
		return store.End{Reason: "password", Except: v.x.Caller.Session}, nil
	})
	if errors.Is(err, errAccountChanged) || errors.Is(err, store.ErrNotFound) {
		return none, v.unauthorized("The account has changed meanwhile. Sign in again.", err)
	}
	if err != nil {
		return none, s.refuse(v, err)
	}
	s.catchUp(ctx)
	s.event(v, audit.PasswordChanged, audit.Success, a.ID, http.StatusNoContent, "account "+a.ID)
	s.mail(v.policy, "changed", now)
	return none, nil
}

type forgotInput struct {
	Email string `json:"email" check:"max=1000"`
}

// forgotPassword mails a secret that sets a new password, if there is an
// account that it would help. The answer does not tell, and all work is done
// later.
func (s *Service) forgotPassword(ctx context.Context, in forgotInput) (app.None, error) {
	v := s.visit(ctx)
	email, err := NormalizeEmail(in.Email)
	if err != nil {
		return none, s.refuse(v, invalid("/email", "format", err.Error()))
	}
	if s.deps.Mail == nil {
		return none, &app.Error{Status: http.StatusNotFound, Detail: "This site sends no mail. Ask its operators for a new password."}
	}
	asked := s.draft(v, audit.ResetRequested, audit.Success, http.StatusNoContent)
	s.post.put("reset", func(ctx context.Context) (Mail, error) {
		a, err := s.deps.Store.AccountByEmail(ctx, email)
		if errors.Is(err, store.ErrNotFound) || err == nil && !a.Locked.IsZero() {
			return Mail{}, errNoMail
		}
		if err != nil {
			return Mail{}, err
		}
		if may, err := s.mayMail(ctx, "reset", email); err != nil || !may {
			return Mail{}, errors.Join(err, errNoMail)
		}
		asked.Subject, asked.Detail = a.ID, "account "+a.ID
		s.deps.Audit.Record(asked)
		return s.ticketMail(ctx, v.policy, "reset", a)
	})
	return none, nil
}

// Mails that strangers can have sent to somebody are seldom: the first at once,
// the next after a minute, and each later one after twice as long, to an hour. A
// day without forgets it.
const (
	mailGap    = time.Minute
	mailGapMax = time.Hour
	mailForget = 24 * time.Hour
)

var errTooMany = errors.New("too many mails")

// mayMail reports whether one more mail of that kind may go to the address now,
// and counts it.
func (s *Service) mayMail(ctx context.Context, kind, email string) (bool, error) {
	now := s.deps.Now().UTC()
	_, err := s.deps.Store.UpdateAttempt(ctx, "mail:"+kind+":"+hexSum(email), func(a *store.Attempt) error {
		if now.Sub(a.Last) >= mailForget {
			a.Failures = 0
		}
		if a.Failures > 0 && now.Before(a.Until) {
			return errTooMany
		}
		a.Failures = min(a.Failures+1, 10)
		a.Last, a.Until = now, now.Add(min(mailGap<<(a.Failures-1), mailGapMax))
		return nil
	})
	if errors.Is(err, errTooMany) {
		return false, nil
	}
	return err == nil, err
}

type resetInput struct {
	Token    string `json:"token" check:"max=100"`
	Password string `json:"password" check:"maxbytes=1024"`
}

// resetPassword sets a new password for who got the secret by mail, which proves
// the address too. All sessions end; the delay after failed sign-ins does too,
// and a lock does not.
func (s *Service) resetPassword(ctx context.Context, in resetInput) (app.None, error) {
	v := s.visit(ctx)
	if err := v.accounts.judge(ctx, "/password", in.Password); err != nil { // before the secret is used up
		return none, s.refuse(v, err)
	}
	t, err := s.takeTicket(ctx, v, resetTicket, "/token", in.Token, "")
	if err != nil {
		return none, err
	}
	a, err := s.deps.Store.Account(ctx, t.AccountID)
	if errors.Is(err, store.ErrNotFound) || err == nil && a.Email != t.Email {
		return none, badTicket(v, s, "/token")
	}
	if err == nil {
		err = v.accounts.judge(ctx, "/password", in.Password, a.Email, a.Name)
	}
	var hash string
	if err == nil {
		hash, err = s.passwords.Hash(ctx, in.Password)
	}
	if err != nil {
		return none, s.giveBack(ctx, v, t, err)
	}
	proved := false
	now, err := s.deps.Store.UpdateAccount(ctx, a.ID, s.deps.Now(), func(b *store.Account) (store.End, error) {
		if b.Email != t.Email || b.PasswordHash != a.PasswordHash {
			return store.End{}, errAccountChanged
		}
		b.PasswordHash = hash
		if proved = b.Verified.IsZero(); proved {
			b.Verified = s.deps.Now().UTC()
		}
		return store.End{Reason: "password"}, nil
	})
	if errors.Is(err, errAccountChanged) || errors.Is(err, store.ErrNotFound) {
		return none, badTicket(v, s, "/token")
	}
	if err != nil {
		return none, s.giveBack(ctx, v, t, err)
	}
	s.catchUp(ctx)
	s.event(v, audit.PasswordReset, audit.Success, a.ID, http.StatusNoContent, "account "+a.ID)
	if proved {
		s.event(v, audit.AccountVerified, audit.Success, a.ID, http.StatusNoContent, "account "+a.ID)
	}
	if err := s.guard.passed(ctx, accountKey(a.Email)); err != nil {
		s.deps.Log.Warn("the delay of an account was not ended", "account", a.ID, "error", err)
	}
	s.mail(v.policy, "changed", now)
	v.setCookies(forget)
	return none, nil
}
