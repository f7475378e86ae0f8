package edge

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

const (
	outFirst = time.Second      // out after the first connection that failed
	outMost  = 30 * time.Second // it doubles up to this
	badMost  = 2                // checks that fail in a row put an upstream out

	checkMost = 2 * time.Second // a check takes no longer
)

// health is whether an upstream gets requests. One is out for a growing time
// when it takes no connection, and, where the policy has edge.health, from the
// second check in a row that fails until one that does not.
type health struct {
	name  string
	audit audit.Sink
	out   atomic.Int64 // until when, in Unix nanoseconds; 0: it is in

	mu      sync.Mutex
	refusal int // connections that failed in a row
	bad     int // checks that failed in a row
	said    bool
}

// refused takes note of a connection that could not be made.
func (h *health) refused(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if until := h.out.Load(); until > now.UnixNano() {
		return // it was tried all the same, as no other is in
	}
	pause := outMost
	if h.refusal < 5 {
		pause = min(outMost, outFirst<<h.refusal)
	}
	h.refusal++
	h.out.Store(now.Add(pause).UnixNano())
	h.say(audit.UpstreamDown, err)
}

// connected takes note of a connection.
func (h *health) connected() {
	if h.out.Load() == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusal = 0; h.bad < badMost {
		h.out.Store(0)
		h.say(audit.UpstreamUp, nil)
	}
}

// checked takes note of a check.
func (h *health) checked(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.bad = 0
		if h.refusal == 0 {
			h.out.Store(0)
			h.say(audit.UpstreamUp, nil)
		}
		return
	}
	if h.bad++; h.bad >= badMost {
		h.out.Store(math.MaxInt64)
		h.say(audit.UpstreamDown, err)
	}
}

// say tells of a change, once.
func (h *health) say(kind audit.Kind, err error) {
	down := kind == audit.UpstreamDown
	if h.said == down {
		return
	}
	h.said = down
	e := audit.Event{Time: time.Now(), Kind: kind, Outcome: audit.Success, Control: "edge/upstream", Detail: h.name}
	if down {
		e.Outcome, e.Detail = audit.Failure, h.name+": "+err.Error()
	}
	h.audit.Record(e)
}

// look reports whether the upstream takes a connection and, where the policy has
// edge.health, answers 2xx or 3xx there, or is well by gRPC's own check.
func (u *upstream) look(ctx context.Context, site, path string) error {
	if path == "" {
		c, err := u.dial(ctx)
		if err != nil {
			return fmt.Errorf("upstream: %w", err)
		}
		return c.Close()
	}
	if u.h2c && path == grpcHealth {
		return u.lookGRPC(ctx, site)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://upstream"+path, nil)
	if err != nil {
		return fmt.Errorf("edge.health.path: %w", err)
	}
	r.Host = site
	r.Header.Set("User-Agent", "ringwall-health")
	res, err := u.checks.RoundTrip(r)
	if err != nil {
		return fmt.Errorf("upstream: GET %s: %w", path, err)
	}
	res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 399 {
		return fmt.Errorf("upstream: GET %s was answered %d", path, res.StatusCode)
	}
	return nil
}

// checkTransport is for checks: each has a connection of its own, as one that
// takes no more of them is not well.
func checkTransport(u *upstream) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, MaxResponseHeaderBytes: maxHead, Protocols: protocolsOf(u.h2c),
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return u.dial(ctx) }}
}

// watch checks the upstreams, each on its own, until ctx ends.
func (l *upstreams) watch(ctx context.Context, site string, h policy.Health) {
	for _, u := range l.all {
		go func() {
			tick := time.NewTicker(h.Every)
			defer tick.Stop()
			for {
				one, cancel := context.WithTimeout(ctx, checkMost)
				err := u.look(one, site, h.Path)
				cancel()
				if ctx.Err() != nil {
					return
				}
				u.health.checked(err)
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
			}
		}()
	}
}
