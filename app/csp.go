package app

import (
	"context"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// csp forbids an answer that is shown as a page to load, run, post or be framed.
var csp = Control{
	Meta: check.Meta{
		ID:     "app/csp",
		Most:   6,
		Points: 3,
		Title:  "Nothing in an answer may load or run content",
		Why:    "An answer that a browser takes for a page runs whatever markup is in its data (XSS).",
		Ref:    "Content Security Policy Level 3; helmet 8 with API values; ASVS 5.0 V3.4.3, V3.4.6; blueprint A1, T11",
	},
	Owns: []string{"Content-Security-Policy"},
	Static: func(p *policy.Policy) map[string]string {
		return map[string]string{"Content-Security-Policy": p.App.Headers.CSP}
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		if len(parseCSP(p.App.Headers.CSP)) == 0 || strings.ContainsAny(p.App.Headers.CSP, ",\r\n") {
			return nil, p.Errorf("app.headers.csp", "write it as default-src 'none'; frame-ancestors 'none'",
				"%q is not one Content-Security-Policy", p.App.Headers.CSP)
		}
		return func(next Handler) Handler { return next }, nil
	},
	Value: func(p *policy.Policy, _ *Route) string { return p.App.Headers.CSP },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		want := parseCSP(p.App.Headers.CSP)
		return verifyHeaders(ctx, p, c, setHeader, headerClaim{"Content-Security-Policy", p.App.Headers.CSP + ", or stricter", func(values []string) bool {
			return cspHolds(values, want)
		}})
	},
}

// parseCSP reads one serialised policy: the first directive of a name counts
// (CSP3, 2.2.1). 'none' is the empty set.
func parseCSP(s string) map[string]sourceSet {
	out := map[string]sourceSet{}
	for d := range strings.SplitSeq(s, ";") {
		f := strings.Fields(d)
		if len(f) == 0 {
			continue
		}
		name := strings.ToLower(f[0])
		if _, twice := out[name]; twice {
			continue
		}
		out[name] = sourceSet{}
		for _, source := range f[1:] {
			if !strings.EqualFold(source, "'none'") {
				out[name][strings.ToLower(source)] = true
			}
		}
	}
	return out
}

// cspHolds reports whether the header allows nothing that want forbids. Several
// policies, in fields or between commas, are all enforced, so that it is enough
// if one holds for each directive.
func cspHolds(values []string, want map[string]sourceSet) bool {
	var policies []map[string]sourceSet
	for one := range strings.SplitSeq(strings.Join(values, ","), ",") {
		policies = append(policies, parseCSP(one))
	}
	for name, allowed := range want {
		if !slices.ContainsFunc(policies, func(has map[string]sourceSet) bool {
			got, said := has[name]
			if fetch := strings.HasSuffix(name, "-src"); fetch && !said {
				got, said = has["default-src"] // fetch directives fall back to it (CSP3, 6.8.3)
			}
			if !said || !subset(got, allowed) {
				return false
			}
			for other, sources := range has { // and those of it that want leaves to default-src
				_, named := want[other]
				if name == "default-src" && !named && strings.HasSuffix(other, "-src") && !subset(sources, allowed) {
					return false
				}
			}
			return true
		}) {
			return false
		}
	}
	return true
}
