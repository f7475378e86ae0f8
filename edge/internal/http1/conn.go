package http1

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// phase is what a connection does.
type phase uint8

const (
	fresh    phase = iota // nothing has come yet
	idle                  // it waits for the next request
	reading               // a header is on the way
	handling              // a handler is under way
)

// A conn is a connection that is served, one request after the other, by one
// goroutine. A second one reads from it while a handler runs for long.
type conn struct {
	server *Server
	rwc    net.Conn
	remote string
	tls    *tls.ConnectionState
	base   context.Context
	since  time.Time

	// What came and is unread is buf[r:w].
	buf  []byte
	r, w int

	writing sync.Mutex            // of what is written outside of a response: 100 Continue
	broken  atomic.Pointer[error] // why nothing can be written any more

	mu       sync.Mutex
	phase    phase
	current  *exchange // while handling
	turns    uint64    // requests that were handled, and the one that is
	seen     uint64    // turns at the last look
	over     bool      // the body of the current request was read to its end
	hijacked bool
	deadline time.Time // of reads, as it was set last

	ahead *readAhead // a read under way beside the handler
	found error      // what the last one ended with; said once
}

// A readAhead waits for what comes while a handler runs.
type readAhead struct {
	aborted bool // under conn.mu
	done    chan struct{}
}

// bufferSize is what a connection holds while it waits.
const bufferSize = 4 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

var headEnd = []byte("\r\n\r\n")

// past is a deadline that has passed.
var past = time.Unix(1, 0)

func (c *conn) serve() {
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler {
			c.server.logPanic(c, v)
		}
		c.end()
	}()
	c.buf = buffers.Get().(*[bufferSize]byte)[:]
	c.setReadDeadline(c.since.Add(c.server.HeaderTime))
	for c.next() {
	}
}

// end leaves nothing behind: no reader, no context, no connection but a hijacked
// one.
func (c *conn) end() {
	c.mu.Lock()
	x, hijacked := c.current, c.hijacked
	c.mu.Unlock()
	if x != nil {
		x.ctx.cancel()
		x.w.release()
	}
	if !hijacked {
		c.stopAhead()
		if x != nil {
			x.body.shut()
		}
		c.rwc.Close()
	}
	c.server.remove(c)
	c.shrink()
	if len(c.buf) == bufferSize && !hijacked {
		buffers.Put((*[bufferSize]byte)(c.buf))
	}
	c.buf = nil
}

// next serves one request and reports whether another may follow.
func (c *conn) next() bool {
	head, err := c.readHead()
	if err != nil {
		c.refuse(err)
		return false
	}
	x, err := c.parse(head)
	if err != nil {
		c.refuse(err)
		return false
	}
	if x.body.present && !c.deadline.IsZero() {
		c.setReadDeadline(time.Time{}) // who reads a body has deadlines of his own
	}
	c.mu.Lock()
	c.phase, c.current, c.over = handling, x, !x.body.present
	c.turns++
	c.mu.Unlock()
	c.server.watch()
	c.server.Handler.ServeHTTP(&x.w, x.w.req)
	x.ctx.cancel()
	if x.w.hijacked {
		return false
	}
	x.w.finish()
	c.stopAhead()
	x.body.Close()
	if f := x.w.req.MultipartForm; f != nil {
		_ = f.RemoveAll()
	}
	again := x.w.reusable()
	x.w.release()
	c.mu.Lock()
	c.phase, c.current = reading, nil
	c.mu.Unlock()
	if x.w.writeDeadline {
		_ = c.rwc.SetWriteDeadline(time.Time{})
	}
	c.shrink()
	return again && !c.server.stopping.Load()
}

// shrink gives up a buffer that had to grow, once it is empty.
func (c *conn) shrink() {
	if c.r == c.w {
		c.r, c.w = 0, 0
		if len(c.buf) > bufferSize {
			c.buf = buffers.Get().(*[bufferSize]byte)[:]
		}
	}
}

// A refusal is why a request cannot be served.
type refusal struct {
	status int
	why    string
}

func (r refusal) Error() string { return r.why }

func (r refusal) Status() int { return r.status }

var (
	errLongHead = refusal{http.StatusRequestHeaderFieldsTooLarge, "the header is too long"}
	errLateHead = refusal{http.StatusRequestTimeout, "the header did not come in time"}
	errHalfHead = refusal{http.StatusBadRequest, "the connection ended within the header"}
	errQuiet    = errors.New("nothing is to be answered")
)

// readHead waits for a whole header, and returns it with its last line.
func (c *conn) readHead() (string, error) {
	first := c.phase == fresh
	timed := first
	if c.r == c.w {
		if err := c.await(); err != nil {
			return "", err
		}
	} else {
		c.setPhase(reading)
	}
	for from := c.r; ; { // the end is not before it
		if i := bytes.Index(c.buf[from:c.w], headEnd); i >= 0 {
			end := from + i + len(headEnd)
			if end-c.r > c.server.MaxHead {
				return "", errLongHead
			}
			head := string(c.buf[c.r:end])
			c.r = end
			return head, nil
		}
		if c.w-c.r >= c.server.MaxHead {
			return "", errLongHead
		}
		from = max(c.r, c.w-len(headEnd)+1)
		if c.w == len(c.buf) {
			from -= c.r
			c.makeRoom()
		}
		if !timed {
			timed = true
			c.setReadDeadline(time.Now().Add(c.server.HeaderTime))
		}
		if err := c.fill(); err != nil {
			if err == io.EOF && !first && c.w-c.r < 4 { // no method is that short
				return "", errQuiet
			}
			return "", judged(err)
		}
	}
}

