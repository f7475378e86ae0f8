// Package probe is the client that looks at a server from outside. It writes
// requests byte for byte, because ordinary clients tidy paths, fold headers and
// follow redirects, and so cannot send what an attacker sends. Answers are
// bounded in size and time. It imports nothing of Ringwall's.
package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Options say how to reach the target. The zero value checks certificates
// against the system's roots and knows no token.
type Options struct {
	TLS         *tls.Config       // nil: the system's roots
	Tokens      map[string]string // access tokens by role; "" is one of an ordinary caller
	Refused     []string          // tokens that must be refused, such as one that has expired
	Account     Account           // to sign in with; the zero value: none was given
	Timeout     time.Duration     // of one connection, 0: 10 s
	MaxRequests int               // connections in all, 0: 400
	Address     string            // host that is connected to instead of the URL's, such as 127.0.0.1; its name is still the URL's
	Pace        Pace              // of connections from one address; the zero value: as fast as they go
	Intrusive   bool              // proofs may disturb the target for others
}

// An Account is an ordinary one of the target's, made for checks: its sessions
// are ended by them.
type Account struct{ Email, Password string }

// A Client sends requests to one origin.
type Client struct {
	base   *url.URL
	opts   Options
	source net.IP // local address, nil: the system's choice
	sent   *atomic.Int64
	pacer  *pacer
	shared *shared
}

// A Request is written as it stands.
type Request struct {
	Method  string      // "": GET
	Target  string      // request target, byte for byte; "": the base URL's path
	Host    string      // "": the base URL's
	Headers [][2]string // in this order, any spelling, duplicates allowed; Host and Connection are written by Do unless they are here
	Body    string      // a Content-Length is written for it unless Headers has a Content-Length or Transfer-Encoding
	Token   string      // sent as Authorization: Bearer
}

// A Response is an answer, its body cut at 1 MB.
type Response struct {
	Proto  string
	Status int
	Header http.Header
	Body   []byte
	TLS    *tls.ConnectionState // nil over plain HTTP
	Took   time.Duration        // from the first byte sent to the last one read
}

// Line is the answer in a few words, for evidence.
func (r *Response) Line() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status)))
}

// ErrNoRequests is returned when MaxRequests have been sent.
var ErrNoRequests = errors.New("the request budget is spent")

// New makes a client for base, an http or https URL.
func New(base string, opts Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%q is not an http or https URL with a host", base)
	}
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Second
	}
	if opts.MaxRequests == 0 {
		opts.MaxRequests = 400
	}
	return &Client{base: u, opts: opts, sent: new(atomic.Int64), pacer: &pacer{pace: opts.Pace}, shared: &shared{answers: map[[2]string]sharedAnswer{}}}, nil
}

// Base is the target's URL.
func (c *Client) Base() *url.URL { return c.base }

// Token returns an access token for the role, or "" when none was given.
func (c *Client) Token(role string) string { return c.opts.Tokens[role] }

// Refused are tokens that only the target's own key makes, and that it must refuse
// all the same: expired, of another audience, withdrawn.
func (c *Client) Refused() []string { return c.opts.Refused }

// Account is what to sign in with; ok is false when none was given.
func (c *Client) Account() (a Account, ok bool) {
	return c.opts.Account, c.opts.Account != Account{}
}

// Intrusive reports whether proofs may disturb the target for others.
func (c *Client) Intrusive() bool { return c.opts.Intrusive }

// MaxRequests is how many connections it opens at most.
func (c *Client) MaxRequests() int { return c.opts.MaxRequests }

// Sent is how many connections were opened, over all clients made from this one.
func (c *Client) Sent() int64 { return c.sent.Load() }

// count takes one of MaxRequests.
func (c *Client) count(ctx context.Context) error {
	if c.sent.Add(1) > int64(c.opts.MaxRequests) {
		c.sent.Add(-1)
		return ErrNoRequests
	}
	tallied(ctx)
	return nil
}

// Dial opens a connection, with TLS when the URL says so and offering only
// http/1.1. It counts against MaxRequests, and its deadline is Timeout from
// now, so that a target that says nothing ends it. It waits as the pace asks.
// The caller closes it.
func (c *Client) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := c.dial(ctx)
	log := logOf(ctx)
	if err != nil {
		log.note(log.begin(), "[connection to "+c.Host()+"]", "["+err.Error()+"]")
		return nil, err
	}
	if log == nil {
		return conn, nil
	}
	return &loggedConn{conn, log, log.begin()}, nil
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	if err := c.pacer.wait(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	if c.base.Scheme == "http" {
		return conn, nil
	}
	cfg := &tls.Config{}
	if c.opts.TLS != nil {
		cfg = c.opts.TLS.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = c.base.Hostname()
	}
	cfg.NextProtos = []string{"http/1.1"}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		shaken(ctx, err)
		return nil, err
	}
	return tc, nil
}

