package policy_test

import (
	"slices"
	"testing"

	"github.com/ringwall/ringwall/policy"
)

func TestBuiltinRoutesAreGoodRoutes(t *testing.T) {
	p := policy.Default()
	if p.KeepsAccounts() || p.Builtin() != nil {
		t.Error("the defaults keep accounts")
	}
	for _, r := range []string{"open", "invite", "closed"} {
		p.Identity.Registration = r
		if !p.KeepsAccounts() || len(p.Builtin()) == 0 {
			t.Errorf("registration %s keeps no accounts", r)
		}
	}
	for _, r := range p.Builtin() {
		if _, err := policy.ParsePattern(r.Path); err != nil || len(r.Allow) == 0 {
			t.Errorf("%+v: %v", r, err)
		}
	}
}

func TestOverridden(t *testing.T) {
	p := policy.Default()
	p.App.Routes = []policy.Route{
		0: {Path: "/api/auth/"},
		1: {Path: "/api/auth/mine", Methods: []string{"GET"}},
		2: {Path: "/api/"},
		3: {Path: "/api/me"},
		4: {Path: "/api/me/"}, // what is below is the API's
		5: {Path: "/api/{x}"},
		6: {Path: "/.well-known/jwks.json"}, // but not its GET
		7: {Path: "/.well-known/jwks.json", Methods: []string{"GET", "HEAD"}},
		8: {Path: "bad"},
	}
	if got := p.Overridden(); got != nil {
		t.Errorf("without accounts: %v", got)
	}
	p.Identity.Registration = "open"
	if got := p.Overridden(); !slices.Equal(got, []int{0, 1, 3, 7}) {
		t.Errorf("got %v", got)
	}
}
