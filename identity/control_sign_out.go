package identity

import (
	"context"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// signOut: what a user ends is over, also for who copied the tokens before.
var signOut = Control{
	Meta: check.Meta{
		ID:    "identity/sign-out",
		Most:  5,
		Title: "Signing out ends the session and its tokens",
		Why:   "A token that outlives the sign-out is good for whoever has it, and the user believes to be safe.",
		Ref:   "ASVS 5.0 V7.4.1; OWASP API2 2023; blueprint A3, T6",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const fix = "serve accounts with Ringwall, or end sessions on the server when their user signs out"
		s, finding := probeSignIn(ctx, c)
		if s == nil {
			return finding
		}
		out, err := s.signOut(ctx, c)
		if err != nil {
			return check.Unseen("no answer to POST /api/auth/logout: %v", err)
		}
		if out.Status/100 != 2 {
			return check.Failed("POST /api/auth/logout was answered "+out.Line(), "204", fix)
		}
		res, err := probePostCookie(ctx, c, "/api/auth/refresh", s.value())
		if err != nil {
			return check.Unseen("no answer to POST /api/auth/refresh: %v", err)
		}
		if res.Status != http.StatusUnauthorized {
			return check.Failed("the refresh token was answered "+res.Line()+" after signing out", "401", fix)
		}
		if finding, over := probeOver(ctx, c, s, fix); !over {
			return finding
		}
		return check.Passed("after signing out the refresh token and the access token are refused")
	},
}
