package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// upstreams are the places where the same API listens. A request goes to the
// one with the fewest requests under way, so that one that is slow or busy gets
// fewer; among equals they take turns. One that is out gets none while another
// is in.
type upstreams struct {
	all       []*upstream
	turn      atomic.Uint32
	transport http.Transport // for what the direct transport leaves
	h2c       bool           // all of them speak HTTP/2, and none HTTP/1.1
}

func newUpstreams(p *policy.Policy, sink audit.Sink) (*upstreams, error) {
	t := p.Edge.Timeouts
	list := &upstreams{}
	for _, s := range p.Behind() {
		u, err := parseUpstream(s, t)
		if err != nil {
			return nil, err
		}
		if u.h2c != list.h2c && len(list.all) > 0 {
			return nil, fmt.Errorf("upstream %q: some upstreams speak HTTP/2 and some do not: write all with h2c, or none", s)
		}
		list.h2c = u.h2c
		u.health.name, u.health.audit, u.checks = u.name, sink, checkTransport(u)
		list.all = append(list.all, u)
	}
	if len(list.all) == 0 || len(list.all) > 64 {
		return nil, fmt.Errorf("there are %d upstreams: name 1 to 64", len(list.all))
	}
	list.transport = http.Transport{
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			number, _, _ := strings.Cut(address, ".")
			i, err := strconv.Atoi(number)
			if err != nil {
				return nil, err
			}
			u := list.all[i]
			c, err := u.dial(ctx)
			if err != nil {
				return nil, err
			}
			return &sendBound{Conn: c, limit: u.send}, nil
		},
		// One framing only towards the upstream: HTTP/1.1 (blueprint E4), or HTTP/2
		// where the policy says that the upstream speaks it.
		Protocols:              protocolsOf(list.h2c),
		DisableCompression:     true, // what the upstream sends is passed on as it is
		MaxIdleConns:           keptMost,
		MaxIdleConnsPerHost:    keptMost,
		MaxResponseHeaderBytes: maxHead,
		ResponseHeaderTimeout:  t.Read,
		IdleConnTimeout:        keptFor,
		WriteBufferSize:        16 << 10,
		ReadBufferSize:         16 << 10,
	}
	return list, nil
}

func protocolsOf(h2c bool) *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(!h2c)
	p.SetUnencryptedHTTP2(h2c)
	return p
}

// pick chooses the upstream for a request among those that it has not tried,
// and adds it to tried. Those that are out come last, the one that may be back
// first before the others.
func (l *upstreams) pick(tried *uint64) *upstream {
	if len(l.all) == 1 {
		*tried = 1
		return l.all[0]
	}
	turn := int(l.turn.Add(1) % uint32(len(l.all)))
	now := time.Now().UnixNano()
	best := -1
	var least, soonest int64
	for i := range l.all {
		i = (i + turn) % len(l.all)
		if *tried&(1<<i) != 0 {
			continue
		}
		out, busy := l.all[i].health.out.Load(), l.all[i].busy.Load()
		if out <= now {
			out = 0
		}
		if best < 0 || out < soonest || out == soonest && busy < least {
			best, least, soonest = i, busy, out
		}
	}
	*tried |= 1 << best
	return l.all[best]
}

// more reports whether one is left that was not tried.
func (l *upstreams) more(tried uint64) bool { return tried != 1<<len(l.all)-1 }

// close gives up idle connections.
func (l *upstreams) close() {
	for _, u := range l.all {
		u.kept.close()
	}
	l.transport.CloseIdleConnections()
}

// reachable looks at all upstreams at once. One that is well is enough.
func (l *upstreams) reachable(ctx context.Context, site, path string) error {
	errs := make([]error, len(l.all))
	var all sync.WaitGroup
	for i, u := range l.all {
		all.Go(func() { errs[i] = u.look(ctx, site, path) })
	}
	all.Wait()
	for _, err := range errs {
		if err == nil {
			return nil
		}
	}
	return errors.Join(errs...)
}

// RoundTrip implements http.RoundTripper over the upstreams, for requests that
// the direct transport leaves. The next upstream is asked while there is no
// connection to one, which is before anything of the request was read.
func (l *upstreams) RoundTrip(r *http.Request) (*http.Response, error) {
	var tried uint64
	for {
		u := l.pick(&tried)
		out, url := *r, *r.URL
		for i := range l.all {
			if l.all[i] == u {
				url.Host = strconv.Itoa(i) + ".upstream"
			}
		}
		out.URL = &url
		if r.Body != nil {
			out.Body = io.NopCloser(r.Body) // the next one may need it; who made the request closes it
		}
		u.busy.Add(1)
		res, err := l.transport.RoundTrip(&out)
		if err == nil {
			res.Request = r
			res.Body = busyUntilClosed(res.Body, u)
			return res, nil
		}
		u.busy.Add(-1)
		if _, unsent := errors.AsType[*unreachable](err); !unsent || r.Context().Err() != nil || !l.more(tried) {
			return nil, err
		}
	}
}

// busyUntilClosed counts an answer, or a connection that was switched to
// another protocol, as under way until it is closed.
func busyUntilClosed(body io.ReadCloser, u *upstream) io.ReadCloser {
	b := &busyBody{ReadCloser: body, upstream: u}
	if w, ok := body.(io.ReadWriteCloser); ok {
		return &busyConn{b, w}
	}
	return b
}

type busyBody struct {
	io.ReadCloser
	upstream *upstream
	once     sync.Once
}

func (b *busyBody) Close() error {
	b.once.Do(func() { b.upstream.busy.Add(-1) })
	return b.ReadCloser.Close()
}

type busyConn struct {
	*busyBody
	conn io.ReadWriteCloser
}

func (c *busyConn) Write(p []byte) (int, error) { return c.conn.Write(p) }

// CloseWrite ends one direction of a switched connection.
func (c *busyConn) CloseWrite() error {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
