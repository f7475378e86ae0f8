package ringwall

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// Deps is what a Server is given besides its policy. The zero value works.
type Deps struct {
	// Log takes the access log and errors; nil: JSON lines on standard error,
	// at the policy's level.
	Log *slog.Logger

	// Audit takes security events; nil: they go to Log.
	Audit audit.Sink

	// Verifier knows whose a bearer token is; nil: one is made from the
	// policy's identity key. A policy whose routes need a caller, with neither,
	// is refused: it would refuse everybody.
	Verifier bearer.Verifier

	// Identity keeps the accounts of a policy that says so, which is refused
	// without; identity.New makes one of the same policy. It then serves the
	// built-in routes and verifies callers, and Verifier must be nil. Run runs it;
	// whoever serves Handler by other means does so himself.
	Identity Identity

	// Bans keeps who is banned, and counts the events of the rings; nil: one in
	// memory. Whoever gives Identity an audit.Sink of its own tees it with these
	// Bans, so that its events count too. Run loads and keeps them.
	Bans *edge.Bans

	// Limiter holds rate-limit state; nil: bounded memory of the policy's size.
	Limiter limit.Limiter

	// Ready looks at what the handler needs, such as its database, for
	// /readyz; nil: nothing but the upstream and the accounts' store is looked
	// at. It is asked at most once a second and should answer within one.
	Ready func(context.Context) error

	// Metrics makes the page of the policy's admin address from a function that
	// reads the counters; metrics.Handler is one. Nil: a policy with an admin
	// address is refused.
	Metrics func(stats func() app.Stats) http.Handler

	// Certificates gets the certificate of a policy with edge.tls.acme, which
	// is refused without; edge/acme makes one of the same policy. Run runs it.
	Certificates edge.Certificates

	// HTTP3 serves HTTP/3 for a policy with edge.http3, which is refused without;
	// http3.New of edge/http3 is one.
	HTTP3 func(edge.HTTP3Config) edge.HTTP3

	// Sockets are those that the process was started with, which Run serves on
	// instead of listening itself; nil: none.
	Sockets *edge.Sockets

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// A Server enforces one policy around one handler. It is safe for concurrent
// use. A new one is made by New, started by Run, and changed by Reload alone.
type Server struct {
	handler http.Handler // nil: the policy's upstream
	deps    Deps
	level   slog.LevelVar // of the default log
	edge    edge.State    // what outlives a policy
	counts  app.Counters  // likewise
	current atomic.Pointer[generation]
	ready   readiness
	reload  sync.Mutex // one change at a time
	port    string     // of the HTTPS listener, for redirects; under reload

	running   atomic.Bool
	listening chan struct{}
	yielded   chan struct{} // closed by Yield
	yielding  sync.Once
	vacated   chan struct{} // closed once a server that yielded reads no UDP socket
	addresses Addresses

	// reserve is never touched, so that it takes address space and no memory.
	// The collector counts it: under load it runs a few times a second, not
	// dozens of times, and a large heap grows by no more than this.
	reserve []byte
}

// reserveSize was chosen by measuring: docs/benchmarks.md.
const reserveSize = 16 << 20

// A generation is all that one policy decided. It never changes.
type generation struct {
	policy   *policy.Policy
	ring     *app.Ring
	guard    *edge.Guard
	proxied  *edge.Guard            // for connections of nginx
	proxy    *edge.Proxy            // nil when the handler is Go code
	files    *edge.CertificateFiles // nil when the policy names none
	redirect http.Handler           // of plain HTTP
	behind   http.Handler           // of nginx's connections; nil: clients connect themselves
}

// New compiles the policy around the handler; nil stands for the policy's
// upstream. It opens no port and starts nothing. The error joins all that is
// wrong: certificate files that do not load, no way to tell callers, no
// upstream, and what the controls have to say.
func New(p *policy.Policy, handler http.Handler, deps Deps) (*Server, error) {
	if p == nil {
		return nil, errors.New("ringwall: the policy is nil")
	}
	s := &Server{handler: handler, deps: deps, listening: make(chan struct{}), yielded: make(chan struct{}), vacated: make(chan struct{}), reserve: make([]byte, reserveSize)}
	if s.deps.Log == nil {
		s.deps.Log = slog.New(audit.NewHandler(os.Stderr, &s.level))
	}
	if s.deps.Audit == nil {
		s.deps.Audit = audit.NewLog(s.deps.Log)
	}
	if s.deps.Now == nil {
		s.deps.Now = time.Now
	}
	if s.deps.Limiter == nil {
		s.deps.Limiter = limit.NewMemory(int64(p.App.LimitsMemory))
	}
	if s.deps.Sockets == nil {
		s.deps.Sockets = new(edge.Sockets)
	}
	if s.deps.Bans == nil {
		s.deps.Bans = edge.NewBans(edge.BansConfig{Now: s.deps.Now})
	}
	s.deps.Bans.Tell(s.deps.Audit)
	s.deps.Audit = audit.Tee(s.deps.Audit, s.deps.Bans)
	s.edge = edge.State{Log: s.deps.Log, Audit: s.deps.Audit, Now: s.deps.Now, Bans: s.deps.Bans,
		Headers: func(p *policy.Policy, secure bool) map[string]string {
			return app.ConstantHeaders(p, secure, s.deps.Now())
		}}
	s.ready.server = s
	g, err := s.compile(p)
	if err != nil {
		return nil, err
	}
	s.adopt(g)
	return s, nil
}

// Handler is the whole way of a request behind the listener: the app ring,
// /healthz and /readyz, then the handler or the upstream. It follows reloads.
func (s *Server) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.current.Load().ring.ServeHTTP(w, r)
	})
}

