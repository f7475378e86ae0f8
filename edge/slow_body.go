package edge

import (
	"io"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// pacedBody is a request's body over HTTP/2 or HTTP/3, which must come at the
// pace while nothing of the answer has gone out. HTTP/1 is held to it below, by
// http1Conn. Streams of one connection wait each for itself, so that no deadline
// of the connection can tell a slow one.
//
// Once the answer has begun, both sides speak as they like. A gRPC call is one
// that may well be silent: what bounds it is the route's timeout, which ends with
// the beginning of the answer, and edge.timeouts.stream.
type pacedBody struct {
	io.ReadCloser
	stream *streamWriter
	slow   func() // says so
	pace   pace
	timer  *time.Timer // one for all waits
	cut    atomic.Bool
}

// paceBody puts one in the place of r's body, if it has any.
func paceBody(s *streamWriter, r *http.Request, guard *Guard) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 || isGRPC(r.Header) {
		return
	}
	r.Body = &pacedBody{ReadCloser: r.Body, stream: s, pace: pace{left: grace}, slow: func() {
		peer, _ := netip.ParseAddrPort(r.RemoteAddr)
		guard.slow(peer.Addr().Unmap().WithZone(""), "it does not send the body that it announced")
	}}
}

func (b *pacedBody) Read(p []byte) (int, error) {
	if b.stream.answered.Load() || len(p) == 0 {
		return b.ReadCloser.Read(p)
	}
	began := time.Now()
	if b.timer == nil {
		b.timer = time.AfterFunc(b.pace.left, b.late)
	} else {
		b.timer.Reset(b.pace.left)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.pace.spend(time.Since(began), n)
	return n, err
}

// late ends a read that waits, and all later ones.
func (b *pacedBody) late() {
	if b.stream.answered.Load() || b.cut.Swap(true) {
		return
	}
	if http.NewResponseController(b.stream.ResponseWriter).SetReadDeadline(time.Unix(1, 0)) == nil {
		b.slow()
	}
}

func (b *pacedBody) Close() error {
	if b.timer != nil {
		b.timer.Stop()
	}
	return b.ReadCloser.Close()
}
