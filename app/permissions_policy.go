package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/dunglas/httpsfv"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// permissionsPolicy takes device features away from answers that are shown as
// pages. A value that browsers would ignore is refused when the policy loads.
var permissionsPolicy = Control{
	Meta: check.Meta{
		ID:     "app/permissions-policy",
		Most:   6,
		Points: 3,
		Title:  "Answers get no access to device features",
		Why:    "A script that got into a page asks for the camera in the site's name.",
		Ref:    "Permissions Policy, 5 and 9; RFC 9651, 3.2; OWASP API8 2023; blueprint E7, T11",
	},
	Owns: []string{"Permissions-Policy"},
	Static: func(p *policy.Policy) map[string]string {
		return map[string]string{"Permissions-Policy": p.App.Headers.Permissions}
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		if _, err := parsePermissions([]string{p.App.Headers.Permissions}); err != nil {
			return nil, p.Errorf("app.headers.permissions", "write it as geolocation=(), camera=(self)", "%v", err)
		}
		return func(next Handler) Handler { return next }, nil
	},
	Value: func(p *policy.Policy, _ *Route) string { return p.App.Headers.Permissions },
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		want, err := parsePermissions([]string{p.App.Headers.Permissions})
		if err != nil {
			return check.Unseen("app.headers.permissions: %v", err)
		}
		return verifyHeaders(ctx, p, c, setHeader, headerClaim{"Permissions-Policy", p.App.Headers.Permissions + ", or stricter", func(values []string) bool {
			got, err := parsePermissions(values)
			if err != nil {
				return false
			}
			for feature, allowed := range want {
				has, said := got[feature]
				if !said || !subset(has, allowed) {
					return false
				}
			}
			return true
		}})
	},
}

// parsePermissions reads the header's fields into allow-lists by feature. An
// empty policy is an error, for it takes nothing away.
func parsePermissions(values []string) (map[string]sourceSet, error) {
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return nil, fmt.Errorf("not a structured dictionary (RFC 9651): %w", err)
	}
	out := map[string]sourceSet{}
	for _, feature := range dict.Names() {
		member, _ := dict.Get(feature)
		items := []httpsfv.Item{}
		switch m := member.(type) {
		case httpsfv.Item:
			items = append(items, m)
		case httpsfv.InnerList:
			items = m.Items
		}
		allowed := sourceSet{}
		for _, item := range items {
			switch v := item.Value.(type) {
			case httpsfv.Token:
				allowed[string(v)] = true
			case string:
				allowed[v] = true
			default:
				return nil, fmt.Errorf("%s has a member that is neither a token nor a string", feature)
			}
		}
		out[feature] = allowed
	}
	if len(out) == 0 {
		return nil, errors.New("it names no feature")
	}
	return out, nil
}

// A sourceSet is what a policy of browsers allows; empty allows nothing.
type sourceSet map[string]bool

// subset reports whether a allows nothing that b does not.
func subset(a, b sourceSet) bool {
	for s := range a {
		if !b[s] && !b["*"] {
			return false
		}
	}
	return true
}
