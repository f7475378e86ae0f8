package http1

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// heldBack is how much of a body is held before the header is sent: the length of
// one that ends within is known then.
const heldBack = 2048

// A response writes one answer. Besides what http.ResponseWriter asks for, it
// flushes, hands the connection over, has deadlines and can be made full duplex,
// for http.ResponseController. Its header can be given line by line, with
// AddField and AddLines.
type response struct {
	x    *exchange
	conn *conn
	req  *http.Request

	minor                   int // of the request's version
	head                    bool
	closeAsked, keepAlive10 bool // by the request

	header http.Header
	added  []field   // by AddField
	lines  [2]string // by AddLines
	nlines int
	room   [10]field

	status   int         // 0 until WriteHeader
	begun    bool        // the header is in out
	closes   atomic.Bool // the connection ends with this answer; whoever closes the body asks
	duplex   bool
	hijacked bool
	done     bool // the handler has returned
	length   int64
	written  int64
	chunked  bool

	writeDeadline bool // one was set

	// What WriteHeader saw.
	connection                           []string
	identity, hasDate, hasType, hasCoded bool
	hasTE, trailers                      bool
	announced                            []string

	buf *output
}

type field struct {
	name   string
	values []string
}

// An output is what an answer is put together in. It is lent.
type output struct {
	out  []byte
	held []byte // of the body, before the header is sent
}

const outputSize = 16 << 10

var outputs = sync.Pool{New: func() any {
	return &output{make([]byte, 0, outputSize), make([]byte, 0, heldBack)}
}}

// release gives the buffers back. Nothing can be written any more.
func (w *response) release() {
	w.done = true
	if o := w.buf; o != nil {
		w.buf = nil
		o.out, o.held = o.out[:0], o.held[:0]
		outputs.Put(o)
	}
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = http.Header{}
	}
	return w.header
}

// AddField adds a header field, beside those of Header, to an answer that has
// not begun. The name is in canonical form. The slice must not change before
// WriteHeader.
func (w *response) AddField(name string, values []string) {
	if w.added == nil {
		w.added = w.room[:0]
	}
	w.added = append(w.added, field{name, values})
}

// AddLines adds whole header lines, each with its CR LF, up to twice. None of
// them may be one that the server looks at: Connection, Content-Encoding,
// Content-Length, Content-Type, Date, Trailer and Transfer-Encoding.
func (w *response) AddLines(lines string) {
	w.lines[w.nlines] = lines
	w.nlines++
}

// WriteHeader implements http.ResponseWriter. A 1xx status other than 101 is sent
// at once, with the fields of Header.
func (w *response) WriteHeader(status int) {
	if w.hijacked || w.done {
		w.conn.logf("http: WriteHeader after the handler gave up the answer")
		return
	}
	if w.status != 0 {
		w.conn.logf("http: superfluous WriteHeader")
		return
	}
	if status < 100 || status > 999 {
		panic(fmt.Sprintf("invalid WriteHeader code %v", status))
	}
	if status < 101 || status > 199 {
		w.x.body.noContinue()
	}
	if w.buf == nil {
		w.buf = outputs.Get().(*output)
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.inform(status)
		return
	}
	w.status = status
	w.statusLine(status)
	for name, values := range w.header {
		w.field(name, values)
	}
	for _, f := range w.added {
		w.field(f.name, f.values)
	}
	for _, l := range w.lines[:w.nlines] {
		w.buf.out = append(w.buf.out, l...)
	}
	w.added, w.nlines = nil, 0
}

