package identity

import (
	"context"
	"net/http"
	"strconv"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// administration: the routes that lock accounts and give roles.
var administration = Control{
	Meta: check.Meta{
		ID:     "identity/administration",
		Most:   6,
		Points: 2,
		Title:  "Only administrators see and change other accounts",
		Why:    "One forgotten check on an admin route, and every user is an administrator.",
		Ref:    "OWASP API5 2023; ASVS 5.0 V8.3; blueprint A4, T6",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const path, fix = "/api/admin/users", "serve accounts with Ringwall, or ask for a role on every admin route"
		s, finding := probeSignIn(ctx, c)
		if s == nil {
			return finding
		}
		defer s.signOut(ctx, c)
		me, err := c.Do(ctx, probe.Request{Target: "/api/me", Token: s.AccessToken})
		if err != nil {
			return check.Unseen("no answer to GET /api/me: %v", err)
		}
		if me.Status != http.StatusOK {
			return check.Failed("GET /api/me of a signed-in caller was answered "+me.Line(), "200", fix)
		}
		for _, try := range []struct {
			who, token string
			want       int
		}{{"nobody", "", http.StatusUnauthorized}, {"an ordinary caller", s.AccessToken, http.StatusForbidden}} {
			res, err := c.Do(ctx, probe.Request{Target: path, Token: try.token})
			if err != nil {
				return check.Unseen("no answer to GET %s: %v", path, err)
			}
			if res.Status != try.want {
				return check.Failed("GET "+path+" by "+try.who+" was answered "+res.Line(), strconv.Itoa(try.want), fix)
			}
		}
		return check.Passed("GET %s: 401 for nobody, 403 for an ordinary caller, who gets 200 from /api/me", path)
	},
}
