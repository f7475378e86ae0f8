package app

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// nosniff keeps browsers from guessing what an answer is.
var nosniff = Control{
	Meta: check.Meta{
		ID:     "app/nosniff",
		Most:   6,
		Points: 3,
		Title:  "Browsers do not guess content types",
		Why:    "JSON that holds a visitor's markup can be taken for a page and run as one.",
		Ref:    "Fetch standard, 3.6 (X-Content-Type-Options); ASVS 5.0 V3.4.4; blueprint A1, E7, T11",
	},
	Owns:   []string{"X-Content-Type-Options"},
	Static: func(*policy.Policy) map[string]string { return map[string]string{"X-Content-Type-Options": "nosniff"} },
	Value:  func(*policy.Policy, *Route) string { return "nosniff" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		return verifyHeaders(ctx, p, c, setHeader, headerClaim{"X-Content-Type-Options", "nosniff", func(values []string) bool {
			// The first element counts (Fetch, "determine nosniff").
			first, _, _ := strings.Cut(strings.Join(values, ","), ",")
			return strings.EqualFold(strings.TrimSpace(first), "nosniff")
		}})
	},
}
