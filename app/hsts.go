package app

import (
	"context"
	"strconv"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// hsts tells browsers to use HTTPS only. It says so over HTTPS alone: over
// plain HTTP anybody on the way could have written it, and browsers ignore it
// (RFC 6797, 7.2). Subdomains and preload are said only when the policy asks:
// both reach further than this site and are hard to take back.
var hsts = Control{
	Meta: check.Meta{
		ID:     "app/hsts",
		Most:   6,
		Points: 3,
		Title:  "Browsers use HTTPS only",
		Why:    "A first request over plain HTTP can be read and answered by anybody on the way.",
		Ref:    "RFC 6797; ASVS 5.0 V3.4.1; blueprint A1, E2, T6, checklist 1",
	},
	Owns: []string{"Strict-Transport-Security"},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		if p.App.Headers.HSTS.MaxAge < minHSTS {
			return nil, p.Errorf("app.headers.hsts.max_age", "365d is usual; to be without it, waive app/hsts",
				"less than one hour protects nobody, and 0 makes browsers forget the rule")
		}
		value := []string{hstsValue(p)}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.Secure {
					x.Answer.Set("Strict-Transport-Security", value)
				}
				next(x)
			}
		}, nil
	},
	Value: func(p *policy.Policy, _ *Route) string { return hstsValue(p) + ", over HTTPS only" },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		if c.Base().Scheme != "https" {
			return check.Unseen("browsers heed it over HTTPS only, and the target is %s", c.Base().Scheme)
		}
		return verifyHeaders(ctx, p, c, setHeader, headerClaim{
			name: "Strict-Transport-Security", want: "as the policy has it, or longer: " + hstsValue(p),
			holds: func(values []string) bool {
				h, err := probe.ParseHSTS(values)
				want := p.App.Headers.HSTS
				return err == nil && h.MaxAge >= int64(max(minHSTS, want.MaxAge)/time.Second) && (h.Subdomains || !want.Subdomains)
			},
		})
	},
}

const minHSTS = time.Hour

func hstsValue(p *policy.Policy) string {
	h := p.App.Headers.HSTS
	v := "max-age=" + strconv.FormatInt(int64(h.MaxAge/time.Second), 10)
	if h.Subdomains {
		v += "; includeSubDomains"
	}
	if h.Preload {
		v += "; preload"
	}
	return v
}
