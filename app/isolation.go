package app

import (
	"context"

	"github.com/dunglas/httpsfv"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// isolation keeps answers out of other origins' processes and windows.
//
// Cross-Origin-Resource-Policy does not get in the way of the origins that
// app/cors lists: browsers check it only for requests without CORS, whose
// answer is opaque (Fetch, "HTTP fetch": response tainting "opaque"; web
// platform test cross-origin-resource-policy/fetch.https.any.js).
var isolation = Control{
	Meta: check.Meta{
		ID:     "app/isolation",
		Most:   6,
		Points: 3,
		Title:  "Other origins cannot embed or script answers",
		Why:    "An answer that another page loads as an image or opens as a window can be read through side channels.",
		Ref:    "HTML standard, 7.1.3 and 7.1.4; Fetch standard, 3.7; helmet 8; ASVS 5.0 V3.4.8; blueprint A1, T5, T11",
	},
	Owns:   []string{"Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Origin-Agent-Cluster"},
	Static: func(*policy.Policy) map[string]string { return isolationValues },
	Value:  func(*policy.Policy, *Route) string { return "opener and resources: same-origin; own agent cluster" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		return verifyHeaders(ctx, p, c, setHeader,
			only("Cross-Origin-Resource-Policy", "same-origin"), // not a structured field
			headerClaim{"Cross-Origin-Opener-Policy", "same-origin", func(values []string) bool {
				item, err := httpsfv.UnmarshalItem(values)
				return err == nil && item.Value == httpsfv.Token("same-origin")
			}},
			headerClaim{"Origin-Agent-Cluster", "?1", func(values []string) bool {
				item, err := httpsfv.UnmarshalItem(values)
				return err == nil && item.Value == true
			}})
	},
}

var isolationValues = map[string]string{
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Origin-Agent-Cluster":         "?1",
}
