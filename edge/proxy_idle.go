package edge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// Once an answer has begun, the upstream may be silent for edge.timeouts.read
// before the answer is broken off, and for edge.timeouts.stream where silence is
// what it is made for. Only the time that the upstream is waited for counts, not
// that in which a client is slow to read.

// errSilent is why an answer was broken off.
type errSilent struct{ after time.Duration }

func (e errSilent) Error() string { return fmt.Sprintf("nothing came for %v", e.after) }
func (e errSilent) Timeout() bool { return true }
func (errSilent) Temporary() bool { return false }

// silence is how long the upstream may be silent in an answer with this
// Content-Type.
func silence(t policy.Timeouts, contentType string) time.Duration {
	switch kind := mediaOf(contentType); kind {
	case "text/event-stream", "application/grpc", "application/x-ndjson", "application/jsonl", "application/json-seq", "multipart/x-mixed-replace":
		return t.Stream
	default:
		if strings.HasPrefix(kind, "application/grpc") {
			return t.Stream
		}
	}
	return t.Read
}

// idleBody is an answer's body that ends with an error when it is silent.
type idleBody struct {
	io.ReadCloser
	limit time.Duration
	timer *time.Timer
	late  atomic.Bool
}

func newIdleBody(res *http.Response, t policy.Timeouts) *idleBody {
	return &idleBody{ReadCloser: res.Body, limit: silence(t, res.Header.Get("Content-Type"))}
}

func (b *idleBody) Read(p []byte) (int, error) {
	if b.timer == nil {
		b.timer = time.AfterFunc(b.limit, func() {
			b.late.Store(true)
			b.ReadCloser.Close() // ends the read
		})
	} else {
		b.timer.Reset(b.limit)
	}
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && b.late.Load() {
		err = errSilent{b.limit}
	}
	return n, err
}

func (b *idleBody) Close() error {
	if b.timer != nil {
		b.timer.Stop()
	}
	return b.ReadCloser.Close()
}

// idleConn is a connection that was switched to another protocol. It is closed
// when nothing has moved for long, in either direction.
type idleConn struct {
	io.ReadWriteCloser
	limit time.Duration
	timer *time.Timer
}

func newIdleConn(c io.ReadWriteCloser, limit time.Duration) *idleConn {
	return &idleConn{c, limit, time.AfterFunc(limit, func() { c.Close() })}
}

func (c *idleConn) Read(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(p)
	c.moved(n)
	return n, err
}

func (c *idleConn) Write(p []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(p)
	c.moved(n)
	return n, err
}

func (c *idleConn) moved(n int) {
	if n > 0 && c.timer.Stop() { // not once it has run
		c.timer.Reset(c.limit)
	}
}

func (c *idleConn) Close() error {
	c.timer.Stop()
	return c.ReadWriteCloser.Close()
}

// CloseWrite ends one direction.
func (c *idleConn) CloseWrite() error {
	if half, ok := c.ReadWriteCloser.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
