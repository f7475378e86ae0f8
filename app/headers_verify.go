package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// A headerClaim says what must be true of one response header. holds judges the
// fields as browsers parse them; it gets none when the header is absent.
type headerClaim struct {
	name, want string
	holds      func(values []string) bool
}

const setHeader = "put the app ring in front of the API, or set the header on every answer, errors too"

// verifyHeaders holds the claims against an ordinary answer and against an
// error, for servers often forget their headers on errors (blueprint E7).
func verifyHeaders(ctx context.Context, c *probe.Client, fix string, claims ...headerClaim) check.Finding {
	var statuses []string
	errored := false
	for _, target := range []string{"/", "/a%00"} {
		res, err := c.Do(ctx, probe.Request{Target: target, Token: c.Token("")})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		errored = errored || res.Status >= 400
		statuses = append(statuses, fmt.Sprint(res.Status))
		for _, claim := range claims {
			values := res.Header.Values(claim.name)
			if claim.holds(values) {
				continue
			}
			got := "no " + claim.name
			if len(values) > 0 {
				got = claim.name + ": " + strings.Join(values, " | ")
			}
			return check.Failed(fmt.Sprintf("%.200s (GET %s, answered %d)", got, target, res.Status), claim.want, fix)
		}
	}
	if !errored {
		return check.Unseen("right where it was seen, but GET / and GET /a%%00 are both answered without an error")
	}
	return check.Passed("right on the answers %s", strings.Join(statuses, " and "))
}

// only claims that the header has one value, in any letter case.
func only(name, value string) headerClaim {
	return headerClaim{name, value, func(values []string) bool {
		return len(values) == 1 && strings.EqualFold(strings.TrimSpace(values[0]), value)
	}}
}

// probeTargets are a few paths that may be asked with GET without harm: the
// root, and the policy's routes that have no {name}.
func probeTargets(p *policy.Policy) []string {
	targets := []string{"/"}
	for _, r := range p.App.Routes {
		get := len(r.Methods) == 0 || slices.Contains(r.Methods, http.MethodGet)
		if get && !strings.Contains(r.Path, "{") && !slices.Contains(targets, r.Path) && len(targets) < 8 {
			targets = append(targets, r.Path)
		}
	}
	return targets
}

// isProblem reports whether the ring itself, or something like it, answered in
// the API's place.
func isProblem(r *probe.Response) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json")
}
