package app

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// requestSchema holds every request of a documented operation against the
// policy's OpenAPI document before the handler or the upstream sees it: 400 with
// all issues, or 415 for a media type that the operation does not take. It
// buffers JSON and form bodies, which app/body bounds; of other types only the
// media type is judged, and they stream through. Without app.schema it does
// nothing: handlers made with Handle judge their own requests.
var requestSchema = Control{
	Meta: check.Meta{
		ID:    "app/schema",
		Most:  3,
		Title: "Requests that the schema does not describe are refused",
		Why:   "Input of a shape that nobody expected reaches queries and models: {\"email\":{\"$gt\":\"\"}}, {\"role\":\"admin\"}.",
		Ref:   "OpenAPI 3.1; JSON Schema 2020-12; ASVS 5.0 V2.2.1; OWASP API3 2023; blueprint A5, T4, checklist 5",
	},
	Wrap: func(p *policy.Policy, deps Deps) (Middleware, error) {
		schema, err := schemaInForce(p, deps)
		if schema == nil {
			return passOn, err
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if x.Route.Builtin {
					next(x)
					return
				}
				var body []byte
				if k := x.mediaKind(); k == mediaJSON || k == mediaForm {
					var err error
					if body, err = x.ReadBody(); err != nil {
						x.denyBody("app/schema", err)
						return
					}
				}
				if issues := schema.Check(x.R, x.Path, body); len(issues) > 0 {
					x.Deny(deniedInput(issues))
					return
				}
				next(x)
			}
		}, nil
	},
	Value: func(p *policy.Policy, r *Route) string {
		switch {
		case r.Builtin:
			return "built in: its handler judges its own requests"
		case p.App.Schema == "":
			return "no schema: the handler judges its own requests"
		}
		return "validated against " + p.App.Schema
	},
	Verify: verifySchema,
}

func passOn(next Handler) Handler { return next }

// schemaInForce is the schema of the ring, or nil when the policy names none.
func schemaInForce(p *policy.Policy, deps Deps) (RequestSchema, error) {
	switch {
	case p.App.Schema != "" && deps.Schema == nil:
		return nil, p.Errorf("app.schema", "load the file with openapi.Load and pass it as Deps.Schema",
			"%s is named here, but the ring was given no compiled schema", p.App.Schema)
	case p.App.Schema == "" && deps.Schema != nil:
		return nil, p.Errorf("app.schema", "name the file that it was compiled from",
			"the ring was given a schema that the policy does not name")
	}
	return deps.Schema, nil
}

// mediaTypeCode is the issue code of a body whose media type an operation does
// not take.
const mediaTypeCode = "media_type"

func deniedInput(issues []Issue) Denied {
	d := Denied{Control: "app/schema", Kind: audit.InputRefused, Status: http.StatusBadRequest,
		Detail: "The request is not as documented; see errors.", Issues: issues,
		Err: errors.New(issues[0].Code + " at " + issues[0].Path)}
	if slices.ContainsFunc(issues, func(i Issue) bool { return i.Code == mediaTypeCode }) {
		d.Status = http.StatusUnsupportedMediaType
	}
	return d
}

// verifySchema sends a documented GET with and without a query parameter that
// no document knows.
func verifySchema(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	t, good, unseen := documentedGet(ctx, p, c)
	if unseen != nil {
		return *unseen
	}
	if good.Status == http.StatusBadRequest || good.Status == http.StatusNotFound {
		return check.Unseen("GET %s, which %s describes, was answered %s, so a refusal proves nothing", t.path, p.App.Schema, good.Line())
	}
	bad := t.request(http.MethodGet, "", "")
	bad.Target += "?ringwall_check=1"
	res, err := c.Do(ctx, bad)
	if err != nil {
		return check.Unseen("no answer to GET %s: %v", bad.Target, err)
	}
	if res.Status == http.StatusTooManyRequests {
		return check.Unseen("GET %s was answered %s", bad.Target, res.Line())
	}
	if res.Status != http.StatusBadRequest {
		return check.Failed("GET "+bad.Target+" was answered "+res.Line(), "400: the parameter is not documented",
			"put the app ring in front of the API, with app.schema in its policy")
	}
	return check.Passed("GET %s was answered 400, without the unknown parameter %d", bad.Target, good.Status)
}

// documentedGet sends a documented GET that needs no parameters. unseen is not
// nil when none can be sent or its answer proves nothing.
func documentedGet(ctx context.Context, p *policy.Policy, c *probe.Client) (t target, res *probe.Response, unseen *check.Finding) {
	fail := func(format string, args ...any) (target, *probe.Response, *check.Finding) {
		f := check.Unseen(format, args...)
		return t, nil, &f
	}
	if p.App.Schema == "" {
		t, res, unseen := fail("the policy names no schema; what the handler itself refuses cannot be told from outside")
		unseen.Fix = "app.schema: openapi.yaml in the policy; or, where the handler judges its own requests, a waiver that says so"
		return t, res, unseen
	}
	paths, err := plainGets(p.File(p.App.Schema))
	if err != nil {
		return fail("%v", err)
	}
	rs, err := compileRoutes(p)
	if err != nil {
		return fail("the policy's routes do not compile: %v", err)
	}
	found := false
	for _, path := range paths {
		route, _, _ := rs.match(http.MethodGet, path)
		if route.Builtin {
			continue // the document's own operation is not reached
		}
		token, admitted := tokenFor(p, c, route)
		if !found || admitted {
			t, found = target{path: path, route: route, token: token}, true
		}
		if admitted {
			break
		}
	}
	if !found {
		return fail("%s describes no GET without required parameters", p.App.Schema)
	}
	res, err = c.Do(ctx, t.request(http.MethodGet, "", ""))
	if err != nil {
		return fail("no answer to GET %s: %v", t.path, err)
	}
	switch s := res.Status; {
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return fail("GET %s was answered %s: give the check an access token", t.path, res.Line())
	case s == http.StatusTooManyRequests || s >= 500:
		return fail("GET %s was answered %s", t.path, res.Line())
	}
	return t, res, nil
}
