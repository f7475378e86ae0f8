package app

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// legacyHeaders sets what helmet sets for browsers and plug-ins of the past.
// X-XSS-Protection is 0: the filters that it steered could be made to break
// pages and to leak from them.
var legacyHeaders = Control{
	Meta: check.Meta{
		ID:     "app/legacy-headers",
		Most:   6,
		Points: 3,
		Title:  "Switches of old browsers are in their safe position",
		Why:    "Old browsers prefetch names, open downloads in the site's context and run an XSS filter that can be abused.",
		Ref:    "helmet 8; OWASP Secure Headers Project; OWASP API8 2023; blueprint A1, T11",
	},
	Owns:   []string{"X-Dns-Prefetch-Control", "X-Download-Options", "X-Permitted-Cross-Domain-Policies", "X-Xss-Protection"},
	Static: func(*policy.Policy) map[string]string { return legacyValues },
	Value:  func(*policy.Policy, *Route) string { return "X-XSS-Protection 0 and three others" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		return verifyHeaders(ctx, p, c, setHeader,
			only("X-DNS-Prefetch-Control", "off"),
			only("X-Download-Options", "noopen"),
			only("X-Permitted-Cross-Domain-Policies", "none"),
			headerClaim{"X-XSS-Protection", "0", func(values []string) bool {
				v, _, _ := strings.Cut(strings.Join(values, ","), ";")
				return strings.TrimSpace(v) == "0"
			}})
	},
}

var legacyValues = map[string]string{
	"X-Dns-Prefetch-Control":            "off",
	"X-Download-Options":                "noopen",
	"X-Permitted-Cross-Domain-Policies": "none",
	"X-Xss-Protection":                  "0",
}
