package identity_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
)

// An address that nobody proves is not taken for ever, and strangers do not fill
// the store with accounts.
func TestUnprovedAccountsGo(t *testing.T) {
	s := openSite(t, true)
	b := s.browse("127.0.0.1")
	register := func(email string) string {
		t.Helper()
		b.must(201, "POST", "/api/auth/register", fields{"name": "X", "email": email, "password": password})
		a, err := s.svc.Accounts().Find(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	left := func() (all []string) {
		list, _, err := s.svc.Accounts().List(t.Context(), "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range list {
			all = append(all, a.Email)
		}
		slices.Sort(all) // accounts of one millisecond have any order
		return all
	}
	register(ada)
	secret := s.secret(ada, "Confirm your address")
	register("gone@example.org")
	locked := register("locked@example.org")
	if _, err := s.svc.Accounts().Lock(t.Context(), operator, locked); err != nil {
		t.Fatal(err)
	}
	s.clock.set(s.clock.now().Add(20 * time.Hour))
	b.must(204, "POST", "/api/auth/verify-email", fields{"token": secret, "password": password})

	s.clock.set(s.clock.now().Add(6*24*time.Hour + 3*time.Hour))
	identity.Prune(t.Context(), s.svc)
	if got := left(); len(got) != 3 {
		t.Errorf("within a week: %v", got)
	}
	s.clock.set(s.clock.now().Add(2 * time.Hour))
	identity.Prune(t.Context(), s.svc)
	if got := strings.Join(left(), " "); got != ada+" locked@example.org" {
		t.Errorf("after a week: %v", got)
	}
	if n := s.recorded(audit.AccountDeleted, audit.Success); n != 1 {
		t.Errorf("%d events", n)
	}
	register("gone@example.org") // the address is free
	b.enter(ada, password)
}

// While addresses need no proof, accounts are used as they are.
func TestAccountsThatNeedNoProofStay(t *testing.T) {
	s := openSite(t, false)
	b := s.member("127.0.0.1", ada)
	b.must(204, "POST", "/api/auth/logout", nil)
	s.clock.set(s.clock.now().Add(300 * 24 * time.Hour))
	identity.Prune(t.Context(), s.svc) // and the session of the sign-in
	// Nor does it take them when the policy asks for a proof later.
	if err := s.svc.Reload(sitePolicy(t, strings.Replace(siteRules, "%v", "true", 1))); err != nil {
		t.Fatal(err)
	}
	identity.Prune(t.Context(), s.svc)
	if _, err := s.svc.Accounts().Find(t.Context(), ada); err != nil {
		t.Error(err)
	}
}
