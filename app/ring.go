package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// Handler answers one exchange.
type Handler func(*Exchange)

// Middleware puts a control around the handlers after it.
type Middleware func(next Handler) Handler

// A Control is one thing that the ring enforces: what it owns, how it is
// applied and how the wire proves it. The list of all is in controls.go.
type Control struct {
	check.Meta

	// Owns names the response headers that this control alone writes. What a
	// handler or an upstream sets under these names is dropped.
	Owns []string

	// Static gives owned headers whose value is the same for every answer.
	Static func(*policy.Policy) map[string]string

	// Finish changes the header of an answer as it begins, when what it
	// decides depends on the answer: the handler's fields, without those that
	// any control owns. It must be quick and must not block. When
	// app/timeout answers, the handler still runs beside it: read nothing of
	// the Exchange but what controls before app/timeout set, and Caller.
	Finish func(*Exchange, http.Header)

	// Done looks at an exchange that is over, for logs. It must not write.
	Done func(*Exchange)

	// Wrap builds the middleware. It decides all that the policy decides, so
	// that a request costs as little as possible. Nil: nothing to do per request.
	Wrap func(*policy.Policy, Deps) (Middleware, error)

	// Value says in one line what is in force for requests of a route, for
	// `policy explain`.
	Value func(*policy.Policy, *Route) string

	// Verify proves the control from outside: it sends what must be stopped
	// and what must pass. It answers Unknown when it could not see.
	Verify func(context.Context, *policy.Policy, *probe.Client) check.Finding

	// Size says how many requests Verify sends at most, and how many points they
	// earn, where that depends on the policy. Nil: as Meta says.
	Size func(*policy.Policy, *probe.Client) (requests, points int)

	// Inside says how to see the control on the server, for the few that no
	// answer can ever show. There is then no Verify.
	Inside string

	// Fixed marks a control that others stand on; it cannot be waived.
	Fixed bool
}

// Deps is what the ring is given. Zero fields: Log and Audit drop what they
// get, Limiter is one of the policy's own size, Now is time.Now, a nil Verifier
// knows nobody (every token is refused), a nil Schema is an error when the
// policy names one.
type Deps struct {
	Log      *slog.Logger  // access log and errors
	Audit    audit.Sink    // security events
	Verifier Verifier      // who a bearer token belongs to
	Schema   RequestSchema // the OpenAPI document, compiled
	Limiter  limit.Limiter // rate-limit state, kept over reloads
	Now      func() time.Time

	// Builtin serves the routes of policy.Builtin in the place of the handler. It
	// must be there when the policy keeps accounts, and only then. It judges its
	// own requests: app/operations and app/schema are for the API's.
	Builtin http.Handler

	// Open are cheap endpoints of Ringwall's own, by exact path, such as
	// /healthz. They are served once the path is known to be canonical: before
	// the host check, limits and authentication, with all headers.
	Open map[string]http.Handler

	// Gate is what the edge refuses without the ring's help.
	Gate Gate

	// Counters are counted on; nil: the ring has its own, from zero.
	Counters *Counters
}

// A Ring is one policy in force around one handler. It is immutable and safe
// for concurrent use; a reload builds a new one.
type Ring struct {
	site    string
	chain   Handler
	next    http.Handler
	deps    Deps
	routes  *routes
	static  []field
	lines   string // of static
	owned   map[string]struct{}
	finish  []func(*Exchange, http.Header)
	done    []func(*Exchange)
	roles   map[string][]string       // permissions by role
	denials map[string]*atomic.Uint64 // by control; the map itself never changes
	classes []*answers                // by bit of Exchange.classes
	cors    *corsRules                // nil: app/cors is not in force

	counters *Counters

	challenges challenges
}

// New compiles the policy around next. All errors are joined; a ring with any
// of them is not built.
func New(p *policy.Policy, next http.Handler, deps Deps) (*Ring, error) {
	return build(p, next, deps, Controls())
}

func build(p *policy.Policy, next http.Handler, deps Deps, controls []Control) (*Ring, error) {
	if next == nil {
		return nil, errors.New("app: the handler is nil")
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Audit == nil {
		deps.Audit = audit.Discard
	}
	if deps.Now == nil {
		deps.Now = time.Now
	}
	if deps.Verifier == nil {
		deps.Verifier = nobody{}
	}
	if deps.Limiter == nil {
		deps.Limiter = limit.NewMemory(int64(p.App.LimitsMemory))
	}
	if deps.Counters == nil {
		deps.Counters = new(Counters)
	}
	r := &Ring{site: p.Site, next: next, deps: deps, owned: map[string]struct{}{}, denials: map[string]*atomic.Uint64{}, counters: deps.Counters,
		roles: p.Identity.Roles, challenges: newChallenges(p.Site)}
	var errs []error
	var err error
	if r.routes, err = compileRoutes(p); err != nil {
		errs = append(errs, err)
	} else {
		for _, name := range r.routes.classes {
			r.classes = append(r.classes, r.counters.class(name))
		}
	}
	if err := checkWaivers(p, controls); err != nil {
		errs = append(errs, err)
	}
	for _, id := range deps.Gate.Controls {
		r.denials[id] = r.counters.denial(id)
	}
	if err := checkBuiltin(p, deps); err != nil {
		errs = append(errs, err)
	}
	var wraps []Middleware
	for _, c := range controls {
		r.denials[c.ID] = r.counters.denial(c.ID)
		if c.ID == gateStandsBefore && deps.Gate.Judge != nil {
			wraps = append(wraps, deps.Gate.middleware(deps.Open))
		}
		if !inForce(p, c, deps.Now()) {
			continue
		}
		for _, name := range c.Owns {
			r.owned[http.CanonicalHeaderKey(name)] = struct{}{}
		}
		if c.ID == "app/cors" {
			r.cors, _ = compileCORS(p) // its Wrap says what is wrong
		}
		if c.Static != nil {
			for name, v := range c.Static(p) {
				r.static = append(r.static, field{http.CanonicalHeaderKey(name), []string{v}})
			}
		}
		if c.Finish != nil {
			r.finish = append(r.finish, c.Finish)
		}
		if c.Done != nil {
			r.done = append(r.done, c.Done)
		}
		if c.Wrap != nil {
			m, err := c.Wrap(p, deps)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.ID, err))
				continue
			}
			wraps = append(wraps, m)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r.lines = lines(r.static)
	r.chain = func(x *Exchange) {
		if x.Route.Builtin {
			r.deps.Builtin.ServeHTTP(x.W, x.R)
			return
		}
		r.next.ServeHTTP(x.W, x.R)
	}
	for i := len(wraps) - 1; i >= 0; i-- {
		r.chain = wraps[i](r.chain)
	}
	return r, nil
}

