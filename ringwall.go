package ringwall

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/edge"
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

	// Limiter holds rate-limit state; nil: bounded memory of the policy's size.
	Limiter limit.Limiter

	// Ready looks at what the handler needs, such as its database, for
	// /readyz; nil: nothing but the upstream is looked at. It is asked at most
	// once a second and should answer within one.
	Ready func(context.Context) error

	// Metrics makes the page of the policy's admin address from a function that
	// reads the counters; metrics.Handler is one. Nil: a policy with an admin
	// address is refused.
	Metrics func(stats func() app.Stats) http.Handler

	// Now is the clock; nil: time.Now.
	Now func() time.Time
}

// A Server enforces one policy around one handler. It is safe for concurrent
// use. A new one is made by New, started by Run, and changed by Reload alone.
type Server struct {
	handler http.Handler // nil: the policy's upstream
	deps    Deps
	level   slog.LevelVar // of the default log
	current atomic.Pointer[generation]
	ready   readiness
	reload  sync.Mutex // one change at a time
	port    string     // of the HTTPS listener, for redirects; under reload

	running   atomic.Bool
	listening chan struct{}
	addresses Addresses
}

// A generation is all that one policy decided. It never changes.
type generation struct {
	policy   *policy.Policy
	ring     *app.Ring
	proxy    *edge.Proxy      // nil when the handler is Go code
	cert     *tls.Certificate // nil when the policy names none
	redirect http.Handler     // of plain HTTP
}

// New compiles the policy around the handler; nil stands for the policy's
// upstream. It opens no port and starts nothing. The error joins all that is
// wrong: certificate files that do not load, no way to tell callers, no
// upstream, and what the controls have to say.
func New(p *policy.Policy, handler http.Handler, deps Deps) (*Server, error) {
	if p == nil {
		return nil, errors.New("ringwall: the policy is nil")
	}
	s := &Server{handler: handler, deps: deps, listening: make(chan struct{})}
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

// Stats reads the counters of the policy in force; a reload begins them anew.
func (s *Server) Stats() app.Stats { return s.current.Load().ring.Stats() }

// Reload puts a policy in the place of the one in force, between two requests.
// Requests under way end under the old one, rate-limit state is kept, and
// certificate files are read again. On any error nothing changes at all. Keys
// that a running server cannot change are an error too: edge.listen,
// edge.redirect, admin and app.limits_memory. Either way there is an event.
func (s *Server) Reload(p *policy.Policy) error {
	s.reload.Lock()
	defer s.reload.Unlock()
	if p == nil {
		return s.kept(errors.New("ringwall: the policy is nil"))
	}
	old := s.current.Load()
	if err := errors.Join(needsRestart(old.policy, p)...); err != nil {
		return s.kept(err)
	}
	g, err := s.compile(p)
	if err != nil {
		return s.kept(err)
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
	s.current.Store(g)
	s.deps.Audit.Record(audit.Event{Time: s.deps.Now(), Kind: audit.PolicyLoaded, Outcome: audit.Success})
}

// needsRestart lists what a reload cannot change.
func needsRestart(old, p *policy.Policy) (errs []error) {
	for _, k := range []struct {
		key  string
		same bool
	}{
		{"edge.listen", old.Edge.Listen == p.Edge.Listen},
		{"edge.redirect", old.Edge.Redirect == p.Edge.Redirect},
		{"admin", old.Admin == p.Admin},
		{"app.limits_memory", old.App.LimitsMemory == p.App.LimitsMemory},
	} {
		if !k.same {
			errs = append(errs, p.Errorf(k.key, "put the old value back, or restart the server", "a reload cannot change this key"))
		}
	}
	return errs
}

// compile builds all that a policy decides, and changes nothing.
func (s *Server) compile(p *policy.Policy) (*generation, error) {
	g := &generation{policy: p, redirect: edge.Redirect(p, s.port)}
	var errs []error
	fail := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	fail(p.Validate(s.deps.Now())) // a policy made in Go has been judged by nobody
	var err error
	handler := s.handler
	if handler == nil {
		if g.proxy, err = s.newProxy(p); err == nil {
			handler = g.proxy
		}
		fail(err)
	}
	if t := p.Edge.TLS; t.Cert != "" || t.Key != "" {
		if g.cert, err = edge.LoadCertificate(p.File(t.Cert), p.File(t.Key), p.Site, s.deps.Now()); err != nil {
			fail(p.Errorf("edge.tls", "", "%w", err))
		}
	}
	if p.Admin != "" && s.deps.Metrics == nil {
		fail(p.Errorf("admin", "remove the key, or give ringwall.Deps a Metrics", "this program has no metrics page"))
	}
	deps := app.Deps{
		Log: s.deps.Log, Audit: s.deps.Audit, Limiter: s.deps.Limiter, Now: s.deps.Now,
		Open: map[string]http.Handler{"/healthz": http.HandlerFunc(alive), "/readyz": &s.ready},
	}
	deps.Verifier, err = s.verifier(p)
	fail(err)
	deps.Schema, err = schema(p)
	fail(err)
	if handler == nil {
		handler = http.NotFoundHandler() // the error is known; find the ring's too
	}
	g.ring, err = app.New(p, handler, deps)
	fail(err)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return g, nil
}

func (s *Server) newProxy(p *policy.Policy) (*edge.Proxy, error) {
	if p.Upstream == "" {
		return nil, p.Errorf("upstream", "name where the API listens, such as http://127.0.0.1:8000", "there is no upstream and no handler")
	}
	proxy, err := edge.NewProxy(p, edge.Deps{Log: s.deps.Log, Origin: origin, Failed: failed})
	if err != nil {
		return nil, p.Errorf("upstream", "", "%w", err)
	}
	return proxy, nil
}

// origin is what the upstream is told of a request.
func origin(r *http.Request) edge.Origin {
	x := app.FromContext(r.Context())
	o := edge.Origin{Client: x.Client, Secure: x.Secure, RequestID: x.ID}
	if x.Caller != nil {
		o.User, o.Roles, o.Session = x.Caller.Subject, x.Caller.Roles, x.Caller.Session
	}
	return o
}

// failed answers a request that the upstream did not answer.
func failed(_ http.ResponseWriter, r *http.Request, f edge.Failure) {
	d := app.Denied{Control: "edge/upstream", Status: f.Status, Detail: f.Detail, Err: f.Err}
	switch f.Status {
	case http.StatusRequestEntityTooLarge:
		if body, ok := app.BodyDenied(f.Err); ok {
			d = body
		}
	case http.StatusBadRequest:
		d.Kind = audit.ProtocolRefused
	case edge.StatusClientGone: // nobody's fault, and nobody is there to be told
	default:
		d.Kind = audit.UpstreamFailed
	}
	app.FromContext(r.Context()).Deny(d)
}
