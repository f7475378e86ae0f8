package app_test

import (
	"net/http"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
)

// TestAuthorizationProofWithUnnamedRoles: the token of an ordinary caller may
// hold roles that nobody told the check of. That is neither a failure, nor a
// proof when it opens everything.
func TestAuthorizationProofWithUnnamedRoles(t *testing.T) {
	s := listServer(t, http.HandlerFunc(unprotected))
	var authorization app.Control
	for _, c := range app.Controls() {
		if c.ID == "app/authorization" {
			authorization = c
		}
	}
	for name, tt := range map[string]struct {
		tokens map[string]string
		want   check.Verdict
	}{
		"no token":             {nil, check.Unknown},
		"a user's":             {map[string]string{"": "token-of-alice"}, check.Pass},
		"an admin's":           {map[string]string{"": "token-of-admin"}, check.Unknown},
		"an admin's and users": {map[string]string{"": "token-of-admin", "user": "token-of-alice"}, check.Pass},
		"roles by wrong names": {map[string]string{"admin": "token-of-alice"}, check.Fail},
	} {
		if f := listFind(t, listClientOf(t, s, tt.tokens), authorization); f.Verdict != tt.want {
			t.Errorf("%s: %v %q, want %v", name, f.Verdict, f.Got, tt.want)
		}
	}
}
