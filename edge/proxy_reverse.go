package edge

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"sync"
)

// newReverse makes what passes on the requests that are not ordinary: upgrades,
// Expect, trailers. It is net/http's, and takes its time.
func (x *Proxy) newReverse() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        x.rewrite,
		Transport:      x.upstreams,
		ModifyResponse: x.answered,
		ErrorHandler:   x.failed,
		ErrorLog:       slog.NewLogLogger(x.deps.Log.Handler(), slog.LevelDebug),
		BufferPool:     &buffers,
	}
}

func (x *Proxy) rewrite(pr *httputil.ProxyRequest) {
	informed := 0
	pr.Out = pr.Out.WithContext(httptrace.WithClientTrace(pr.Out.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			if informed++; informed > maxInformed {
				return badAnswer("too many 1xx answers")
			}
			return nil
		},
	}))
	out := pr.Out
	out.URL.Scheme, out.URL.Host = "http", "upstream" // which one, the transport says
	out.Host = x.site
	x.setTold(out.Header, x.deps.Origin(pr.In), pr.In.Host)
	out.Header["Accept-Encoding"] = identity
	delete(out.Header, "Expect")
	delete(out.Header, "Te")
	if x.upstreams.h2c && isGRPC(out.Header) {
		out.Header["Te"] = trailersToo
	}
	out.Trailer = nil
	if out.Body != nil {
		out.Body = &sentBody{out.Body}
	}
}

var (
	identity    = []string{"identity"}
	trailersToo = []string{"trailers"} // gRPC's servers look for it
)

// sentBody tells what goes wrong with the client's body from what goes wrong
// with the upstream.
type sentBody struct{ io.ReadCloser }

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = &badBody{err}
	}
	return n, err
}

// answered watches the answer's body, so that one that breaks off is noticed.
// Trailers are passed on for gRPC alone, whose status is there: none of them
// could be judged any more.
func (x *Proxy) answered(res *http.Response) error {
	if res.StatusCode == http.StatusSwitchingProtocols {
		if res.Request.Header["Upgrade"] == nil { // httputil would leave the connection open
			return badAnswer("it switches protocols, and was not asked to")
		}
		if c, ok := res.Body.(io.ReadWriteCloser); ok {
			res.Body = newIdleConn(c, x.timeouts.Stream)
		}
		return nil
	}
	b := &watched{newIdleBody(res, x.timeouts), x, res, x.upstreams.h2c && isGRPC(res.Header)}
	if !b.grpc {
		res.Trailer = nil
	}
	res.Body = b
	return nil
}

type watched struct {
	io.ReadCloser
	proxy *Proxy
	res   *http.Response
	grpc  bool // its trailers are kept
}

func (b *watched) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF { // the last read found them
		if b.grpc {
			grpcTrailers(b.res.Trailer)
		} else {
			b.res.Trailer = nil
		}
	} else if r := b.res.Request; err != nil && r.Context().Err() == nil {
		b.proxy.deps.Failed(nil, r, Failure{Status: http.StatusBadGateway, Begun: true, Err: &brokenOff{err}})
	}
	return n, err
}

// buffers lends what bodies are copied through.
var buffers bufferPool

type bufferPool struct{ pool sync.Pool }

func (b *bufferPool) Get() []byte {
	if a, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return a[:]
	}
	return make([]byte, bufferSize)
}

func (b *bufferPool) Put(s []byte) { b.pool.Put((*[bufferSize]byte)(s)) }
