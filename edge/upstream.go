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
	"syscall"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// An upstream is where the API listens: a loopback port or a unix socket.
type upstream struct {
	network string // "tcp" or "unix"
	address string
	dialer  net.Dialer
	send    time.Duration
}

// parseUpstream reads http://HOST:PORT and unix:/PATH. The host must be
// localhost or a loopback address: what is not on this machine would be
// reached without TLS, and could be reached around the rings.
func parseUpstream(s string, t policy.Timeouts) (*upstream, error) {
	u := &upstream{dialer: net.Dialer{Timeout: t.Connect}, send: t.Send}
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !strings.HasPrefix(path, "/") {
			return nil, fmt.Errorf("upstream %q: a unix socket is written with its full path, unix:/run/api.sock", s)
		}
		u.network, u.address = "unix", path
		return u, nil
	}
	l, err := url.Parse(s)
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

func (u *upstream) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := u.dialer.DialContext(ctx, u.network, u.address)
	if err != nil {
		return nil, err
	}
	return &sendBound{Conn: c, limit: u.send}, nil
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

func (u *upstream) transport(t policy.Timeouts) *http.Transport {
	return &http.Transport{
		DialContext: u.dial,
		// One framing only towards the upstream: HTTP/1.1 (blueprint E4).
		ForceAttemptHTTP2:      false,
		DisableCompression:     true, // what the upstream sends is passed on as it is
		MaxIdleConns:           256,
		MaxIdleConnsPerHost:    256,
		MaxResponseHeaderBytes: 64 << 10,
		ResponseHeaderTimeout:  t.Read,
		// Shorter than the 5 s after which Node.js closes an idle connection:
		// a request written to a connection that is being closed is lost.
		IdleConnTimeout: 4 * time.Second,
		WriteBufferSize: 16 << 10,
		ReadBufferSize:  16 << 10,
	}
}
