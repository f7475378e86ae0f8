package identity

import (
	"context"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// refreshRotation: a refresh token is good for one use, and for the same answer
// again when that was lost.
var refreshRotation = Control{
	Meta: check.Meta{
		ID:    "identity/refresh",
		Most:  6,
		Title: "A refresh token is replaced at each use",
		Why:   "One that works for weeks works for whoever copied it, for weeks.",
		Ref:   "RFC 9700, 4.14; ASVS 5.0 V10.4.5; OWASP API2 2023; blueprint A3, T6",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const fix = "serve accounts with Ringwall, or rotate refresh tokens"
		s, finding := probeSignIn(ctx, c)
		if s == nil {
			return finding
		}
		none, err := probePostCookie(ctx, c, "/api/auth/refresh", "")
		if err != nil {
			return check.Unseen("no answer to POST /api/auth/refresh: %v", err)
		}
		if none.Status != http.StatusUnauthorized {
			return check.Failed("POST /api/auth/refresh with an empty cookie was answered "+none.Line(), "401", fix)
		}
		var next [2]*signedIn // the second is the retry of a client that lost the first
		for i := range next {
			res, err := probePostCookie(ctx, c, "/api/auth/refresh", s.value())
			if err != nil {
				return check.Unseen("no answer to POST /api/auth/refresh: %v", err)
			}
			if next[i] = readSignedIn(res); next[i] == nil {
				return check.Failed("POST /api/auth/refresh with the cookie was answered "+res.Line(), "200, also again at once, for a client that lost the answer", fix)
			}
		}
		defer next[0].signOut(ctx, c)
		switch {
		case next[0].value() == "" || next[0].value() == s.value():
			return check.Failed("the refresh token stayed the same", "a new one", fix)
		case next[0].value() != next[1].value():
			return check.Failed("the same refresh token, used twice, gave two that differ", "one successor", fix)
		}
		return check.Passed("a new token for the old, the same one again on a retry, 401 without")
	},
}
