package app

import (
	"context"
	"errors"
	"net/http"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// operations lets only documented operations pass: 404 for a path that the
// OpenAPI document does not know, 405 for a method. It is apart from app/schema
// so that an API whose document is not complete can waive it alone.
var operations = Control{
	Meta: check.Meta{
		ID:    "app/operations",
		Most:  3,
		Title: "Only operations that the schema describes are served",
		Why:   "A forgotten debug or admin path is open to whoever guesses it.",
		Ref:   "OpenAPI 3.1, 4.8.8; RFC 9110, 15.5.6; ASVS 5.0 V4.1.4; OWASP API9 2023; blueprint A5, T7, checklist 5",
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
				documented, allow := schema.Find(x.R.Method, x.Path)
				switch {
				case documented:
					next(x)
				case allow != nil:
					x.Answer.Set("Allow", allow)
					x.Deny(Denied{Control: "app/operations", Kind: audit.InputRefused, Status: http.StatusMethodNotAllowed,
						Detail: "This path does not take that method.", Err: errors.New("the schema describes the path, not the method")})
				default:
					x.Deny(Denied{Control: "app/operations", Kind: audit.InputRefused, Status: http.StatusNotFound,
						Detail: "Nothing is here.", Err: errors.New("the schema does not describe the path")})
				}
			}
		}, nil
	},
	Value: func(p *policy.Policy, r *Route) string {
		switch {
		case r.Builtin:
			return "built in: its handler knows its own operations"
		case p.App.Schema == "":
			return "no schema: every path is served"
		}
		return "those of " + p.App.Schema
	},
	Verify: verifyOperations,
}

// verifyOperations asks for a path that no document knows, and for one that
// this one does.
func verifyOperations(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	t, good, unseen := documentedGet(ctx, p, c)
	if unseen != nil {
		return *unseen
	}
	if good.Status == http.StatusNotFound {
		return check.Failed("GET "+t.path+", which "+p.App.Schema+" describes, was answered "+good.Line(),
			"documented operations are served", "compare the document with the API, and its servers with the site")
	}
	unknown, err := probeTarget(p, c, http.MethodGet)
	if err != nil {
		return check.Unseen("%v", err)
	}
	res, err := c.Do(ctx, unknown.request(http.MethodGet, "", ""))
	if err != nil {
		return check.Unseen("no answer to GET %s: %v", unknown.path, err)
	}
	switch res.Status {
	case http.StatusNotFound:
		return check.Passed("GET %s was answered 404, the documented %s %d", unknown.path, t.path, good.Status)
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return check.Unseen("GET %s was answered %s", unknown.path, res.Line())
	}
	return check.Failed("GET "+unknown.path+" was answered "+res.Line(), "404: the path is not documented",
		"put the app ring in front of the API, with app.schema in its policy")
}