// Policy is the policy in force. It must not be changed.
func (s *Server) Policy() *policy.Policy { return s.current.Load().policy }

// Stats reads the counters, which count on over reloads. Rate classes are those
// of the policy in force.
func (s *Server) Stats() app.Stats {
	out := s.current.Load().ring.Stats()
	bans := app.Bans(s.deps.Bans.Stats())
	out.Bans = &bans
	return out
}

// Reload puts a policy in the place of the one in force, between two requests.
// Requests under way end under the old one, rate-limit state is kept, and
// certificate files are read again. On any error nothing changes at all. Keys
// that a running server cannot change are an error too: edge.engine,
// edge.nginx.listen with nginx, edge.listen,
// edge.http3, edge.redirect, edge.tls.acme and then the site, admin, app.limits_memory, whether accounts are kept, and then
// what Deps.Identity cannot change: where they are, and their keys. Either way
// there is an event.
func (s *Server) Reload(p *policy.Policy) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	if p == nil {
		return s.kept(errors.New("ringwall: the policy is nil"))
	}
	old := s.current.Load()
	errs := needsRestart(old.policy, p)
	if s.running.Load() {
		errs = append(errs, hasCertificate(p))
	}
	if err := errors.Join(errs...); err != nil {
		return s.kept(err)
	}
	g, err := s.compile(p)
	if err != nil {
		return s.kept(err)
	}
	if s.deps.Identity != nil { // last, as nothing can fail after it
		if err := s.deps.Identity.Reload(p); err != nil {
			return s.kept(err)
		}
	}
	s.adopt(g)
	if old.proxy != nil {
		old.proxy.Close()
	}
	return nil
}

func (s *Server) kept(err error) error {
	s.deps.Audit.Record(audit.Event{Time: s.deps.Now(), Kind: audit.PolicyKept, Outcome: audit.Failure, Detail: err.Error()})
	return err
}

func (s *Server) adopt(g *generation) {
	var level slog.Level
	if level.UnmarshalText([]byte(g.policy.App.Log)) == nil {
		s.level.Set(level)
	}
	old := s.current.Swap(g)
	s.deps.Bans.Follow(g.policy)
	s.deps.Audit.Record(audit.Event{Time: s.deps.Now(), Kind: audit.PolicyLoaded, Outcome: audit.Success})
	if g.files != nil {
		var before *edge.CertificateFiles
		if old != nil {
			before = old.files
		}
		g.files.Announce(before)
	}
}

// needsRestart lists what a reload cannot change.
func needsRestart(old, p *policy.Policy) (errs []error) {
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"edge.engine", old.Edge.Engine == p.Edge.Engine},
		{"edge.nginx.listen", old.Edge.Nginx.Listen == p.Edge.Nginx.Listen || !p.NginxIsEdge()},
		{"edge.listen", old.Edge.Listen == p.Edge.Listen},
		{"edge.http3", old.Edge.HTTP3 == p.Edge.HTTP3},
		{"edge.redirect", old.Edge.Redirect == p.Edge.Redirect},
		{"edge.tls.acme", old.Edge.TLS.ACME == p.Edge.TLS.ACME},
		{"site", old.Site == p.Site || !p.Edge.TLS.ACME.Enabled()},
		{"admin", old.Admin == p.Admin},
		{"app.limits_memory", old.App.LimitsMemory == p.App.LimitsMemory},
		{"identity.registration", old.KeepsAccounts() == p.KeepsAccounts()},
	} {
		if !k.same {
			errs = append(errs, p.Errorf(k.key, "put the old value back, or restart the server", "a reload cannot change this key"))
		}
	}
	return errs
}

