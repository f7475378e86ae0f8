package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// authorization lets a request through when the policy's route allows its
// caller. Nobody signed in is answered 401, a caller without the role or the
// permission 403. A request that no route matches takes a signed-in caller.
var authorization = Control{
	Meta: check.Meta{
		ID:    "app/authorization",
		Title: "Each route is open to those the policy names, and to nobody else",
		Why:   "A route that forgets to ask who calls gives everybody's data to anybody.",
		Ref:   "RFC 9110, 15.5.2 and 15.5.4; OWASP API1 and API5 2023; ASVS 5.0 V8.2.1, V8.3.1; blueprint A4, T6",
	},
	Wrap: func(*policy.Policy, Deps) (Middleware, error) {
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.Route.Admits(x.Caller) {
					next(x)
					return
				}
				x.notAdmitted(x.Route.Allow)
			}
		}, nil
	},
	Value: func(_ *policy.Policy, r *Route) string {
		return "allow " + strings.Join(r.Allow, ", ")
	},
	Size: func(p *policy.Policy, c *probe.Client) (requests, points int) {
		const forged = 10 // the first answer that is not the policy's is the last, such as to a token that is not known
		paths := slices.Concat(probePaths(p), builtinPaths(p))
		callers, _ := probeCallers(p, c)
		rs, err := compileRoutes(p)
		if err != nil { // nothing is sent
			return 0, 0
		}
		for _, path := range paths {
			route, _, _ := rs.match(http.MethodGet, path)
			for _, who := range callers { // nobody's requests are answered 401, which weighs nothing
				if who != nil && !route.Admits(who) {
					points++
				}
			}
		}
		if len(callers) > 1 {
			points += forged
		}
		return len(paths) * len(callers), points
	},
	Verify: verifyAuthorization,
}

// CallerFrom returns who signed in to the request that ctx belongs to, or nil:
// nobody did, or the request did not come through the ring.
func CallerFrom(ctx context.Context) *Caller {
	if x := FromContext(ctx); x != nil {
		return x.Caller
	}
	return nil
}

// Require lets a request through to h when its caller has one of the roles or
// permissions, named as in a route's allow: signed-in, a role, or a permission
// such as notes:write. It is for rules that depend on more than the path; what
// a role grants is the policy's to say. Nobody signed in is answered 401,
// anybody else 403.
//
// An empty list admits nobody, and so does a request that did not come through
// a ring, which alone knows what roles grant.
func Require(h http.Handler, allow ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := FromContext(r.Context())
		switch {
		case x == nil:
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
		case x.ring.admits(x.Caller, allow):
			h.ServeHTTP(w, r)
		default:
			x.notAdmitted(allow)
		}
	})
}

// builtinPaths are built-in paths that answer a GET of whom they admit.
func builtinPaths(p *policy.Policy) []string {
	if !p.KeepsAccounts() {
		return nil
	}
	return []string{"/api/me", "/api/admin/users"}
}

// admits is Route.Admits for a list that is not compiled.
func (r *Ring) admits(c *Caller, allow []string) bool {
	if c == nil {
		return false
	}
	for _, want := range allow {
		if want == "signed-in" {
			return true
		}
		for _, role := range c.Roles {
			permissions, known := r.roles[role]
			if known && (role == want || slices.ContainsFunc(permissions, func(has string) bool { return grants(has, want) })) {
				return true
			}
		}
	}
	return false
}

// notAdmitted answers a request whose caller is none of allow.
func (x *Exchange) notAdmitted(allow []string) {
	if x.Caller == nil {
		x.Answer.Set("Www-Authenticate", x.ring.challenges.none)
		x.Deny(Denied{Control: "app/authorization", Status: http.StatusUnauthorized,
			Detail: "Sign in first: this takes an access token."})
		return
	}
	x.Deny(Denied{Control: "app/authorization", Kind: audit.AccessDenied, Status: http.StatusForbidden,
		Detail: "Your account may not do this.",
		Err:    errors.New("this takes one of: " + strings.Join(allow, ", "))})
}

// someCaller is one with a token of which nobody said what role it has.
const someCaller = "a signed-in caller"

// probeCallers are nobody, and those that there is a token for, by what they are called.
func probeCallers(p *policy.Policy, c *probe.Client) (callers map[string]*Caller, tokens map[string]string) {
	callers, tokens = map[string]*Caller{"nobody": nil}, map[string]string{}
	if t := c.Token(""); t != "" {
		callers[someCaller], tokens[someCaller] = &Caller{}, t
	}
	for role := range p.Identity.Roles {
		if t := c.Token(role); t != "" {
			callers["a caller with the role "+role], tokens["a caller with the role "+role] = &Caller{Roles: []string{role}}, t
		}
	}
	return callers, tokens
}

// verifyAuthorization asks for a path of each route as each caller there is a
// token for, and as nobody, and compares who is let in with the policy. Only
// GET is sent: a check changes nothing.
func verifyAuthorization(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	rs, err := compileRoutes(p)
	if err != nil {
		return check.Unseen("the policy's routes do not compile: %v", err)
	}
	const fix = "put the app ring in front of the API; `ringwall policy explain GET PATH` tells who may call what"
	callers, tokens := probeCallers(p, c)
	var stopped, passed, byRole int
	var needRole, unclear string
	for _, path := range slices.Concat(probePaths(p), builtinPaths(p)) {
		route, _, _ := rs.match(http.MethodGet, path)
		if !route.Public && !route.signedIn {
			needRole = path
		}
		for _, who := range slices.Sorted(maps.Keys(callers)) {
			res, err := c.Do(ctx, probe.Request{Target: path, Token: tokens[who]})
			if err != nil {
				return check.Unseen("no answer to GET %s: %v", path, err)
			}
			what := fmt.Sprintf("GET %s by %s was answered %s", path, who, res.Line())
			if route.Admits(callers[who]) {
				if res.Status == http.StatusUnauthorized || res.Status == http.StatusForbidden {
					return check.Failed(what, "let in, for the policy allows "+strings.Join(route.Allow, ", "), fix)
				}
				passed++
				continue
			}
			want := http.StatusForbidden
			if callers[who] == nil {
				want = http.StatusUnauthorized
			}
			switch {
			case res.Status == http.StatusTooManyRequests || res.Status == http.StatusServiceUnavailable:
				return check.Unseen("%s", what)
			case who == someCaller && res.Status != want:
				unclear = what // the token may hold a role that its giver did not name
				continue
			case res.Status != want:
				return check.Failed(what, fmt.Sprintf("%d, for the policy allows only %s", want, strings.Join(route.Allow, ", ")), fix)
			case want == http.StatusUnauthorized && res.Header.Get("Www-Authenticate") == "":
				return check.Failed(what+" without WWW-Authenticate", "401 with WWW-Authenticate", fix)
			}
			stopped++
			if callers[who] != nil {
				byRole++
			}
		}
	}
	switch {
	case byRole > 0 || needRole == "":
	case unclear != "":
		return check.Unseen("%s, and its token may hold the role; give `ringwall check` tokens as --token ROLE=TOKEN", unclear)
	default:
		return check.Unseen("nobody signed in without the role asked for %s; give `ringwall check` a token", needRole)
	}
	if stopped == 0 || passed == 0 {
		return check.Unseen("%d requests were stopped and %d let in: both are needed; give `ringwall check` tokens of several roles", stopped, passed)
	}
	return check.Passed("%d requests of callers who may not were stopped, %d of those who may let in", stopped, passed)
}