// inform sends a 1xx answer. It bears no body, and so says nothing about one. A
// client of HTTP/1.0 would take it for the answer (RFC 9110, 15.2).
func (w *response) inform(status int) {
	if w.minor == 0 {
		return
	}
	w.statusLine(status)
	for name, values := range w.header {
		if name != "Content-Length" && name != "Transfer-Encoding" {
			w.appendField(name, values)
		}
	}
	w.buf.out = append(w.buf.out, "\r\n"...)
	_ = w.send() // the answer itself fails, too
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if err := w.admit(len(p)); err != nil || len(p) == 0 {
		return 0, err
	}
	n := len(p)
	if !w.begun {
		h := w.buf.held
		if len(h)+n <= heldBack {
			w.buf.held = append(h, p...)
			return n, nil
		}
		fits := heldBack - len(h)
		h = append(h, p[:fits]...)
		w.buf.held = h
		w.begin(h, false)
		if err := w.emit(h, p[fits:]); err != nil {
			return 0, err
		}
		return n, nil
	}
	if err := w.emit(nil, p); err != nil {
		return 0, err
	}
	return n, nil
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (int, error) {
	if err := w.admit(len(s)); err != nil || s == "" {
		return 0, err
	}
	if !w.begun && len(w.buf.held)+len(s) <= heldBack {
		w.buf.held = append(w.buf.held, s...)
		return len(s), nil
	}
	w.written -= int64(len(s))
	return w.Write([]byte(s))
}

// admit judges n more bytes of the body.
func (w *response) admit(n int) error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.done {
		return errDone
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if n == 0 {
		return nil
	}
	if !bodyAllowed(w.status) {
		return http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if w.length >= 0 && w.written > w.length {
		return http.ErrContentLength
	}
	return w.conn.failed()
}

var errDone = errors.New("http: the handler has returned")

// emit writes a part of the body, in two pieces.
func (w *response) emit(a, b []byte) error {
	if w.head || len(a)+len(b) == 0 {
		return nil
	}
	if w.chunked {
		w.buf.out = append(strconv.AppendInt(w.buf.out, int64(len(a)+len(b)), 16), "\r\n"...)
	}
	if err := w.push(a); err != nil {
		return err
	}
	if err := w.push(b); err != nil {
		return err
	}
	if w.chunked {
		w.buf.out = append(w.buf.out, "\r\n"...)
	}
	return nil
}

// push puts p behind what is to be sent, and sends what is too much to wait.
func (w *response) push(p []byte) error {
	o := w.buf
	for len(o.out)+len(p) > outputSize {
		if len(o.out) == 0 {
			return w.conn.write(p)
		}
		n := max(0, min(outputSize-len(o.out), len(p)))
		o.out = append(o.out, p[:n]...)
		p = p[n:]
		if err := w.send(); err != nil {
			return err
		}
	}
	o.out = append(o.out, p...)
	return nil
}

// send sends what has been put together.
func (w *response) send() error {
	o := w.buf
	if len(o.out) == 0 {
		return w.conn.failed()
	}
	err := w.conn.write(o.out)
	if cap(o.out) > 2*outputSize { // a very long header
		o.out = make([]byte, 0, outputSize)
	}
	o.out = o.out[:0]
	return err
}

// ReadFrom implements io.ReaderFrom, with a buffer that is lent.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	room := copies.Get().(*[copySize]byte)
	defer copies.Put(room)
	return io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{src}, room[:])
}

// FlushError sends what there is, the header at least.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.done {
		return errDone
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if err := w.beginHeld(false); err != nil {
		return err
	}
	return w.send()
}

// Flush implements http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// beginHeld begins the answer with what was held of its body.
func (w *response) beginHeld(last bool) error {
	if w.begun {
		return nil
	}
	held := w.buf.held
	w.begin(held, last)
	return w.emit(held, nil)
}

// finish completes the answer once the handler has returned.
func (w *response) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.beginHeld(true) != nil {
		return
	}
	if w.chunked && !w.head {
		w.buf.out = append(w.buf.out, "0\r\n"...)
		w.appendTrailers()
		w.buf.out = append(w.buf.out, "\r\n"...)
	}
	_ = w.send() // the connection is not used again
}

// reusable reports whether another request may follow on the connection.
func (w *response) reusable() bool {
	short := !w.head && w.length >= 0 && bodyAllowed(w.status) && w.length != w.written
	return !w.broken() && !short && !w.x.body.early
}

// broken reports whether the connection ends with this answer anyway.
func (w *response) broken() bool { return w.closes.Load() || w.conn.failed() != nil }

// Hijack implements http.Hijacker. What came behind the request is in the
// reader.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if w.done {
		return nil, nil, errDone
	}
	c := w.conn
	w.x.body.noContinue()
	if w.status != 0 {
		if err := w.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	c.stopAhead()
	c.mu.Lock()
	c.hijacked = true
	c.mu.Unlock()
	w.hijacked = true
	_ = c.rwc.SetDeadline(time.Time{})
	if h, ok := c.rwc.(interface{ Hijacked() }); ok {
		h.Hijacked()
	}
	var from io.Reader = c.rwc
	if c.w > c.r {
		from = io.MultiReader(bytes.NewReader(bytes.Clone(c.buf[c.r:c.w])), c.rwc)
		c.r = c.w
	}
	in := bufio.NewReader(from)
	if from != io.Reader(c.rwc) {
		_, _ = in.Peek(1) // Buffered then tells of it
	}
	return c.rwc, bufio.NewReadWriter(in, bufio.NewWriter(c.rwc)), nil
}

// EnableFullDuplex lets the handler read the body after it began to answer.
func (w *response) EnableFullDuplex() error {
	w.duplex = true
	return nil
}

// SetReadDeadline is the connection's.
func (w *response) SetReadDeadline(t time.Time) error {
	c := w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	return c.rwc.SetReadDeadline(t)
}

// SetWriteDeadline is the connection's, until the answer has ended.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.writeDeadline = true
	return w.conn.rwc.SetWriteDeadline(t)
}

func (c *conn) logf(format string, args ...any) {
	if c.server.Log != nil {
		c.server.Log(format, args...)
	}
}