// judged says how a header that does not come to its end is answered.
func judged(err error) error {
	if _, ok := err.(interface{ Status() int }); ok {
		return err
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errLateHead
	case err == io.EOF:
		return errHalfHead
	}
	return errQuiet
}

// await waits for the first bytes of a request.
func (c *conn) await() error {
	c.mu.Lock()
	if c.phase != fresh {
		if c.server.stopping.Load() {
			c.mu.Unlock()
			return errQuiet
		}
		c.phase = idle
		until := time.Now().Add(c.server.IdleTime)
		if d := until.Sub(c.deadline); d > c.server.IdleTime/8 || d < 0 {
			c.deadline = until
			_ = c.rwc.SetReadDeadline(until) // a closed connection says so when it is read
		}
	}
	c.mu.Unlock()
	if c.r, c.w = 0, 0; len(c.buf) > bufferSize {
		c.shrink()
	}
	err := c.fill()
	c.setPhase(reading)
	if _, ok := err.(interface{ Status() int }); ok {
		return err
	}
	if err != nil {
		return errQuiet
	}
	return nil
}

func (c *conn) setPhase(p phase) {
	c.mu.Lock()
	c.phase = p
	c.mu.Unlock()
}

func (c *conn) setReadDeadline(t time.Time) {
	c.mu.Lock()
	c.deadline = t
	_ = c.rwc.SetReadDeadline(t)
	c.mu.Unlock()
}

// makeRoom moves what is unread to the front, or grows the buffer.
func (c *conn) makeRoom() {
	if c.r > 0 {
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
		return
	}
	grown := make([]byte, min(2*len(c.buf), max(c.server.MaxHead, 2*bufferSize)))
	c.w = copy(grown, c.buf[:c.w])
	if len(c.buf) == bufferSize {
		buffers.Put((*[bufferSize]byte)(c.buf))
	}
	c.buf = grown
}

// fill reads once behind what is unread. There is room.
func (c *conn) fill() error {
	if err := c.takeFound(); err != nil {
		return err
	}
	n, err := c.rwc.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil // an error comes again
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

func (c *conn) takeFound() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.found
	c.found = nil
	return err
}

// refuse answers what is no request.
func (c *conn) refuse(err error) {
	s, ok := err.(interface{ Status() int })
	if !ok || c.server.Refuse == nil {
		return
	}
	if b := c.server.Refuse(c.rwc, s.Status(), err); b != nil {
		_, _ = c.rwc.Write(b)
	}
}

// look is called now and then. A handler that it saw before has its connection
// read.
func (c *conn) look() (busy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase != handling || c.hijacked {
		return false
	}
	if c.seen != c.turns {
		c.seen = c.turns
		return true
	}
	if !c.over || c.ahead != nil || c.found != nil {
		return true
	}
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	if c.w > c.r { // a next request has come: whether its client is there is not seen
		return true
	}
	c.ahead = &readAhead{done: make(chan struct{})}
	c.deadline = time.Time{}
	_ = c.rwc.SetReadDeadline(c.deadline)
	go c.readAhead(c.ahead, c.current)
	return true
}

// readAhead waits for the next request, or for the end of the connection, which
// cancels the request that is handled.
func (c *conn) readAhead(a *readAhead, x *exchange) {
	n, err := c.rwc.Read(c.buf[c.w:])
	c.mu.Lock()
	c.w += n
	_, refused := err.(interface{ Status() int })
	late := errors.Is(err, os.ErrDeadlineExceeded)
	gone := false
	switch {
	case err == nil, late && a.aborted:
	case late: // somebody moved the deadline: he wants an end, as of a read of his own
		gone = true
	default:
		c.found = err
		gone = !refused && n == 0
	}
	if !a.aborted {
		c.ahead = nil
	}
	c.mu.Unlock()
	close(a.done)
	if gone {
		x.ctx.cancel()
	}
}

// stopAhead ends the read beside the handler.
func (c *conn) stopAhead() {
	c.mu.Lock()
	a := c.ahead
	if c.phase == handling {
		c.phase = reading // no other is begun
	}
	if a == nil {
		c.mu.Unlock()
		return
	}
	a.aborted = true
	c.deadline = past
	_ = c.rwc.SetReadDeadline(past)
	c.mu.Unlock()
	<-a.done
	c.mu.Lock()
	c.ahead = nil
	c.mu.Unlock()
}

// bodyOver is called when the body of x was read to its end.
func (c *conn) bodyOver(x *exchange) {
	c.mu.Lock()
	if c.current == x {
		c.over = true
	}
	c.mu.Unlock()
}

// failed is why nothing can be written any more; nil: it can.
func (c *conn) failed() error {
	if err := c.broken.Load(); err != nil {
		return *err
	}
	return nil
}

// write writes to the client. After an error nothing more is.
func (c *conn) write(p []byte) error {
	if err := c.failed(); err != nil {
		return err
	}
	if _, err := c.rwc.Write(p); err != nil {
		failure := err // err itself is on no heap
		c.broken.Store(&failure)
		if x := c.current; x != nil {
			x.ctx.cancel()
		}
		return err
	}
	return nil
}
