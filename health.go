package ringwall

import (
	"context"
	"io"
	"net/http"
	"sync"
	"time"
)

// alive answers /healthz: the process serves requests.
func alive(w http.ResponseWriter, r *http.Request) { status(w, r, true) }

// readiness answers /readyz: the upstream can be reached, and what Deps.Ready
// looks at is well. It looks at most once a second and for at most one, so that
// asking costs nothing and cannot be used to load what is behind.
type readiness struct {
	server *Server
	mu     sync.Mutex
	seen   time.Time
	ready  bool
}

// readyFor is how long an answer holds, and how long it may take.
const readyFor = time.Second

func (h *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status(w, r, h.now(r.Context()))
}

func (h *readiness) now(ctx context.Context) bool {
	h.mu.Lock() // whoever comes while one looks waits for its answer
	defer h.mu.Unlock()
	now := h.server.deps.Now()
	if age := now.Sub(h.seen); !h.seen.IsZero() && age >= 0 && age < readyFor {
		return h.ready
	}
	// The answer is for all: it must not depend on this client's patience.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyFor)
	defer cancel()
	err := h.server.look(ctx)
	if ready := err == nil; ready != h.ready || h.seen.IsZero() {
		if ready {
			h.server.deps.Log.Info("ready")
		} else {
			h.server.deps.Log.Warn("not ready", "error", err)
		}
		h.ready = ready
	}
	h.seen = h.server.deps.Now()
	return h.ready
}

func (s *Server) look(ctx context.Context) error {
	if proxy := s.current.Load().proxy; proxy != nil {
		if err := proxy.Reachable(ctx); err != nil {
			return err
		}
	}
	if s.deps.Ready != nil {
		return s.deps.Ready(ctx)
	}
	return nil
}

var jsonType = []string{"application/json"}

// status says no more than one word: what is down is for the log.
func status(w http.ResponseWriter, r *http.Request, ok bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header()["Allow"] = []string{"GET, HEAD"}
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	code, body := http.StatusOK, `{"status":"ok"}`+"\n"
	if !ok {
		code, body = http.StatusServiceUnavailable, `{"status":"unavailable"}`+"\n"
	}
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body)
}
