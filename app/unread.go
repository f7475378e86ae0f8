package app

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// Over HTTP/1, net/http reads what is left of a request's body before it sends
// the header of the answer, and when it closes the body: the next request has to
// begin somewhere. It waits for the client as long as that takes. So who was
// refused without a look at his body could hold a connection for ever, and was
// not told before the body had come. Here that reading ends.
const (
	bodyPatience = 3 * time.Second // with the rest of a body that nobody wants
	heldBack     = 2048            // bytes of an answer that net/http holds before it sends the header
)

// sentBody is the body of an HTTP/1 request as the server gave it.
type sentBody struct {
	io.ReadCloser // nil: no body, or not HTTP/1
	w             http.ResponseWriter
	ended         atomic.Bool // a proxy's transport reads beside the handler
	late          atomic.Bool // a read came to its deadline: there is no more patience
}

func (b *sentBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF:
		b.ended.Store(true)
	case err != nil && errors.Is(err, os.ErrDeadlineExceeded):
		b.late.Store(true)
	}
	return n, err
}

// Close reads on to the end, as net/http's own does, but not for ever.
func (b *sentBody) Close() error {
	if b.ended.Load() || !b.bound() {
		return b.ReadCloser.Close()
	}
	err := b.ReadCloser.Close()
	if err == nil {
		b.free()
	}
	return err
}

// bound gives the client a last moment. It is false where the server has no
// deadlines.
func (b *sentBody) bound() bool {
	until := time.Unix(1, 0)
	if !b.late.Load() {
		until = time.Now().Add(bodyPatience)
	}
	return http.NewResponseController(b.w).SetReadDeadline(until) == nil
}

// free takes the deadline back: from the body's end on, net/http reads to see
// whether the client is still there.
func (b *sentBody) free() {
	_ = http.NewResponseController(b.w).SetReadDeadline(time.Time{})
}

// unread reports whether net/http would read on.
func (b *sentBody) unread() bool { return b.ReadCloser != nil && !b.ended.Load() }

// bodyEnds is called before n bytes are written, or a flush with n < 0. When
// that sends the header it bounds the reading before; the caller then frees it.
func (a *Answer) bodyEnds(n int) bool {
	return a.x.sent.unread() && !a.duplex && a.Written <= heldBack &&
		(n < 0 || a.Written+int64(n) > heldBack) && a.x.sent.bound()
}

// send writes a part of the body, of the handler's or of the ring's.
func (a *Answer) send(p []byte) (int, error) {
	if a.bodyEnds(len(p)) {
		defer a.x.sent.free()
	}
	n, err := a.w.Write(p)
	a.Written += int64(n)
	return n, err
}

func (a *Answer) flush() error {
	if a.bodyEnds(-1) {
		defer a.x.sent.free()
	}
	return http.NewResponseController(a.w).Flush()
}