// compile builds all that a policy decides, and changes nothing.
func (s *Server) compile(p *policy.Policy) (*generation, error) {
	g := &generation{policy: p, redirect: s.plain(p)}
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	fail(p.Validate(s.deps.Now())) // a policy made in Go has been judged by nobody
	fail(identity.CheckWaivers(p))
	var err error
	handler := s.handler
	if handler == nil {
		if g.proxy, err = s.newProxy(p); err == nil {
			handler = g.proxy
		}
		fail(err)
	}
	g.files, err = s.openCertificate(p)
	fail(err)
	if p.Edge.HTTP3 && s.deps.HTTP3 == nil {
		fail(p.Errorf("edge.http3", "remove the key, or give ringwall.Deps the HTTP3 of edge/http3", "this program cannot serve HTTP/3"))
	}
	if p.Admin != "" && s.deps.Metrics == nil {
		fail(p.Errorf("admin", "remove the key, or give ringwall.Deps a Metrics", "this program has no metrics page"))
	}
	deps := app.Deps{
		Log: s.deps.Log, Audit: s.deps.Audit, Limiter: s.deps.Limiter, Now: s.deps.Now, Counters: &s.counts,
		Open: edge.WellKnown(p, s.deps.Now),
	}
	deps.Open["/healthz"], deps.Open["/readyz"] = http.HandlerFunc(alive), &s.ready
	deps.Verifier, err = s.verifier(p)
	fail(err)
	if s.deps.Identity != nil {
		deps.Builtin = s.deps.Identity.Handler()
	}
	if deps.Schema, err = schema(p); err != nil {
		fail(err)
		deps.Schema = struct{ app.RequestSchema }{} // the error is known; find the ring's too
	}
	g.guard, err = edge.NewGuard(p, &s.edge)
	fail(err)
	if err == nil {
		g.proxied = g.guard.Proxied()
		deps.Gate = gate(g.guard, deps.Schema)
	}
	if handler == nil {
		handler = http.NotFoundHandler() // the error is known; find the ring's too
	}
	g.ring, err = app.New(p, handler, deps)
	fail(err)
	if p.NginxIsEdge() {
		if !p.Edge.Nginx.Proof.Set() {
			fail(p.Errorf("edge.nginx.proof", "make it and set nginx up: ringwall nginx install", "there is no secret that nginx could prove itself with"))
		}
		g.behind = edge.Behind(p, &s.edge, s.leaving(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.ring.ServeHTTP(w, r) })), g.redirect)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return g, nil
}

func (s *Server) newProxy(p *policy.Policy) (*edge.Proxy, error) {
	if len(p.Behind()) == 0 {
		return nil, p.Errorf("upstream", "name where the API listens, such as http://127.0.0.1:8000", "there is no upstream and no handler")
	}
	deps := edge.Deps{Log: s.deps.Log, Audit: s.deps.Audit, Origin: origin(p.Edge.TrustedProxies), Failed: failed}
	if s.deps.Identity != nil {
		deps.Assert = s.assert
	}
	proxy, err := edge.NewProxy(p, deps)
	if err != nil {
		return nil, p.Errorf("upstream", "", "%w", err)
	}
	return proxy, nil
}

// origin is what the upstream is told of a request.
func origin(trusted []netip.Prefix) func(r *http.Request) edge.Origin {
	return func(r *http.Request) edge.Origin {
		x := app.FromContext(r.Context())
		o := edge.Origin{Client: x.Client, Secure: x.Secure, Proxied: app.FromProxy(r, trusted), RequestID: x.ID}
		if x.Caller != nil {
			o.User, o.Roles, o.Session = x.Caller.Subject, x.Caller.Roles, x.Caller.Session
		}
		return o
	}
}

// assert signs who calls, for the upstream. One that it is not signed for still
// has the other headers.
func (s *Server) assert(o edge.Origin) string {
	token, err := s.deps.Identity.Assert(Caller{Subject: o.User, Session: o.Session, Roles: o.Roles})
	if err != nil {
		s.deps.Log.Warn("a caller is not asserted to the upstream", "user.id", o.User, "error", err)
	}
	return token
}

// failed answers a request that the upstream did not answer.
func failed(_ http.ResponseWriter, r *http.Request, f edge.Failure) {
	d := app.Denied{Control: "edge/upstream", Status: f.Status, Detail: f.Detail, Err: f.Err}
	switch f.Status {
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		if body, ok := app.BodyDenied(f.Err); ok {
			d = body
		}
	case http.StatusBadRequest:
		d.Kind = audit.ProtocolRefused
	case http.StatusRequestHeaderFieldsTooLarge:
		d.Kind = audit.InputRefused
	case edge.StatusClientGone: // nobody's fault, and nobody is there to be told
	default:
		d.Kind = audit.UpstreamFailed
	}
	app.FromContext(r.Context()).Deny(d)
}
