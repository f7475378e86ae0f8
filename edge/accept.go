package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// Accept returns a listener whose connections have been judged, for an
// http.Server to Serve. What it does to each, in this order:
//
//   - one beyond the guard's MaxConnections in all, on all listeners, is closed;
//   - one of a peer that the guard does not admit is closed;
//   - with cfg, the TLS handshake is made, within 10 s and beside others;
//   - HTTP/1 is held to its framing, and slow clients to a pace, if these
//     controls are in force.
//
// guard is asked for each connection anew, so that it may follow reloads. What
// is refused is closed without an answer, and neither Accept nor a handshake
// ever waits for a client that says nothing: others go on being accepted.
func (s *State) Accept(l net.Listener, cfg *tls.Config, guard func() *Guard) net.Listener {
	keepLittleUnsent(l)
	a := &acceptor{Listener: l, state: s, tls: cfg, guard: guard,
		ready: make(chan accepted), closed: make(chan struct{}), busy: map[net.Conn]struct{}{}}
	go a.run()
	return a
}

type acceptor struct {
	net.Listener
	state *State
	tls   *tls.Config // nil: plain
	guard func() *Guard

	ready  chan accepted
	closed chan struct{}
	once   sync.Once
	mu     sync.Mutex
	busy   map[net.Conn]struct{} // in their handshakes; nil once closed
}

type accepted struct {
	conn net.Conn
	err  error
}

func (a *acceptor) Accept() (net.Conn, error) {
	select {
	case r := <-a.ready:
		return r.conn, r.err
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close ends handshakes under way, too.
func (a *acceptor) Close() error {
	err := a.Listener.Close()
	a.once.Do(func() {
		close(a.closed)
		a.mu.Lock()
		defer a.mu.Unlock()
		for c := range a.busy {
			c.Close()
		}
		a.busy = nil
	})
	return err
}

func (a *acceptor) run() {
	for {
		c, err := a.Listener.Accept()
		if err != nil {
			if !a.deliver(nil, err) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		guard := a.guard()
		conn := a.admit(c, guard)
		if conn == nil {
			continue
		}
		if a.tls == nil && !guard.ProxyProtocol {
			a.deliver(follow(conn, conn, guard, a.state), nil)
			continue
		}
		go a.prepare(conn, guard)
	}
}

// deliver hands a connection to Accept, or closes it with the listener.
func (a *acceptor) deliver(c net.Conn, err error) bool {
	select {
	case a.ready <- accepted{c, err}:
		return true
	case <-a.closed:
		if c != nil {
			c.Close()
		}
		return false
	}
}

// admit counts a connection; nil: it was closed.
func (a *acceptor) admit(c net.Conn, guard *Guard) *acceptedConn {
	conn := &acceptedConn{Conn: c, state: a.state, paced: guard.enforces(slowClients.ID), pace: pace{left: grace}}
	conn.client = addressOf(c.RemoteAddr())
	if l, ok := c.(*lingerConn); ok {
		l.gone = conn.release
	}
	if !a.state.open.take(guard.MaxConnections) {
		if a.state.open.say(a.state.now()) {
			a.state.record(audit.Event{Time: a.state.now(), Kind: audit.ConnectionRefused, Outcome: audit.Failure, Control: connections.ID,
				Client: conn.client, Detail: "more connections than edge.max_connections in all"})
		}
		conn.reset()
		return nil
	}
	conn.counted = true
	if guard.ProxyProtocol {
		return conn // for whom it speaks is not known yet
	}
	if !conn.admit(guard) {
		return nil
	}
	return conn
}

// prepare makes the handshake of a connection.
func (a *acceptor) prepare(c *acceptedConn, guard *Guard) {
	a.mu.Lock()
	if a.busy == nil {
		a.mu.Unlock()
		c.reset()
		return
	}
	a.busy[c] = struct{}{}
	a.mu.Unlock()
	conn, err := a.handshake(c, guard)
	a.mu.Lock()
	delete(a.busy, c)
	a.mu.Unlock()
	if err != nil {
		if a.state.Log != nil {
			a.state.Log.LogAttrs(context.Background(), slog.LevelDebug, "a connection was not accepted",
				slog.String("client.address", c.client.String()), slog.String("error", err.Error()))
		}
		c.Close()
		return
	}
	a.deliver(conn, nil)
}

func (a *acceptor) handshake(c *acceptedConn, guard *Guard) (net.Conn, error) {
	if err := c.SetDeadline(time.Now().Add(headerTime)); err != nil {
		return nil, err
	}
	if guard.ProxyProtocol {
		if err := c.readProxyHeader(guard); err != nil {
			return nil, err
		}
		if !c.admit(guard) {
			return nil, errors.New("not admitted")
		}
	}
	var conn net.Conn = c
	if a.tls != nil {
		t := tls.Server(c, a.tls)
		if err := t.HandshakeContext(context.Background()); err != nil {
			var plain tls.RecordHeaderError
			if errors.As(err, &plain) && plain.Conn != nil && looksLikeHTTP(plain.RecordHeader) {
				_, _ = plain.Conn.Write(guard.refusals.plain[400])
			}
			return nil, err
		}
		conn = t
	}
	if err := c.SetDeadline(time.Time{}); err != nil {
		return nil, err
	}
	return follow(conn, c, guard, a.state), nil
}

// looksLikeHTTP tells a client that speaks plain HTTP to the HTTPS port.
func looksLikeHTTP(header [5]byte) bool {
	switch string(header[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

func addressOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// openConnections counts the connections of all listeners.
type openConnections struct {
	n    atomic.Int64
	said atomic.Int64 // Unix time of the last event
}

func (o *openConnections) take(most int) bool {
	if o.n.Add(1) > int64(most) {
		o.n.Add(-1)
		return false
	}
	return true
}

// say limits events to one a second.
func (o *openConnections) say(now time.Time) bool {
	last := o.said.Load()
	return now.Unix() != last && o.said.CompareAndSwap(last, now.Unix())
}
