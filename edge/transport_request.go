package edge

import (
	"io"
	"net/http"
	"strconv"
	"strings"
)

// compose writes the head of the request to e.out, but for its framing. What is
// ours stands before what is the client's: a server that reads so many fields and
// no more, as Node does, reads ours. It
// reports false for what is not ordinary: an upgrade, CONNECT, trailers, Expect,
// TE, a Connection header that names others, a query that net/url would change,
// and whatever is not HTTP.
func (e *exchange) compose(r *http.Request, o Origin) bool {
	u := r.URL
	if r.Method == http.MethodConnect || !isToken(r.Method) || len(r.Trailer) > 0 || u.Opaque != "" || !cleanQuery(u.RawQuery) {
		return false
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	e.method = r.Method
	b := append(e.out[:0], r.Method...)
	b = append(append(b, ' '), path...)
	if u.ForceQuery || u.RawQuery != "" {
		b = append(append(b, '?'), u.RawQuery...)
	}
	b = append(append(b, " HTTP/1.1\r\nHost: "...), e.proxy.site...)
	b = append(b, "\r\nAccept-Encoding: identity\r\n"...)
	var room [9]field
	for _, f := range e.proxy.told(o, r.Host, room[:0]) {
		if !validValue(f.value) {
			return false
		}
		b = append(append(b, f.name...), ": "...)
		b = append(append(b, f.value...), "\r\n"...)
	}
	for name, values := range r.Header {
		switch kind := judgeName(name); {
		case kind == nameDropped, kind == nameVouched && !o.Proxied:
			continue
		case kind == nameUnusual:
			if !harmless(name, values) {
				return false
			}
			continue
		}
		for _, v := range values {
			if !validValue(v) {
				return false
			}
			b = append(append(b, name...), ": "...)
			b = append(append(b, strings.Trim(v, " \t")...), "\r\n"...)
		}
	}
	e.out = b
	return true
}

// harmless reports whether a header that names the connection asks for nothing
// that is not done anyway.
func harmless(name string, values []string) bool {
	if !strings.EqualFold(name, "Connection") {
		return false
	}
	for _, v := range values {
		if !strings.EqualFold(v, "keep-alive") && !strings.EqualFold(v, "close") {
			return false
		}
	}
	return true
}

// cleanQuery reports whether all programs read a query alike: every percent
// sign begins an escape, and no semicolon parts anything.
func cleanQuery(q string) bool {
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == ';':
			return false
		case c == '%':
			if i+2 >= len(q) || !hexDigit(q[i+1]) || !hexDigit(q[i+2]) {
				return false
			}
			i += 2
		}
	}
	return true
}

func hexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// smallBody is the largest body that is read before the upstream is asked.
const smallBody = bufferSize

// takeBody ends the head with the request's framing. A body that fits into a
// buffer becomes a part of e.out, so that a client that is slow to send it holds
// no connection to the upstream. A chunked one is never waited for: its sender
// may want to see an answer first.
func (e *exchange) takeBody(r *http.Request) error {
	length, body := r.ContentLength, r.Body
	if body == nil || body == http.NoBody {
		length = 0
	}
	switch {
	case length == 0:
		e.frame(nil, 0)
	case length > smallBody:
		e.rest = &restBody{body: body, left: length}
		e.frame(nil, length)
	case length > 0:
		if _, err := io.ReadFull(body, e.in[:length]); err != nil {
			return &badBody{err}
		}
		e.frame(e.in[:length], length)
	default:
		n, err := body.Read(e.in[:smallBody])
		if err == io.EOF {
			e.frame(e.in[:n], int64(n))
			return nil
		}
		if err != nil {
			return &badBody{err}
		}
		e.rest = &restBody{body: body, left: -1}
		e.frame(nil, -1)
		if n > 0 {
			e.out = append(strconv.AppendInt(e.out, int64(n), 16), "\r\n"...)
			e.out = append(append(e.out, e.in[:n]...), "\r\n"...)
		}
	}
	return nil
}

// frame ends the head. A length of -1 stands for chunks.
func (e *exchange) frame(body []byte, length int64) {
	switch {
	case length < 0:
		e.out = append(e.out, "Transfer-Encoding: chunked\r\n"...)
	case length > 0 || e.method == http.MethodPost || e.method == http.MethodPut || e.method == http.MethodPatch:
		e.out = append(e.out, "Content-Length: "...)
		e.out = append(strconv.AppendInt(e.out, length, 10), "\r\n"...)
	}
	e.out = append(append(e.out, "\r\n"...), body...)
}

// badBody is why a client's body could not be read.
type badBody struct{ error }

func (b *badBody) Error() string { return "read the request's body: " + b.error.Error() }
func (b *badBody) Unwrap() error { return b.error }
