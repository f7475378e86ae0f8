package identity_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/audit"
)

// A secret that was mailed earlier does not undo a new password: an operator
// who sets one keeps out whoever holds the mail.
func TestNewPasswordEndsResets(t *testing.T) {
	for name, change := range map[string]func(*site, *browser){
		"the owner's": func(s *site, a *browser) {
			a.must(204, "POST", "/api/auth/password", fields{"password": password, "new_password": another})
		},
		"an operator's": func(s *site, a *browser) {
			if _, err := s.svc.Accounts().SetPassword(t.Context(), operator, a.id(), another); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSite(t, false)
			a, stranger := s.member("127.0.0.1", ada), s.browse("127.0.0.2")
			stranger.must(204, "POST", "/api/auth/password/forgot", fields{"email": ada})
			secret := s.secret(ada, "Choose a new password")
			change(s, a)
			r := stranger.must(400, "POST", "/api/auth/password/reset", fields{"token": secret, "password": "granite willow 88 lamp"})
			if !slices.Equal(r.codes(), []string{"/token invalid"}) {
				t.Errorf("the old ticket: %v", r)
			}
			stranger.enter(ada, another)
		})
	}
}

// An invitation gives nothing that who made it may not give any more.
func TestInvitationsEndWithTheirInviter(t *testing.T) {
	for name, change := range map[string]func(*testing.T, *site, string) error{
		"locked": func(t *testing.T, s *site, id string) error {
			_, err := s.svc.Accounts().Lock(t.Context(), operator, id)
			return err
		},
		"demoted": func(t *testing.T, s *site, id string) error {
			_, err := s.svc.Accounts().SetRoles(t.Context(), operator, id, []string{"user"})
			return err
		},
		"deleted": func(t *testing.T, s *site, id string) error {
			return s.svc.Accounts().Delete(t.Context(), operator, id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := openSiteOf(t, inviteRules)
			root := s.admin("127.0.0.1", "root@example.org", "admin")
			inviter := s.admin("127.0.0.2", "inviter@example.org", "admin")
			inviter.must(201, "POST", "/api/admin/invites", fields{"email": ada, "roles": []string{"admin"}})
			secret := s.secret(ada, "You are invited")
			if err := change(t, s, inviter.id()); err != nil {
				t.Fatal(err)
			}
			b := s.browse("127.0.0.3")
			register := func(secret string) reply {
				return b.ask("POST", "/api/auth/register", fields{"name": "Ada", "email": ada, "password": password, "invite": secret})
			}
			random, _, _ := strings.Cut(secret, ".")
			if r := register(random + "." + root.id()); r.status != 400 {
				t.Errorf("in the name of another: %v", r)
			}
			if r := register(secret); r.status != 400 || !slices.Equal(r.codes(), []string{"/invite invalid"}) {
				t.Errorf("the invitation: %v", r)
			}
			if r := b.login(ada, password); r.status != http.StatusUnauthorized {
				t.Errorf("there is an account: %v", r)
			}
		})
	}
}

// While the store is out a browser keeps the token that a second try to sign out
// takes.
func TestSignOutAgainAfterAnOutage(t *testing.T) {
	s := openSite(t, false)
	a := s.member("127.0.0.1", ada)
	a.token = ""
	s.store.fail(true)
	if r := a.must(503, "POST", "/api/auth/logout", nil); r.header.Get("Set-Cookie") != "" {
		t.Errorf("the cookie is gone, the session is not: %v", r)
	}
	s.store.fail(false)
	if r := a.must(204, "POST", "/api/auth/logout", nil); r.header.Get("Set-Cookie") == "" {
		t.Errorf("the cookie stays: %v", r)
	}
	if n := s.recorded(audit.SignedOut, audit.Success); n != 1 {
		t.Errorf("%d sessions ended", n)
	}
}