func (r *Ring) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	x := &Exchange{ring: r, start: r.deps.Now(), method: req.Method}
	x.host, x.origin, x.fetched, x.bears = req.Host, req.Header["Origin"], req.Header["Sec-Fetch-Site"], len(req.Header["Authorization"]) > 0
	x.ctx.Context, x.ctx.x = req.Context(), x
	x.R = req.WithContext(&x.ctx)
	if req.ContentLength == 0 {
		x.R.Body = http.NoBody // HTTP/2 gives a request without a body an empty one
	} else if req.ProtoMajor == 1 && req.Body != nil && req.Body != http.NoBody {
		x.sent.ReadCloser, x.sent.w = req.Body, w
		x.R.Body = &x.sent
	}
	x.Answer.x, x.Answer.w = x, w
	x.W = &x.Answer
	r.counters.begun.Add(1)
	defer r.end(x)
	r.chain(x)
	x.returned = true
}

// end completes the answer, or sees that nothing more is written when a panic
// breaks it off, and lets the controls look at what came of it.
func (r *Ring) end(x *Exchange) {
	x.Answer.end(x.returned)
	if own := x.ctx.own.Load(); own != nil {
		own.cancel(context.Canceled)
	}
	x.took = r.deps.Now().Sub(x.start)
	r.over(x)
	for _, f := range r.done {
		f(x)
	}
}

func checkBuiltin(p *policy.Policy, deps Deps) error {
	switch {
	case p.KeepsAccounts() && deps.Builtin == nil:
		return p.Errorf("identity.registration", "make an identity.Service of this policy and give it to the server, or write off",
			"Ringwall shall keep accounts, but nothing is there that serves them")
	case !p.KeepsAccounts() && deps.Builtin != nil:
		return p.Errorf("identity.registration", "write open, invite or closed",
			"the ring was given accounts to serve, but they are off")
	}
	if _, ok := p.App.Limits["auth"]; p.KeepsAccounts() && !ok {
		return p.Errorf("app.limits", "add auth: {requests: 20, per: 15m, paths: [/api/auth/]}",
			"there is no class auth, which bounds how often passwords are guessed")
	}
	return nil
}

// inForce reports whether no unexpired waiver switches c off. An expired
// waiver does not: the control comes back at the next load.
func inForce(p *policy.Policy, c Control, now time.Time) bool {
	w, ok := p.Waived(c.ID)
	return !ok || c.Fixed || w.Expired(now)
}

// checkWaivers finds waivers of controls that there are not. Those of the edge,
// of accounts and of the server are for whoever has them to judge.
func checkWaivers(p *policy.Policy, controls []Control) error {
	var errs []error
next:
	for i, w := range p.Waivers {
		ring, _, _ := strings.Cut(w.Control, "/")
		if ring == "edge" || ring == "identity" || ring == "host" {
			continue
		}
		for _, c := range controls {
			if c.ID == w.Control {
				if c.Fixed {
					errs = append(errs, p.Errorf(fmt.Sprintf("waivers[%d].control", i),
						"remove this waiver", "%s cannot be waived: other controls stand on it", c.ID))
				}
				continue next
			}
		}
		var ids []string
		for _, c := range controls {
			ids = append(ids, c.ID)
		}
		errs = append(errs, p.NoControl(i, ids))
	}
	return errors.Join(errs...)
}

// Checks binds every control's proof to a target. Waived ones answer Waived.
// Each proof has an address of its own where that can be had, so that the limits
// of the edge and of the ring hold for each alone.
func Checks(p *policy.Policy, c *probe.Client, now time.Time) []check.Check {
	var out []check.Check
	for _, ctl := range Controls() {
		chk := check.Check{Meta: ctl.Meta, Inside: ctl.Inside}
		if ctl.Size != nil {
			chk.Most, chk.Points = ctl.Size(p, c)
		}
		if ctl.Verify != nil {
			chk.Verify = func(ctx context.Context) check.Finding {
				own, _ := c.Fresh()
				return ctl.Verify(ctx, p, own)
			}
		}
		if w, ok := p.Waived(ctl.ID); ok && !ctl.Fixed {
			chk.Inside, chk.Most, chk.Points = "", 0, 0
			chk.Verify = func(context.Context) check.Finding {
				return check.OffUntil(w.Until, w.Reason, w.Control, w.Expired(now))
			}
		}
		out = append(out, chk)
	}
	return out
}
