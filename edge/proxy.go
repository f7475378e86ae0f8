package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"strings"
	"sync"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge/internal/http1"
	"github.com/ringwall/ringwall/policy"
)

// Deps is what the proxy is given. Zero fields: Log and Audit drop what they
// get, Origin believes the connection and nothing else, Failed answers with a
// bare status, and without Assert the upstream gets no assertion.
type Deps struct {
	Log   *slog.Logger
	Audit audit.Sink // upstreams that go down and come up

	// Origin says what the upstream is told of a request.
	Origin func(*http.Request) Origin

	// Assert signs who calls, for the upstream to verify (see AssertionHeader);
	// "" when it cannot. It is asked for callers that are signed in, and not for
	// every request of theirs.
	Assert func(Origin) string

	// Failed answers a request that the upstream did not answer, or takes note
	// of one whose answer broke off (Failure.Begun).
	Failed func(http.ResponseWriter, *http.Request, Failure)
}

// A Failure is why a request has no answer, or half of one, from the upstream.
type Failure struct {
	Status int    // 400, 408, 413, 431, StatusClientGone, 502 or 504
	Detail string // public
	Err    error  // for the operator
	Begun  bool   // the answer had begun: nothing more can be written
}

// StatusClientGone is the status of requests whose client closed the
// connection before the answer. It is never seen by anyone but the log.
const StatusClientGone = 499

// A Proxy passes requests on to the policy's upstreams over HTTP/1.1, or HTTP/2
// where the policy says so (h2c), and their answers back as they come: server-sent
// events, WebSockets, gRPC and bodies of any size are streamed. An answer that
// has begun is broken off when the upstream is silent for edge.timeouts.read, one
// that streams for edge.timeouts.stream.
//
// The upstream gets the client's headers, its cookies and Authorization among
// them: an API that reads its own tokens keeps working, and both are the
// client's own towards this site. It does not get headers that only the edge
// writes (see Origin), names with other characters than letters, digits and
// hyphens, hop-by-hop headers, Expect (the edge answers it), and trailers. Requests
// of more than 100 header lines are answered 431. It is asked for uncompressed answers: compression, and its ban on answers that
// carry secrets, is the ring's.
//
// It keeps connections to the upstreams; Close gives them up.
type Proxy struct {
	site       string
	deps       Deps
	timeouts   policy.Timeouts
	health     policy.Health
	upstreams  *upstreams
	assertions assertions
	reverse    *httputil.ReverseProxy

	watching sync.Once // begins with the first request
	ctx      context.Context
	cancel   context.CancelFunc // by Close
}

// NewProxy makes a proxy for the policy's upstreams. It does not connect: an
// upstream that is down is answered 502, and seen by Reachable.
func NewProxy(p *policy.Policy, deps Deps) (*Proxy, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Audit == nil {
		deps.Audit = audit.Discard
	}
	if deps.Origin == nil {
		deps.Origin = fromConnection
	}
	if deps.Failed == nil {
		deps.Failed = bareStatus
	}
	t := p.Edge.Timeouts
	if t.Connect <= 0 || t.Send <= 0 || t.Read <= 0 || t.Stream <= 0 {
		return nil, fmt.Errorf("edge.timeouts: %v, %v, %v and %v are not all positive", t.Connect, t.Send, t.Read, t.Stream)
	}
	u, err := newUpstreams(p, deps.Audit)
	if err != nil {
		return nil, err
	}
	x := &Proxy{site: p.Site, deps: deps, timeouts: t, health: p.Edge.Health, upstreams: u}
	x.assertions.sign = deps.Assert
	x.ctx, x.cancel = context.WithCancel(context.Background())
	x.reverse = x.newReverse()
	return x, nil
}

