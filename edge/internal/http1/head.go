package http1

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

func (w *response) statusLine(status int) {
	b := w.buf.out
	if status == http.StatusOK && w.minor == 1 {
		w.buf.out = append(b, "HTTP/1.1 200 OK\r\n"...)
		return
	}
	b = append(b, "HTTP/1."...)
	b = append(b, '0'+byte(w.minor), ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	if t := http.StatusText(status); t != "" {
		b = append(b, t...)
	} else {
		b = strconv.AppendInt(append(b, "status code "...), int64(status), 10)
	}
	w.buf.out = append(b, "\r\n"...)
}

// field writes a field, but for those that the server has a say in.
func (w *response) field(name string, values []string) {
	switch len(name) {
	case len("Date"):
		w.hasDate = w.hasDate || name == "Date"
	case len("Trailer"):
		if name == "Trailer" {
			w.announce(values)
		}
	case len("Connection"):
		if strings.EqualFold(name, "Connection") {
			w.connection = values
			return
		}
	case len("Content-Type"):
		if name == "Content-Type" {
			if w.hasType = true; w.status == http.StatusNotModified {
				return
			}
		}
	case len("Content-Length"):
		if strings.EqualFold(name, "Content-Length") {
			w.setLength(values)
			return
		}
	case len("Content-Encoding"):
		if name == "Content-Encoding" {
			w.hasCoded = w.hasCoded || len(values) > 0 && values[0] != ""
		}
	case len("Transfer-Encoding"):
		if strings.EqualFold(name, "Transfer-Encoding") {
			if len(values) > 0 && values[0] != "" {
				w.hasTE, w.identity = true, values[0] == "identity"
			}
			return
		}
	}
	if strings.HasPrefix(name, http.TrailerPrefix) {
		w.trailers = true
		return
	}
	w.appendField(name, values)
}

func (w *response) setLength(values []string) {
	if len(values) == 0 || values[0] == "" {
		return
	}
	n, ok := parseLength(values[0])
	if !ok {
		w.conn.logf("http: invalid Content-Length of %q", values[0])
		return
	}
	w.length = n
}

// announce notes which fields may follow the body (RFC 9110, 6.6.2).
func (w *response) announce(lists []string) {
	for _, list := range lists {
		w.trailers = true
		for name := range strings.SplitSeq(list, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.Trim(name, " \t"))
			if name != "" && !notInTrailers[name] && !strings.HasPrefix(name, "If-") {
				w.announced = append(w.announced, name)
			}
		}
	}
}

// notInTrailers are fields that must be known before the body (RFC 9110, 6.5.1).
var notInTrailers = map[string]bool{
	"Authorization": true, "Cache-Control": true, "Connection": true, "Content-Encoding": true, "Content-Length": true,
	"Content-Range": true, "Content-Type": true, "Expect": true, "Host": true, "Keep-Alive": true, "Max-Forwards": true,
	"Pragma": true, "Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true, "Range": true,
	"Realm": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Www-Authenticate": true,
}

// appendField writes field lines. A value ends no line, and a name that is none
// is left out.
func (w *response) appendField(name string, values []string) {
	if len(values) == 0 || !isToken(name) {
		return
	}
	b := w.buf.out
	for _, v := range values {
		b = append(append(b, name...), ": "...)
		b = append(appendValue(b, v), "\r\n"...)
	}
	w.buf.out = b
}

func appendValue(b []byte, v string) []byte {
	v = textproto.TrimString(v)
	at := len(b)
	b = append(b, v...)
	for i := at; i < len(b); i++ {
		if b[i] == '\r' || b[i] == '\n' {
			b[i] = ' '
		}
	}
	return b
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// begin ends the header. last says that nothing of the body follows first.
func (w *response) begin(first []byte, last bool) {
	w.begun = true
	c := w.conn
	allowed := bodyAllowed(w.status)
	declared := w.length >= 0
	if last && !declared && !w.trailers && !w.hasTE && allowed && (!w.head || len(first) > 0) {
		w.length = int64(len(first))
	}
	if w.hasTE && !w.identity { // it says something else than a length would
		w.length = -1
	}
	known := w.length >= 0
	stopping := c.server.stopping.Load()
	keep10 := false
	if w.keepAlive10 && (w.head || known || !allowed) {
		keep10 = len(w.connection) == 0
	} else if w.minor == 0 || w.closeAsked {
		w.closes.Store(true)
	}
	if stopping || len(w.connection) > 0 && w.connection[0] == "close" {
		w.closes.Store(true)
	}
	forced := w.finishBody()

	b := w.buf.out
	if !w.hasDate {
		b = append(append(append(b, "Date: "...), date()...), "\r\n"...)
	}
	if allowed && !w.hasType && !w.hasCoded && !w.hasTE && len(first) > 0 {
		b = append(append(append(b, "Content-Type: "...), http.DetectContentType(first)...), "\r\n"...)
	}
	switch {
	case w.head || !allowed:
		if allowed && w.length >= 0 {
			b = appendLength(b, w.length)
		}
	case known:
		b = appendLength(b, w.length)
	case w.minor == 1 && !w.identity:
		w.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	default:
		w.closes.Store(true)
	}
	switch {
	case forced, w.closes.Load() && (stopping || !anyToken(w.connection, "close")) && !w.switches():
		if w.minor == 1 {
			b = append(b, "Connection: close\r\n"...)
		}
	case len(w.connection) > 0:
		w.buf.out = b
		w.appendField("Connection", w.connection)
		b = w.buf.out
	case keep10 && !w.closes.Load():
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	w.buf.out = append(b, "\r\n"...)
}

func appendLength(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, "Content-Length: "...), n, 10), "\r\n"...)
}

func anyToken(values []string, token string) bool {
	return len(values) > 0 && mentions(values[0], token)
}

// switches reports an answer that switches protocols (RFC 9110, 15.2.2).
func (w *response) switches() bool {
	return w.status == http.StatusSwitchingProtocols
}

// finishBody reads what is left of the request's body before the answer is sent,
// unless the connection ends anyway. It reports whether it has to.
func (w *response) finishBody() (closes bool) {
	b := &w.x.body
	if !b.present {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.over:
		b.closed = !w.closes.Load() && !w.duplex && !b.expected
	case b.expected: // part of it may come, or the next request
		w.closes.Store(true)
	case w.closes.Load() || w.duplex:
	case b.closed || b.err != nil:
		w.closes.Store(true)
	case !b.chunked && b.left > mostUnread:
		w.closes.Store(true)
		return true
	default:
		whole, err := b.discard()
		b.closed = whole // the handler began to answer: it does not read on
		if w.closes.Store(!whole); !whole && err == nil {
			return true
		}
	}
	return false
}

// appendTrailers writes the fields behind the body: those that were announced,
// and those under http.TrailerPrefix.
func (w *response) appendTrailers() {
	if w.header == nil || !w.trailers && len(w.header) == 0 {
		return
	}
	for name, values := range w.header {
		if bare, ok := strings.CutPrefix(name, http.TrailerPrefix); ok {
			w.appendField(bare, values)
		}
	}
	for _, name := range w.announced {
		w.appendField(name, w.header[name])
	}
}

// A dateText is what Date says in one second.
type dateText struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dateText]

// date is the time in the form of RFC 9110, 5.6.7.
func date() string {
	now := time.Now()
	if d := lastDate.Load(); d != nil && d.second == now.Unix() {
		return d.text
	}
	d := &dateText{now.Unix(), now.UTC().Format(http.TimeFormat)}
	lastDate.Store(d)
	return d.text
}
