package app

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
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

// verifyHeaders holds the claims against an ordinary answer, if the API gives
// one, and against an error, for servers often forget their headers on errors
// (blueprint E7).
func verifyHeaders(ctx context.Context, p *policy.Policy, c *probe.Client, fix string, claims ...headerClaim) check.Finding {
	const ambiguous = "/a%00"
	var statuses []string
	ordinary, errored := false, false
	for _, t := range append(admittedTargets(p, c), target{path: ambiguous}) {
		target := t.path
		if ordinary && target != ambiguous {
			continue
		}
		res, err := c.Shared(ctx, target, t.token)
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		ordinary, errored = ordinary || res.Status < 400, errored || res.Status >= 400
		statuses = append(statuses, strconv.Itoa(res.Status))
		for _, claim := range claims {
			values := res.Header.Values(claim.name)
			if claim.holds(values) {
				continue
			}
			got := "no " + claim.name
			if len(values) > 0 {
				got = claim.name + ": " + strings.Join(values, " | ")
			}
			return check.Shown(fmt.Sprintf("%.200s (GET %s, answered %d)", got, target, res.Status), claim.want, fix)
		}
	}
	if !errored {
		return check.Unseen("right where it was seen, but GET %s is answered without an error, too", ambiguous)
	}
	return check.Passed("right on the answers %s", strings.Join(statuses, ", "))
}

// only claims that the header has one value, in any letter case.
func only(name, value string) headerClaim {
	return headerClaim{name, value, func(values []string) bool {
		return len(values) == 1 && strings.EqualFold(strings.TrimSpace(values[0]), value)
	}}
}

// probeTargets are a few paths that may be asked with GET without harm: the
// root, those that the policy's schema describes, and those of its routes that
// have no {name}.
func probeTargets(p *policy.Policy) []string {
	targets, below := []string{"/"}, []string{}
	if p.App.Schema != "" {
		documented, _ := plainGets(p.File(p.App.Schema)) // app/schema tells what is wrong with it
		targets = append(targets, documented[:min(len(documented), 6)]...)
	}
	for _, r := range p.App.Routes {
		if len(r.Methods) > 0 && !slices.Contains(r.Methods, http.MethodGet) || strings.Contains(r.Path, "{") {
			continue
		}
		if bare, subtree := strings.CutSuffix(r.Path, "/"); subtree && bare != "" {
			below = append(below, r.Path)
			targets = append(targets, bare)
		} else {
			targets = append(targets, r.Path)
		}
	}
	var out []string
	for _, t := range append(targets, below...) {
		if !slices.Contains(out, t) && len(out) < 10 {
			out = append(out, t)
		}
	}
	return out
}

// admittedTargets are those of probeTargets that a token of the client's opens,
// with it, and at most one other: each refusal counts towards a ban.
func admittedTargets(p *policy.Policy, c *probe.Client) []target {
	rs, err := compileRoutes(p)
	if err != nil {
		return []target{{path: "/", token: c.Token("")}}
	}
	var open, shut []target
	for _, path := range probeTargets(p) {
		route, _, _ := rs.match(http.MethodGet, path)
		token, admitted := tokenFor(p, c, route)
		if admitted {
			open = append(open, target{path: path, token: token})
		} else {
			shut = append(shut, target{path: path, token: token})
		}
	}
	return append(open, shut[:min(len(shut), 1)]...)
}

// isProblem reports whether the ring itself, or something like it, answered in
// the API's place.
func isProblem(r *probe.Response) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/problem+json")
}
