package outside

import (
	"context"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// methods sends those that no API serves.
var methods = Check{
	Meta: check.Meta{
		ID:     "outside/methods",
		Most:   6,
		Points: 12,
		Title:  "Methods that no API needs are refused",
		Why:    "TRACE echoes credentials to scripts; a method that is unknown to the proxy's rules and known to the API walks around them.",
		Ref:    "RFC 9110, 9; ASVS 5.0 V4.1.4, V13.4.4; OWASP API8 2023; blueprint A4, T7",
		Layer:  "edge",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "400, 403, 405 or 501, and no echo"
		const fix = "in nginx: if ($request_method !~ ^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS)$) { return 405; }"
		const canary = "ringwall-echo-canary"
		own, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		for _, method := range []string{"TRACE", "TRACK", "CONNECT", "BREW", "DEBUG"} {
			target := t.base()
			if method == "CONNECT" {
				target = "ringwall-check.invalid:443"
			}
			res, err := t.Client.Do(ctx, probe.Request{Method: method, Target: target, Headers: [][2]string{{"X-Canary", canary}}})
			asked := method + " " + target
			switch {
			case err != nil: // closed: refused
				continue
			case strings.Contains(string(res.Body), canary):
				return check.Shown(asked+" echoes the request's headers", want, fix)
			case redirects(own) && res.Status == own.Status:
				return check.Unseen("%s is answered %s, as GET %s is: name a path in the URL that is served", asked, res.Line(), t.base())
			case res.Status < 300:
				return check.Failed(asked+" is served, "+res.Line(), want, fix)
			case res.Status >= 500 && res.Status != http.StatusNotImplemented:
				return check.Failed(asked+" is answered "+res.Line(), want, fix)
			}
		}
		return check.Passed("TRACE, TRACK, CONNECT, BREW and DEBUG were refused, GET %s was answered %d", t.base(), own.Status)
	},
}
