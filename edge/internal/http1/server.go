// Package http1 serves HTTP/1.1 and 1.0 on connections whose framing has been
// judged, to any http.Handler. It does what net/http does, for half of the work:
// the answer's header is written as it is given, without a map that is copied
// and sorted, a request costs no goroutine, and deadlines move only when they
// have to.
//
// What it serves must be well framed: Conn.Read ends with an error before the
// first byte that is not (package framing says which). The parser here looks
// again at what it stands on itself.
package http1

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// A Server serves connections that it is given. Its fields are set before the
// first, and do not change.
type Server struct {
	Handler http.Handler

	// HeaderTime bounds the header of a request, from its first byte on; that of
	// the first one from when the connection is given. IdleTime bounds the wait for
	// the next request; an eighth of it may be missing.
	HeaderTime, IdleTime time.Duration

	// MaxHead is the most bytes of a header, its request line included.
	MaxHead int

	// Base is what the contexts of requests are made from. Its cancellation is
	// not looked at.
	Base context.Context

	// Refuse returns the whole answer to a request that cannot be read, and
	// takes note of it; nil: the connection is closed without one. The status is
	// 400, 408, 417, 431, or what an error of the connection says by a method
	// Status.
	Refuse func(c net.Conn, status int, why error) []byte

	// Log takes what went wrong in handlers.
	Log func(format string, args ...any)

	mu       sync.Mutex
	conns    map[*conn]struct{}
	stopping atomic.Bool
	watching atomic.Bool
	start    sync.Once
	quit     chan struct{} // closed once nothing is to be watched any more
	quitting sync.Once
}

// Serve serves c until it ends, and closes it, unless a handler took it over.
// c may have these methods besides: ConnectionState, whose value becomes
// Request.TLS, and Hijacked, which is called when a handler takes c over.
func (s *Server) Serve(nc net.Conn) {
	c := &conn{server: s, rwc: nc, since: time.Now()}
	if !s.add(c) {
		nc.Close()
		return
	}
	if a := nc.RemoteAddr(); a != nil {
		c.remote = a.String()
	}
	if t, ok := nc.(interface{ ConnectionState() tls.ConnectionState }); ok {
		state := t.ConnectionState()
		c.tls = &state
	}
	c.base = context.WithValue(context.WithoutCancel(s.Base), http.LocalAddrContextKey, nc.LocalAddr())
	c.serve()
}

func (s *Server) init() { s.start.Do(func() { s.quit = make(chan struct{}) }) }

func (s *Server) end() {
	s.init()
	s.quitting.Do(func() { close(s.quit) })
}

func (s *Server) add(c *conn) bool {
	s.init()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping.Load() {
		return false
	}
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
}

// newPatience is how long a connection on which nothing came yet is left open by
// Shutdown: its request may be on the way.
const newPatience = 5 * time.Second

// Shutdown closes connections that wait for a request, and waits until the
// others have been answered. Connections that handlers took over are theirs.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock() // nothing is added from now on
	s.stopping.Store(true)
	s.mu.Unlock()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		if s.closeIdle() {
			s.end()
			return nil
		}
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
	}
}

// closeIdle reports whether no connection is left.
func (s *Server) closeIdle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		if c.phase == idle || c.phase == fresh && time.Since(c.since) > newPatience {
			c.rwc.Close()
		}
		c.mu.Unlock()
	}
	return len(s.conns) == 0
}

// Close closes all connections at once, and cancels what is under way. It does
// not wait for handlers.
func (s *Server) Close() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping.Store(true)
	for c := range s.conns {
		c.rwc.Close()
		c.mu.Lock()
		if c.current != nil {
			c.current.ctx.cancel()
		}
		c.mu.Unlock()
	}
}

// watchEvery is how often handlers are looked at that are under way. One that was
// seen twice has its connection read, so that its request is cancelled when the
// client goes away.
const watchEvery = 100 * time.Millisecond

// watch sees that handlers under way are watched. One goroutine does it for all,
// and ends when there are none.
func (s *Server) watch() {
	if !s.watching.Load() && s.watching.CompareAndSwap(false, true) {
		go s.look()
	}
}

func (s *Server) look() {
	for {
		t := time.NewTimer(watchEvery)
		select {
		case <-t.C:
		case <-s.quit:
			t.Stop()
			return
		}
		if s.lookOnce() {
			continue
		}
		s.watching.Store(false)
		// A request that has begun since the look thinks that it is watched.
		if !s.lookOnce() || !s.watching.CompareAndSwap(false, true) {
			return
		}
	}
}

// lookOnce reports whether any handler is under way.
func (s *Server) lookOnce() (busy bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		busy = c.look() || busy
	}
	return busy
}

func (s *Server) logPanic(c *conn, v any) {
	if s.Log == nil {
		return
	}
	stack := make([]byte, 64<<10)
	s.Log("http: panic serving %v: %v\n%s", c.remote, v, stack[:runtime.Stack(stack, false)])
}
