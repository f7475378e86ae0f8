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

	"github.com/ringwall/ringwall/policy"
)

// Deps is what the proxy is given. Zero fields: Log drops what it gets, Origin
// believes the connection and nothing else, Failed answers with a bare status.
type Deps struct {
	Log *slog.Logger

	// Origin says what the upstream is told of a request.
	Origin func(*http.Request) Origin

	// Failed answers a request that the upstream did not answer, or takes note
	// of one whose answer broke off (Failure.Begun).
	Failed func(http.ResponseWriter, *http.Request, Failure)
}

// A Failure is why a request has no answer, or half of one, from the upstream.
type Failure struct {
	Status int    // 400, 413, StatusClientGone, 502 or 504
	Detail string // public
	Err    error  // for the operator
	Begun  bool   // the answer had begun: nothing more can be written
}

// StatusClientGone is the status of requests whose client closed the
// connection before the answer. It is never seen by anyone but the log.
const StatusClientGone = 499

// A Proxy passes requests on to the policy's upstream over HTTP/1.1, and its
// answers back as they come: server-sent events, WebSockets and bodies of any
// size are streamed.
//
// The upstream gets the client's headers, its cookies and Authorization among
// them: an API that reads its own tokens keeps working, and both are the
// client's own towards this site. It does not get headers that only the edge
// writes (see Origin), names with other characters than letters, digits and
// hyphens, hop-by-hop headers, Expect (the edge answers it), and trailers. It
// is asked for uncompressed answers: compression, and its ban on answers that
// carry secrets, is the ring's.
//
// It keeps connections to the upstream; Close gives them up.
type Proxy struct {
	site      string
	deps      Deps
	upstream  *upstream
	transport *http.Transport
	reverse   *httputil.ReverseProxy
}

// NewProxy makes a proxy for the policy's upstream. It does not connect: an
// upstream that is down is answered 502, and seen by Reachable.
func NewProxy(p *policy.Policy, deps Deps) (*Proxy, error) {
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Origin == nil {
		deps.Origin = fromConnection
	}
	if deps.Failed == nil {
		deps.Failed = bareStatus
	}
	u, err := parseUpstream(p.Upstream, p.Edge.Timeouts)
	if err != nil {
		return nil, err
	}
	x := &Proxy{site: p.Site, deps: deps, upstream: u, transport: u.transport(p.Edge.Timeouts)}
	x.reverse = &httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      x.transport,
		ModifyResponse: x.answered,
		ErrorHandler:   x.failed,
		ErrorLog:       slog.NewLogLogger(deps.Log.Handler(), slog.LevelDebug),
		BufferPool:     &buffers,
	}
	return x, nil
}

// ServeHTTP implements http.Handler.
func (x *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if name := nominated(r.Header); name != "" {
		x.deps.Failed(w, r, Failure{Status: http.StatusBadRequest, Detail: "The Connection header names a header that belongs to the message.",
			Err: fmt.Errorf("Connection names %s", name)})
		return
	}
	if user := x.deps.Origin(r).User; user != "" && !sayable(user) {
		x.deps.Failed(w, r, Failure{Status: http.StatusBadGateway, Detail: "The API cannot be told who calls.",
			Err: fmt.Errorf("the caller's id %q does not fit in a header", user)})
		return
	}
	x.reverse.ServeHTTP(w, r)
}

// Reachable connects to the upstream and hangs up.
func (x *Proxy) Reachable(ctx context.Context) error {
	c, err := x.upstream.dial(ctx, "", "")
	if err != nil {
		return fmt.Errorf("upstream: %w", err)
	}
	return c.Close()
}

// Close gives up idle connections to the upstream. Requests under way end as
// they would have.
func (x *Proxy) Close() { x.transport.CloseIdleConnections() }

func (x *Proxy) rewrite(pr *httputil.ProxyRequest) {
	out := pr.Out
	out.URL.Scheme, out.URL.Host = "http", "upstream" // the transport knows the address
	out.Host = x.site
	setForwarded(out.Header, x.deps.Origin(pr.In), x.host(pr.In.Host))
	out.Header["Accept-Encoding"] = identity
	delete(out.Header, "Expect")
	delete(out.Header, "Te")
	out.Trailer = nil
}

var identity = []string{"identity"}

// host is the client's host name with its port, when it names the site: the
// upstream may make links of it, so nothing else of the client's goes there.
func (x *Proxy) host(asked string) string {
	port, ok := strings.CutPrefix(strings.ToLower(asked), x.site+":")
	if !ok || len(port) > 5 || strings.Trim(port, "0123456789") != "" {
		return x.site
	}
	return x.site + ":" + port
}

// answered watches the answer's body, so that one that breaks off is noticed.
// The ring sends no trailers: none of them could be judged any more.
func (x *Proxy) answered(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		return nil
	}
	res.Trailer = nil
	res.Body = &watched{ReadCloser: res.Body, proxy: x, r: res.Request}
	return nil
}

type watched struct {
	io.ReadCloser
	proxy *Proxy
	r     *http.Request
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && b.r.Context().Err() == nil {
		b.proxy.deps.Failed(nil, b.r, Failure{Status: http.StatusBadGateway, Begun: true,
			Err: fmt.Errorf("the upstream's answer broke off: %w", err)})
	}
	return n, err
}

// failed answers in the upstream's place. What it was is for the operator
// only: the text of a network error names addresses and ports.
func (x *Proxy) failed(w http.ResponseWriter, r *http.Request, err error) {
	f := Failure{Status: http.StatusBadGateway, Detail: "The API cannot be reached at the moment.", Err: err}
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &tooLarge):
		f.Status, f.Detail = http.StatusRequestEntityTooLarge, "The request body is too large."
	case errors.Is(r.Context().Err(), context.Canceled):
		f.Status, f.Detail = StatusClientGone, "The client closed the connection."
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
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

// nominated returns the header of a list that Connection names, or "". RFC
// 9110, 7.6.1 has a proxy remove what Connection names, and forbids a sender
// to name there what is meant for the recipient of the content. Removing one
// of these would show the upstream another request than the one judged.
func nominated(h http.Header) string {
	for _, v := range h["Connection"] {
		for option := range strings.SplitSeq(v, ",") {
			option = strings.ToLower(strings.Trim(option, " \t"))
			switch option {
			case "authorization", "cookie", "host", "origin", "content-length", "content-type", "content-encoding":
				return option
			}
		}
	}
	return ""
}

// buffers lends the proxy what it copies bodies through.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

const bufferSize = 32 << 10

func (b *bufferPool) Get() []byte {
	if a, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return a[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(s []byte) { b.pool.Put((*[bufferSize]byte)(s)) }