// ServeHTTP implements http.Handler.
func (x *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if x.health.Path != "" {
		x.watching.Do(func() { x.upstreams.watch(x.ctx, x.site, x.health) })
	}
	if lines(r.Header) > http1.MaxFields {
		x.deps.Failed(w, r, Failure{Status: http.StatusRequestHeaderFieldsTooLarge, Detail: "The request has more than 100 header lines.",
			Err: errors.New("more header lines than an upstream may read")})
		return
	}
	if name := nominated(r.Header); name != "" {
		x.deps.Failed(w, r, Failure{Status: http.StatusBadRequest, Detail: "The Connection header names a header that belongs to the message.",
			Err: fmt.Errorf("Connection names %s", name)})
		return
	}
	if u := r.URL; !oneWord(u.RawQuery) || !oneWord(u.Opaque) || !rooted(r, u.Path) || !rooted(r, u.RawPath) {
		x.deps.Failed(w, r, Failure{Status: http.StatusBadRequest, Detail: "The target of the request cannot be passed on.",
			Err: errors.New("the target has a blank, a control character or a number sign, or its path does not begin with a slash")})
		return
	}
	o := x.deps.Origin(r)
	if o.User != "" && !sayable(o.User) {
		x.deps.Failed(w, r, Failure{Status: http.StatusBadGateway, Detail: "The API cannot be told who calls.",
			Err: fmt.Errorf("the caller's id %q does not fit in a header", o.User)})
		return
	}
	// What the upstream does not name the type of is not ours to name: net/http
	// would guess, and make a page of what looks like one.
	if h := w.Header(); h["Content-Type"] == nil {
		h["Content-Type"] = nil
	}
	if x.upstreams.h2c || !x.direct(w, r, o) {
		x.reverse.ServeHTTP(w, r)
	}
}

// lines is how many lines the client's fields take. The request's id is the ring's.
func lines(h http.Header) int {
	n := -len(h["X-Request-Id"])
	for _, values := range h {
		n += len(values)
	}
	return n
}

// oneWord reports whether s can stand in a request line. HTTP/2 has none, and
// takes a blank there, behind which another version would be read. Behind a number
// sign some upstreams read nothing (RFC 9112, 3.2 has no fragment).
func oneWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == '#' {
			return false
		}
	}
	return true
}

// rooted reports whether a path can stand in a request line. The asterisk is
// for OPTIONS, alone (RFC 9112, 3.2.4).
func rooted(r *http.Request, path string) bool {
	return path == "" || path[0] == '/' || path == "*" && r.Method == http.MethodOptions && r.URL.RawQuery == "" && !r.URL.ForceQuery
}

// Reachable reports whether at least one upstream takes a connection and, where
// the policy has edge.health, answers well there.
func (x *Proxy) Reachable(ctx context.Context) error {
	return x.upstreams.reachable(ctx, x.site, x.health.Path)
}

// Close gives up idle connections to the upstreams, and ends checks of their
// health. Requests under way end as they would have.
func (x *Proxy) Close() {
	x.cancel()
	x.upstreams.close()
}

// failed answers in the upstream's place. What it was is for the operator
// only: the text of a network error names addresses and ports.
func (x *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	f := Failure{Status: http.StatusBadGateway, Detail: "The API cannot be reached at the moment.", Err: err}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	_, body := errors.AsType[*badBody](err)
	switch {
	case tooLarge:
		f.Status, f.Detail = http.StatusRequestEntityTooLarge, "The request body is too large."
	case errors.Is(r.Context().Err(), context.Canceled):
		f.Status, f.Detail = StatusClientGone, "The client closed the connection."
	case body && isTimeout(err):
		f.Status, f.Detail = http.StatusRequestTimeout, "The request body did not come in time."
	case body && brokeOff(err):
		f.Status, f.Detail = StatusClientGone, "The client closed the connection."
	case body:
		f.Status, f.Detail = http.StatusBadRequest, "The request body cannot be read."
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		f.Status, f.Detail = http.StatusGatewayTimeout, "The API did not answer in time."
	}
	x.deps.Failed(w, r, f)
}

func fromConnection(r *http.Request) Origin {
	peer, _ := netip.ParseAddrPort(r.RemoteAddr)
	return Origin{Client: peer.Addr().Unmap().WithZone(""), Secure: r.TLS != nil}
}

func bareStatus(w http.ResponseWriter, _ *http.Request, f Failure) {
	if !f.Begun {
		http.Error(w, f.Detail, f.Status)
	}
}

// brokeOff reports an error of a connection, not of what came over it.
func brokeOff(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return network || errors.Is(err, io.ErrUnexpectedEOF)
}

// nominated returns a header of the message that Connection names, or "". RFC
// 9110, 7.6.1 has a proxy remove what Connection names, and forbids a sender
// to name there what is meant for the recipient of the content. Removing one
// would show the upstream another request than the one judged.
func nominated(h http.Header) string {
	for _, v := range h["Connection"] {
		for option := range strings.SplitSeq(v, ",") {
			switch option = strings.ToLower(strings.Trim(option, " \t")); option {
			case "", "close", "keep-alive", "upgrade", "te", "http2-settings", "proxy-connection", "trailer":
				continue
			case "authorization", "cookie", "host", "origin", "content-length", "content-type", "content-encoding":
				return option
			}
			if name := http.CanonicalHeaderKey(option); h[name] != nil && judgeName(name) == nameKept {
				return option
			}
		}
	}
	return ""
}
