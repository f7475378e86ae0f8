package ringwall

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/app"
)

// alive answers /healthz: the process serves requests.
func alive(w http.ResponseWriter, r *http.Request) { status(w, r, nil) }

// readiness answers /readyz: the upstream can be reached, the accounts' store
// answers, and what Deps.Ready looks at is well. It looks at most once a second
// and for at most one, so that asking costs nothing and cannot be used to load
// what is behind.
//
// It reads from the store and writes nothing. Where nothing can be written, as on a full
// disk, callers who are signed in are served, and taking this server out would take
// that from them; what would have to be kept is answered 503 and is an event.
type readiness struct {
	server *Server
	mu     sync.Mutex
	seen   time.Time
	out    []string // parts that are not well
}

// readyFor is how long an answer holds, and how long it may take.
const readyFor = time.Second

func (h *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status(w, r, h.now(r.Context()))
}

// now names the parts that are out.
func (h *readiness) now(ctx context.Context) []string {
	h.mu.Lock() // whoever comes while one looks waits for its answer
	defer h.mu.Unlock()
	now := h.server.deps.Now()
	if age := now.Sub(h.seen); !h.seen.IsZero() && age >= 0 && age < readyFor {
		return h.out
	}
	// The answer is for all: it must not depend on this client's patience.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyFor)
	defer cancel()
	out, err := h.server.look(ctx)
	if !slices.Equal(out, h.out) || h.seen.IsZero() {
		if err == nil {
			h.server.deps.Log.Info("ready")
		} else {
			h.server.deps.Log.Warn("not ready", "out", out, "error", err)
		}
	}
	h.out, h.seen = out, h.server.deps.Now()
	return h.out
}

// look asks every part at once.
func (s *Server) look(ctx context.Context) (out []string, err error) {
	type part struct {
		name  string
		ready func(context.Context) error
	}
	var parts []part
	if proxy := s.current.Load().proxy; proxy != nil {
		parts = append(parts, part{"upstream", proxy.Reachable})
	}
	if s.deps.Identity != nil {
		parts = append(parts, part{"store", s.deps.Identity.Ready})
	}
	if s.deps.Ready != nil {
		parts = append(parts, part{"handler", s.deps.Ready})
	}
	errs := make([]error, len(parts))
	var all sync.WaitGroup
	for i, p := range parts {
		all.Go(func() { errs[i] = p.ready(ctx) })
	}
	all.Wait()
	for i, p := range parts {
		if errs[i] != nil {
			out = append(out, p.name)
		}
	}
	return out, errors.Join(errs...)
}

var jsonType = []string{"application/json"}

// status says which parts are out, and no more: why is for the log.
func status(w http.ResponseWriter, r *http.Request, out []string) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header()["Allow"] = []string{"GET, HEAD"}
		w.WriteHeader(http.StatusMethodNotAllowed)
	case len(out) > 0:
		app.FromContext(r.Context()).Deny(app.Denied{Status: http.StatusServiceUnavailable, Detail: "Out: " + strings.Join(out, ", ") + "."})
	default:
		w.Header()["Content-Type"] = jsonType
		_, _ = io.WriteString(w, `{"status":"ok"}`+"\n") // the client went away: the access log tells
	}
}
