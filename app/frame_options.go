package app

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// frameOptions says to browsers without Content-Security-Policy what app/csp
// says with frame-ancestors.
var frameOptions = Control{
	Meta: check.Meta{
		ID:     "app/frame-options",
		Most:   6,
		Points: 3,
		Title:  "Answers cannot be framed",
		Why:    "A page that frames this one can make a visitor click on what it hides (clickjacking).",
		Ref:    "HTML standard, 7.4.5 (X-Frame-Options); RFC 7034; ASVS 5.0 V3.4.6; blueprint A1, E7, T11",
	},
	Owns:   []string{"X-Frame-Options"},
	Static: func(*policy.Policy) map[string]string { return map[string]string{"X-Frame-Options": "DENY"} },
	Value:  func(*policy.Policy, *Route) string { return "DENY" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		return verifyHeaders(ctx, p, c, setHeader, headerClaim{"X-Frame-Options", "DENY", func(values []string) bool {
			// Fields and elements form one set; differing ones make browsers disagree.
			for e := range strings.SplitSeq(strings.Join(values, ","), ",") {
				if !strings.EqualFold(strings.TrimSpace(e), "DENY") {
					return false
				}
			}
			return len(values) > 0
		}})
	},
}
