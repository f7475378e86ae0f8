package outside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

var referrer = Check{
	Meta: check.Meta{
		ID:     "outside/referrer-policy",
		Most:   3,
		Points: 2,
		Title:  "Links away do not tell other sites which address was visited",
		Why:    "Paths and queries hold names, ids and tokens, and the next site's log keeps them.",
		Ref:    "Referrer Policy, 3 and 8.1; ASVS 5.0 V3.4.5; OWASP API8 2023; blueprint A1, E7, T6",
		Layer:  "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		return t.judge(ctx, "Referrer-Policy: strict-origin-when-cross-origin or stricter, errors too",
			"in nginx: add_header Referrer-Policy strict-origin-when-cross-origin always; in the server block, and again in each location that has an add_header",
			func(res *probe.Response) string {
				values := res.Header.Values("Referrer-Policy")
				in := "" // the last word that is known counts (Referrer Policy, 8.1)
				for v := range strings.SplitSeq(strings.Join(values, ","), ",") {
					switch v = strings.ToLower(strings.TrimSpace(v)); v {
					case "no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin", "origin", "origin-when-cross-origin", "unsafe-url", "no-referrer-when-downgrade":
						in = v
					}
				}
				switch in {
				case "no-referrer", "same-origin", "strict-origin", "strict-origin-when-cross-origin":
					return ""
				}
				return headerValue("Referrer-Policy", values)
			})
	},
}
