package ringwall

import (
	"context"
	"errors"
	"net/http"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// LoadPolicy reads a policy file with what the environment and secrets/ beside
// it say. The error lists every mistake with its place.
func LoadPolicy(file string) (*policy.Policy, error) {
	return policy.Load(file, policy.LoadOptions{})
}

// A Caller is who a request comes from, as its verified token says.
type Caller = bearer.Caller

// CallerFrom returns who calls, from the context of a request that came
// through the ring; nil when nobody is signed in.
func CallerFrom(ctx context.Context) *Caller { return app.CallerFrom(ctx) }

// Handle makes a handler of a function that takes its input decoded and
// checked; see app.Handle for the tags of In.
func Handle[In, Out any](fn func(context.Context, In) (Out, error)) http.Handler {
	return app.Handle(fn)
}

// An Error is a handler's own refusal, answered with its status and detail.
type Error = app.Error

// Created is what a handler of Handle returns for 201.
type Created[T any] = app.Created[T]

// None is the input or output of a handler that takes or gives nothing.
type None = app.None

// Identity is accounts, as package identity keeps them: *identity.Service.
type Identity interface {
	// Handler serves policy.Builtin inside the ring.
	Handler() http.Handler
	// Verifier knows the callers that signed in.
	Verifier() bearer.Verifier
	// Assert signs who calls, for the upstream.
	Assert(Caller) (string, error)
	// Reload takes what a running service can change of a policy, such as
	// lifetimes and roles, as a whole; on an error, such as another store,
	// nothing changes.
	Reload(*policy.Policy) error
	// Ready reports whether the store answers.
	Ready(context.Context) error
	// Run learns what other processes change, and removes what is over, until
	// ctx ends.
	Run(context.Context) error
}

// verifier is that of the accounts, the given one, or one of the policy's key.
func (s *Server) verifier(p *policy.Policy) (bearer.Verifier, error) {
	switch {
	case s.deps.Identity != nil && s.deps.Verifier != nil:
		return nil, errors.New("ringwall: Deps.Identity and Deps.Verifier both say who calls; give one")
	case s.deps.Identity != nil:
		return s.deps.Identity.Verifier(), nil
	case s.deps.Verifier != nil:
		return s.deps.Verifier, nil
	case p.KeepsAccounts():
		return nil, nil // the ring says what is missing
	}
	if !p.Identity.TokenKey.Set() {
		if route, needed := needsCaller(p); needed {
			return nil, p.Errorf("identity.token_key", "`ringwall init` makes one in secrets/, or set RINGWALL_IDENTITY_TOKEN_KEY",
				"there is no key to verify callers with, and %s is for callers only", route)
		}
		return nil, nil
	}
	keys, err := identity.NewKeys(p.Identity.TokenKey.Bytes())
	if err != nil {
		return nil, p.Errorf("identity.token_key", "make one: `head -c 32 /dev/urandom | base64`", "%w", err)
	}
	return identity.NewVerifier(p.Issuer(), p.Audience(), keys, s.deps.Now)
}

// needsCaller names a route that not everybody may call. What no route matches
// is for callers only.
func needsCaller(p *policy.Policy) (route string, needed bool) {
	for _, r := range p.App.Routes {
		public := false
		for _, a := range r.Allow {
			public = public || a == "anyone"
		}
		if !public {
			return "the route " + r.Path, true
		}
		if r.Path == "/" && len(r.Methods) == 0 {
			return "", false // it matches all that is left
		}
	}
	return "what no route matches", true
}
