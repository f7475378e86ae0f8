package app

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// referrerPolicy sends the blueprint's value, not helmet's no-referrer. Under
// no-referrer a browser posts a page's own forms with Origin: null (Fetch,
// "append a request Origin header"), which no origin check can tell from a
// stranger's; strict-origin-when-cross-origin hides paths and queries from
// other sites just as well and leaves Origin readable.
var referrerPolicy = Control{
	Meta: check.Meta{
		ID:     "app/referrer-policy",
		Most:   6,
		Points: 3,
		Title:  "Paths do not leak to other sites as referrers",
		Why:    "A link from a page tells its target the page's whole address, with ids and tokens that are in it.",
		Ref:    "Referrer Policy, 3 and 8.1; ASVS 5.0 V3.4.5; blueprint A1, E7, T6",
	},
	Owns: []string{"Referrer-Policy"},
	Static: func(*policy.Policy) map[string]string {
		return map[string]string{"Referrer-Policy": "strict-origin-when-cross-origin"}
	},
	Value: func(*policy.Policy, *Route) string { return "strict-origin-when-cross-origin" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		return verifyHeaders(ctx, p, c, setHeader, headerClaim{
			"Referrer-Policy", "strict-origin-when-cross-origin, strict-origin, same-origin or no-referrer",
			func(values []string) bool { return referrerPolicies[lastReferrerPolicy(values)] },
		})
	},
}

// referrerPolicies are the policies there are; true for those that send other
// sites no path and nothing over plain HTTP.
var referrerPolicies = map[string]bool{
	"no-referrer": true, "same-origin": true, "strict-origin": true, "strict-origin-when-cross-origin": true,
	"no-referrer-when-downgrade": false, "origin": false, "origin-when-cross-origin": false, "unsafe-url": false,
}

// lastReferrerPolicy is the policy in force: the last one that is known
// (Referrer Policy, 8.1). "" when there is none.
func lastReferrerPolicy(values []string) (last string) {
	for e := range strings.SplitSeq(strings.Join(values, ","), ",") {
		e = strings.ToLower(strings.TrimSpace(e))
		if _, known := referrerPolicies[e]; known {
			last = e
		}
	}
	return last
}
