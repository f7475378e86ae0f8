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

type loginInput struct {
	Email    string `json:"email" check:"max=1000"`
	Password string `json:"password" check:"maxbytes=1024"`
	Delivery string `json:"token_delivery" check:"default=cookie,oneof=cookie|body"`
}

// issued is the answer of login and refresh (RFC 6749, 5.1).
type issued struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`              // seconds
	RefreshToken string `json:"refresh_token,omitempty"` // when asked for in the body
}

func (s *Service) issued(g grant) issued {
	return issued{AccessToken: g.Access, TokenType: "Bearer", ExpiresIn: int64(g.AccessExpires.Sub(s.deps.Now()).Round(time.Second) / time.Second)}
}

// keepIn is the cookie of a grant, until its session ends.
func (s *Service) keepIn(g grant) string {
	return cookie(refreshCookie, g.Refresh, g.RefreshExpires.Sub(s.deps.Now()))
}

// forget has the browser forget the refresh token.
var forget = cookie(refreshCookie, "", 0)

// notSignedIn is the one answer to everybody who is not signed in: it does not
// tell whether there is such an account, nor how it is with it.
const notSignedIn = "Address and password do not belong to an account that may sign in."

// login signs in with a password. An address without an account, a wrong
// password, an unproved address and a locked account get the same answer after
// the same work.
func (s *Service) login(ctx context.Context, in loginInput) (issued, error) {
	v := s.visit(ctx)
	email, err := NormalizeEmail(in.Email)
	if err != nil {
		return issued{}, s.refuse(v, invalid("/email", "format", err.Error()))
	}
	a, err := s.accountOf(ctx, email)
	if err != nil {
		return issued{}, s.refuse(v, err)
	}
	known, err := v.sessions.knownDevice(ctx, a.ID, v.from.Device)
	if err != nil {
		return issued{}, s.refuse(v, err)
	}
	device := ""
	keys := secretKeys(email, v.from, known)
	if !known {
		// A planted cookie must not become a device of this account.
		device = newDevice()
		v.from.Device = deviceSum(device)
	}
	var g grant
	var why string
	err = s.guarded(ctx, v, keys, func() (right bool, err error) {
		// The account may get a new hash or be locked while the password is
		// checked; then look once more.
		for range 2 {
			if g, why, err = s.signIn(ctx, v, a, in.Password); !errors.Is(err, errAccountChanged) {
				return why == "", err
			}
			if a, err = s.accountOf(ctx, email); err != nil {
				return false, err
			}
		}
		why = "the account keeps changing"
		return false, nil
	})
	if errors.Is(err, errWrong) {
		s.event(v, audit.AuthFailed, audit.Failure, a.ID, http.StatusUnauthorized, why)
		return issued{}, v.unauthorized(notSignedIn, errors.New(why))
	}
	if err != nil {
		return issued{}, err
	}
	out := s.issued(g)
	var cookies []string
	if device != "" {
		cookies = append(cookies, cookie(deviceCookie, device, deviceAge))
	}
	if in.Delivery == "body" {
		out.RefreshToken = g.Refresh
	} else {
		cookies = append(cookies, s.keepIn(g))
	}
	if len(cookies) > 0 {
		v.setCookies(cookies...)
	}
	return out, nil
}

// accountOf is AccountByEmail; without one it is zero.
func (s *Service) accountOf(ctx context.Context, email string) (store.Account, error) {
	a, err := s.deps.Store.AccountByEmail(ctx, email)
	if errors.Is(err, store.ErrNotFound) {
		return store.Account{}, nil
	}
	return a, err
}

// signIn checks the password and starts a session. why says for the operator
// why not.
func (s *Service) signIn(ctx context.Context, v visit, a store.Account, pw string) (g grant, why string, err error) {
	right, stale, err := s.verify(ctx, a, pw)
	switch reason := v.sessions.barred(a); {
	case err != nil:
		return g, "", err
	case a.ID == "":
		return g, "no such account", nil
	case !right:
		return g, "wrong password", nil
	case reason == "locked":
		return g, "the account is locked", nil
	case reason != "":
		return g, "the address is not proved", nil
	}
	if stale {
		a = s.rehash(ctx, a, pw)
	}
	g, err = v.sessions.start(ctx, a, v.from)
	return g, "", err
}

// rehash gives an account a hash of today's parameters, if that can be done
// now. Otherwise the next sign-in tries again.
func (s *Service) rehash(ctx context.Context, a store.Account, pw string) store.Account {
	hash, err := s.passwords.Hash(ctx, pw)
	if err != nil {
		return a
	}
	now, err := s.deps.Store.UpdateAccount(ctx, a.ID, s.deps.Now(), func(b *store.Account) (store.End, error) {
		if b.PasswordHash != a.PasswordHash {
			return store.End{}, errAccountChanged
		}
		b.PasswordHash = hash
		return store.End{}, nil
	})
	if err != nil {
		return a
	}
	return now
}

type refreshInput struct {
	Token string `json:"refresh_token" check:"optional,max=200"`
}

// presented is the refresh token of a request: in the body, or else the cookie.
func (v visit) presented(in refreshInput) (token string, byCookie bool) {
	if in.Token != "" {
		return in.Token, false
	}
	return cookieOf(v.x.R, refreshCookie), true
}

// refresh continues a session. It needs no access token. The answer comes the
// way the token came: cookie or body.
func (s *Service) refresh(ctx context.Context, in refreshInput) (issued, error) {
	v := s.visit(ctx)
	token, byCookie := v.presented(in)
	if token == "" {
		return issued{}, v.unauthorized("There is no refresh token. Sign in again.", nil)
	}
	g, err := v.sessions.refresh(ctx, token, v.from)
	switch {
	case errors.Is(err, errBadRefresh) || errors.Is(err, errReused):
		if errors.Is(err, errBadRefresh) {
			s.event(v, audit.AuthExpired, audit.Failure, "", http.StatusUnauthorized, "a refresh token that continues nothing")
		}
		if byCookie {
			v.setCookies(forget)
		}
		return issued{}, v.unauthorized("The refresh token is not valid any more. Sign in again.", err)
	case err != nil:
		return issued{}, s.refuse(v, err)
	}
	out := s.issued(g)
	if byCookie {
		v.setCookies(s.keepIn(g))
	} else {
		out.RefreshToken = g.Refresh
	}
	return out, nil
}

// logout ends the session of the refresh token and that of the access token,
// which are one for a client that sends both. Who is not signed in any more is
// answered alike. The device cookie stays: it signs nobody in, and keeps its
// owner from being locked out.
func (s *Service) logout(ctx context.Context, in refreshInput) (app.None, error) {
	v := s.visit(ctx)
	if token, _ := v.presented(in); token != "" {
		err := v.sessions.endByToken(ctx, token, v.from)
		if err != nil && !errors.Is(err, errBadRefresh) && !errors.Is(err, errReused) {
			return none, s.refuse(v, err)
		}
	}
	if c := v.x.Caller; c != nil && c.Session != "" {
		err := s.deps.Store.EndSession(ctx, c.Subject, c.Session, "logout", s.deps.Now())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return none, s.refuse(v, err)
		}
		s.verifier.End(c.Session)
		if err == nil {
			s.event(v, audit.SignedOut, audit.Success, c.Subject, http.StatusNoContent, "logout")
		}
	}
	v.setCookies(forget) // not while the store is out: the token is what a second try takes
	return none, nil
}
