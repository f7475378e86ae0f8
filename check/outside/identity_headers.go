package outside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// identityHeaders claims to be somebody by header, in every spelling that
// gateways and frameworks fold into one.
var identityHeaders = Check{
	Meta: check.Meta{
		ID:     "outside/identity-headers",
		Most:   14,
		Points: 40,
		Title:  "Nobody becomes a caller by a header that names one",
		Why:    "An API that believes X-User from its proxy believes it from anybody who gets past, or who spells it with an underscore.",
		Ref:    "RFC 9110, 5.1; RFC 3875, 4.1.18; ASVS 5.0 V4.1.3, V8.3.1; OWASP API2 2023; CWE-290; blueprint E4, T6, T8, checklist 3",
		Layer:  "app",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		g, _, err := t.guarded(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		if g == nil {
			return check.Unseen(nothingGuarded)
		}
		names := []string{"X-User", "X-User-Id", "X-Auth-User", "X-Auth-Request-User", "X-Remote-User", "X-Forwarded-User", "X-Authenticated-User", "X-Ringwall-User"}
		var dashes, underscores, dots [][2]string
		for _, n := range names {
			dashes = append(dashes, [2]string{n, "admin"})
			underscores = append(underscores, [2]string{strings.ReplaceAll(n, "-", "_"), "admin"})
			dots = append(dots, [2]string{strings.ReplaceAll(n, "-", "."), "admin"})
		}
		own := [][2]string{{"X-Real-IP", "127.0.0.1"}, {"X-Forwarded-For", "127.0.0.1"}, {"X-Client-IP", "127.0.0.1"}, {"X-Custom-IP-Authorization", "127.0.0.1"}}
		for _, headers := range [][][2]string{dashes, underscores, dots, own} {
			res, err := t.Client.Do(ctx, probe.Request{Target: g.path, Headers: headers})
			if err != nil {
				continue // refused
			}
			if res.Status < 400 {
				return check.Failed("GET "+g.path+" is answered "+res.Line()+" to who sends "+headers[0][0]+" and its like", g.statusLine(),
					"in nginx, for each header that the API believes: proxy_set_header X-User \"\"; and take callers from a verified token alone")
			}
		}
		return check.Passed("%d headers that name a caller, in 3 spellings, and 4 addresses of the inside changed nothing: GET %s is answered %s",
			len(names), g.path, g.statusLine())
	},
}
