package identity

import (
	"context"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// refreshTheft: a token that was never given, for a session that is there, means
// that somebody else has been at it.
var refreshTheft = Control{
	Meta: check.Meta{
		ID:     "identity/theft",
		Most:   5,
		Points: 20,
		Title:  "A stolen refresh token ends the session",
		Why:    "The thief and the owner both refresh; only ending what they share stops the thief.",
		Ref:    "RFC 9700, 4.14.2; ASVS 5.0 V10.4.5; OWASP API2 2023; blueprint A3, T6",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const fix = "serve accounts with Ringwall, or end a session whose refresh token is used again"
		s, finding := probeSignIn(ctx, c)
		if s == nil {
			return finding
		}
		at := strings.LastIndexByte(s.value(), '.')
		if at < 0 {
			return check.Unseen("the refresh token is not of the form that Ringwall gives, so that none of its session can be made up")
		}
		forged := s.value()[:at+1] + newRefreshToken("").String()[len(refreshPrefix)+1:]
		for _, use := range []struct{ what, token string }{{"a made-up token of the session", forged}, {"the session's own token after it", s.value()}} {
			res, err := probePostCookie(ctx, c, "/api/auth/refresh", use.token)
			if err != nil {
				return check.Unseen("no answer to POST /api/auth/refresh: %v", err)
			}
			if res.Status != http.StatusUnauthorized {
				return check.Failed(use.what+" was answered "+res.Line(), "401: the session is over", fix)
			}
		}
		if finding, over := probeOver(ctx, c, s, fix); !over {
			return finding
		}
		return check.Passed("a made-up token ended the session: its own refresh and access tokens are refused")
	},
}
