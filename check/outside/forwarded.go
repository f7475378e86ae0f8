package outside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// forwarded sends headers that only a proxy may write, and looks for them in what
// comes back.
var forwarded = Check{
	Meta: check.Meta{
		ID:     "outside/forwarded",
		Most:   8,
		Points: 20,
		Title:  "Headers of proxies have no say when clients send them",
		Why:    "A host that a client chose ends in links of mails and in caches; a scheme that it chose switches HTTPS off.",
		Ref:    "RFC 7239, 8; ASVS 5.0 V4.1.3; OWASP API8 2023; CWE-348; blueprint E4, T8, checklist 3",
		Layer:  "edge",
	},
	Manner: Active,
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "the same answer as without them"
		const fix = "in nginx, in each location: proxy_set_header Host $host; X-Forwarded-Host \"\"; X-Forwarded-Proto $scheme; X-Original-URL \"\""
		const evil = "ringwall-check-forged.invalid"
		own, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		missing, err := t.Client.Do(ctx, probe.Request{Target: "/" + noPage()})
		if err != nil {
			return unanswered("GET of a page that is not there", err)
		}
		for _, h := range [][2]string{
			{"X-Forwarded-Host", evil}, {"Forwarded", "for=192.0.2.1;host=" + evil + ";proto=http"}, {"X-Host", evil}, {"X-Forwarded-Server", evil},
		} {
			res, err := t.Client.Do(ctx, probe.Request{Target: t.base(), Headers: [][2]string{h}})
			if err != nil {
				continue // refused
			}
			if strings.Contains(res.Header.Get("Location"), evil) || strings.Contains(string(res.Body), evil) || strings.Contains(strings.Join(res.Header.Values("Link"), " "), evil) {
				return check.Shown("GET "+t.base()+" with "+h[0]+": "+evil+" answers with that host in it", want, fix)
			}
		}
		// A path in a header in the place of the one that the rules saw.
		for _, name := range []string{"X-Original-URL", "X-Rewrite-URL"} {
			res, err := t.Client.Do(ctx, probe.Request{Target: "/" + noPage(), Headers: [][2]string{{name, t.base()}}})
			if err == nil && res.Status < 400 && missing.Status >= 400 {
				return check.Failed("GET of a page that is not there, with "+name+": "+t.base()+", is answered "+res.Line(), missing.Line(), fix)
			}
		}
		return check.Passed("6 requests with headers of proxies changed nothing; GET %s is answered %s", t.base(), own.Line())
	},
}