// connect opens the connection that Dial and Handshake speak on.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	if err := c.count(ctx); err != nil {
		lost(ctx, err)
		return nil, err
	}
	d := new(net.Dialer)
	if c.source != nil {
		d.LocalAddr = &net.TCPAddr{IP: c.source}
	}
	conn, err := d.DialContext(ctx, "tcp", c.Host())
	if err != nil {
		lost(ctx, err)
		return nil, err
	}
	TalliedAt(ctx, hostOf(conn.RemoteAddr().String()))
	conn.SetDeadline(time.Now().Add(c.opts.Timeout))
	return conn, nil
}

// Do sends one request on a connection of its own and reads the answer,
// skipping 1xx. It never follows a redirect and never retries. It reads at most
// 2 MB from the connection: an answer whose header is longer is an error.
func (c *Client) Do(ctx context.Context, req Request) (answer *Response, err error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer func() { heard(ctx, req, answer) }()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	// A server may answer and stop reading before the body is through: write
	// beside the reading, and let the answer count.
	began := time.Now()
	written := make(chan error, 1)
	go func() {
		_, err := io.WriteString(conn, c.render(method, req))
		written <- err
	}()
	br := bufio.NewReaderSize(io.LimitReader(conn, 2<<20), 16<<10)
	for {
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				lost(ctx, err)
			}
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			select {
			case werr := <-written:
				if werr != nil {
					return nil, werr
				}
			default:
			}
			return nil, err
		}
		if res.StatusCode < 200 && res.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
		if err != nil {
			return nil, fmt.Errorf("read the answer's body: %w", err)
		}
		if res.StatusCode == http.StatusTooManyRequests || res.StatusCode == http.StatusServiceUnavailable {
			c.pacer.hold(retryAfter(res.Header.Get("Retry-After"), time.Now()))
		}
		out := &Response{Proto: res.Proto, Status: res.StatusCode, Header: res.Header, Body: body, Took: time.Since(began)}
		under := conn // conn itself is still being written to
		if logged, ok := conn.(*loggedConn); ok {
			under = logged.Conn
		}
		if tc, ok := under.(*tls.Conn); ok {
			state := tc.ConnectionState()
			out.TLS = &state
		}
		return out, nil
	}
}

func (c *Client) render(method string, req Request) string {
	var b bytes.Buffer
	target := req.Target
	if target == "" {
		target = c.base.RequestURI()
	}
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n", method, target)
	has := map[string]bool{}
	for _, h := range req.Headers {
		has[strings.ToLower(h[0])] = true
	}
	if !has["host"] {
		host := req.Host
		if host == "" {
			host = c.base.Host
		}
		fmt.Fprintf(&b, "Host: %s\r\n", host)
	}
	if !has["connection"] {
		b.WriteString("Connection: close\r\n")
	}
	if !has["user-agent"] {
		b.WriteString("User-Agent: ringwall-check\r\n")
	}
	if req.Token != "" {
		fmt.Fprintf(&b, "Authorization: Bearer %s\r\n", req.Token)
	}
	for _, h := range req.Headers {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	if req.Body != "" && !has["content-length"] && !has["transfer-encoding"] {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(req.Body))
	}
	b.WriteString("\r\n")
	b.WriteString(req.Body)
	return b.String()
}

// at is the host that is connected to.
func (c *Client) at() string {
	if c.opts.Address != "" {
		return c.opts.Address
	}
	return c.base.Hostname()
}

// Loopback reports whether the target is this machine.
func (c *Client) Loopback() bool {
	h := c.at()
	ip := net.ParseIP(h)
	return h == "localhost" || strings.HasSuffix(h, ".localhost") || ip != nil && ip.IsLoopback()
}

// Fresh returns a client whose requests come from an address that no other
// client of this run uses, so that a check that exhausts a limit neither
// disturbs the others nor locks its user out. That is possible only on
// loopback over IPv4; elsewhere fresh is false and the client is c itself.
func (c *Client) Fresh() (client *Client, fresh bool) {
	if !c.manyAddresses() {
		return c, false
	}
	n := freshCount.Add(1)
	d := *c
	d.source = net.IPv4(127, byte(64+n>>14&63), byte(n>>7&127+1), byte(n&127+1))
	d.pacer = &pacer{pace: c.opts.Pace}
	return &d, true
}

func (c *Client) manyAddresses() bool {
	ip := net.ParseIP(c.at())
	return c.Loopback() && (ip == nil || ip.To4() != nil)
}

// freshCount starts somewhere else in each process, so that two runs within a
// limit's period do not meet.
var freshCount = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(uint32(time.Now().UnixNano() >> 10))
	return n
}()
