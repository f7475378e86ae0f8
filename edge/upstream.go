package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// An upstream is one place where the API listens: a loopback port or a unix
// socket.
type upstream struct {
	name    string // as the policy has it
	network string // "tcp" or "unix"
	address string
	dialer  net.Dialer
	send    time.Duration
	h2c     bool // it is spoken to in HTTP/2

	busy   atomic.Int64 // requests under way
	kept   kept
	health health
	checks *http.Transport
}

// parseUpstream reads http://HOST:PORT and unix:/PATH, and h2c://HOST:PORT and
// h2c+unix:/PATH, where HTTP/2 is spoken from the first byte. The host must be
// localhost or a loopback address: what is not on this machine would be
// reached without TLS, and could be reached around the rings.
func parseUpstream(s string, t policy.Timeouts) (*upstream, error) {
	u := &upstream{name: s, dialer: net.Dialer{Timeout: t.Connect}, send: t.Send}
	address, h2c := policy.OverHTTP2(s)
	u.h2c = h2c
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("upstream %q: a unix socket is written with its full path, unix:/run/api.sock", s)
		}
		u.network, u.address = "unix", path
		return u, nil
	}
	l, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("upstream %q: %w", s, err)
	}
	if l.Scheme != "http" || l.Hostname() == "" || l.User != nil || l.Path != "" && l.Path != "/" || l.RawQuery != "" || l.Fragment != "" {
		return nil, fmt.Errorf("upstream %q: write http://127.0.0.1:8000 or unix:/run/api.sock", s)
	}
	port := l.Port()
	if port == "" {
		port = "80"
	}
	if ip, err := netip.ParseAddr(l.Hostname()); l.Hostname() != "localhost" && (err != nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("upstream %q is not on this machine: use a loopback address or a unix socket", s)
	}
	u.network, u.address = "tcp", net.JoinHostPort(l.Hostname(), port)
	u.dialer.Control = onlyLoopback
	return u, nil
}

// onlyLoopback refuses the connection when the name localhost led elsewhere.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	if ip, err := netip.ParseAddrPort(address); err != nil || !ip.Addr().Unmap().IsLoopback() {
		return errors.New("the upstream's name does not lead to this machine")
	}
	return nil
}

// unreachable is why there is no connection to an upstream: nothing was sent.
type unreachable struct {
	error
	upstream *upstream
}

func (e *unreachable) Unwrap() error { return e.error }

// dial connects. What it finds is told to the upstream's health.
func (u *upstream) dial(ctx context.Context) (net.Conn, error) {
	c, err := u.dialer.DialContext(ctx, u.network, u.address)
	if err == nil {
		u.health.connected()
		return c, nil
	}
	if ctx.Err() == nil {
		u.health.refused(err)
	}
	return nil, &unreachable{err, u}
}

// sendBound gives each write its own deadline, so that an upstream that stops
// reading is noticed, however long the whole body takes.
type sendBound struct {
	net.Conn
	limit time.Duration
}

func (c *sendBound) Write(p []byte) (int, error) {
	if c.limit > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}
