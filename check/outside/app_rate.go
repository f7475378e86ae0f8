package outside

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ringwall/ringwall/check"
)

// authRequests is what the blueprint allows one client on the routes of accounts,
// in 15 minutes.
const authRequests = 20

// appRate looks for the limit over minutes, which the application keeps: it tells
// of it in its answers, or it refuses the sign-in that comes once too often. The
// limit over seconds is the edge's: outside/burst.
var appRate = Check{
	Meta: check.Meta{
		ID:     "outside/app-rate",
		Most:   47,
		Points: 104,
		Title:  "The API limits what one client may ask within minutes, and sign-ins most",
		Why:    "Without it passwords are guessed and data is copied slowly enough for every limit per second.",
		Ref:    "RFC 6585, 4; ASVS 5.0 V2.4.1, V6.3.1; OWASP API4 2023; CWE-307; blueprint A6, T1, T2, T3, checklist 6",
		Layer:  "app",
		Spends: true,
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "429 with Retry-After at a sign-in that comes once too often (20 in 15 minutes), and RateLimit on other answers"
		const fix = "in Express: app.use(rateLimit({windowMs: 900000, limit: 600, standardHeaders: 'draft-8', legacyHeaders: false})), and limit: 20 on /api/auth"
		e, _, err := t.signIn(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		path, first, err := t.limitedPath(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		said := ""
		if path != "" {
			said, _ = limits(first)
		}
		if e == nil {
			if said != "" {
				return check.Passed("GET %s tells of %s; no sign-in was found to try", path, said)
			}
			if redirects(first) || first.Status == http.StatusForbidden {
				return check.Unseen("GET %s is answered %s, no answer tells of a limit, and no sign-in was found to try: name a path in the URL that is served", t.base(), first.Line())
			}
			return check.Failed("no answer tells of a limit, and no sign-in was found to try", want, fix)
		}
		client, fresh := t.Client.Fresh()
		if !fresh {
			client = t.Client
		}
		for n := 1; n <= authRequests+5; n++ {
			res, err := client.Do(ctx, loginRequest(e.path))
			if err != nil {
				return check.Unseen("%d sign-ins of nobody's to %s, then %v", n-1, e.path, err)
			}
			if limited(res) {
				if n == 1 {
					return check.Unseen("POST %s is answered %s already", e.path, res.Line())
				}
				wait := res.Header.Get("Retry-After")
				if by, _ := limits(res); by == "" && wait == "" {
					return check.Unseen("%d sign-ins were let through, then %s, which does not say whose limit it is", n-1, res.Line())
				}
				return check.Passed("%d sign-ins of nobody's to %s were let through, then %s%s", n-1, e.path, res.Line(), orNothing(", Retry-After: ", wait))
			}
		}
		got := fmt.Sprintf("%d sign-ins of nobody's to %s, and none was refused", authRequests+5, e.path)
		if said != "" {
			got += ", though GET " + path + " tells of " + said
		}
		return check.Failed(got, want, fix)
	},
}

func orNothing(label, s string) string {
	if s == "" {
		return ""
	}
	return label + s
}
