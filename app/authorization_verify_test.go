package app_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
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

// TestAuthorizationProofCostsWhatItSays: as many requests, and a point for each that is
// to be refused, with ten for the token that nobody knows, behind which nothing follows.
func TestAuthorizationProofCostsWhatItSays(t *testing.T) {
	s := listServer(t, http.HandlerFunc(unprotected))
	p := listPolicy(t)
	i := slices.IndexFunc(app.Controls(), func(c app.Control) bool { return c.ID == "app/authorization" })
	for name, tt := range map[string]struct {
		tokens map[string]string
		points int
	}{
		"nobody":          {nil, 0},
		"all":             {map[string]string{"": "token-of-alice", "user": "token-of-alice", "admin": "token-of-admin"}, 16}, // whether the first has a role is not known
		"an unknown user": {map[string]string{"user": "token-of-nobody", "admin": "token-of-admin"}, 12},
	} {
		c := listClientOf(t, s, tt.tokens)
		requests, points := app.Controls()[i].Size(p, c)
		earned := 0
		tally := &probe.Tally{Heard: func(req probe.Request, res *probe.Response) {
			switch {
			case req.Token == "" || res == nil:
			case res.Status == http.StatusForbidden:
				earned++
			case res.Status == http.StatusUnauthorized:
				earned += 10
			}
		}}
		app.Controls()[i].Verify(probe.WithTally(t.Context(), tally), p, c)
		if sent := tally.Sent(); sent > requests || name == "all" && sent != requests {
			t.Errorf("%s: %d requests, and said %d", name, sent, requests)
		}
		if earned > points || points != tt.points {
			t.Errorf("%s: %d points, and said %d, want %d", name, earned, points, tt.points)
		}
		t.Logf("%s: %d requests of %d, %d points of %d", name, tally.Sent(), requests, earned, points)
	}
}
