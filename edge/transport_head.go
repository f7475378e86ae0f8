package edge

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// maxHead is how long the head of an answer may be, and its trailers.
const maxHead = 64 << 10

// maxInformed is how many 1xx answers may come before the answer.
const maxInformed = 8

// A responseHead is the head of an answer, parsed.
type responseHead struct {
	status  int
	length  int64 // of the body; -1: not said
	chunked bool
	closes  bool // the connection is not used again
	empty   bool // there is no body, whatever the head says
	fields  []field
	drop    []string // names that Connection lists, as they stand there
}

type field struct{ name, value string }

// badAnswer says what is wrong with the bytes of an upstream.
type badAnswer string

func (b badAnswer) Error() string { return "the upstream's answer is not HTTP/1: " + string(b) }

func (h *responseHead) reset() {
	clear(h.fields)
	clear(h.drop)
	*h = responseHead{fields: h.fields[:0], drop: h.drop[:0]}
}

// readHead reads up to the head of the answer. 1xx answers before it are passed
// on, 100 is not: nobody waits for it.
func (e *exchange) readHead(w http.ResponseWriter) error {
	for range maxInformed + 1 {
		n, err := e.headLength()
		if err != nil {
			return err
		}
		e.head.reset()
		text := string(e.in[e.r : e.r+n]) // the fields are parts of it
		e.r += n
		if err := e.head.parse(text, e.method == http.MethodHead); err != nil {
			return err
		}
		switch s := e.head.status; {
		case s >= 200:
			return nil
		case s == http.StatusSwitchingProtocols:
			return badAnswer("it switches protocols, and was not asked to")
		case s != http.StatusContinue:
			h := w.Header()
			e.head.copyTo(h)
			w.WriteHeader(s)
			clear(h)
			h["Content-Type"] = nil // as ServeHTTP left it
		}
	}
	return badAnswer("too many 1xx answers")
}

// headLength waits for a whole head and returns its length. Every line ends
// with CR LF. What does not begin as HTTP, or has another line end, is refused
// without waiting for more of it.
func (e *exchange) headLength() (int, error) {
	const begin = "HTTP/1."
	for line := e.r; ; { // where the line begins that is looked at
		at := line
		for {
			i := bytes.IndexByte(e.in[at:e.w], '\n')
			if i < 0 {
				break
			}
			end := at + i
			if end == line || e.in[end-1] != '\r' {
				return 0, badAnswer("a line does not end with CR LF")
			}
			if end-line == 1 && line > e.r {
				return end + 1 - e.r, nil
			}
			line, at = end+1, end+1
		}
		if got := e.in[e.r:min(e.w, e.r+len(begin))]; string(got) != begin[:len(got)] {
			return 0, badAnswer("it does not begin with HTTP/1")
		}
		if e.w-e.r >= maxHead {
			return 0, badAnswer("the head is longer than 64 kB")
		}
		if e.r == 0 && e.w == len(e.in) {
			e.in = append(e.in, make([]byte, maxHead-len(e.in))...)
		}
		before := e.r
		if err := e.fill(); err != nil {
			return 0, err
		}
		line -= before - e.r
	}
}

// parse reads a head as RFC 9112, 4 and 5 has it, and refuses what programs
// read in different ways: folded lines, blanks around names, control
// characters, lengths that are not one plain number, and codings other than
// chunked, alone and in HTTP/1.1.
func (h *responseHead) parse(s string, head bool) error {
	h.length = -1
	line, s, _ := strings.Cut(s, "\r\n")
	// HTTP/1.1 200 OK; some servers leave out the blank before a reason of no
	// letters.
	if len(line) < 12 || line[:7] != "HTTP/1." || line[7] != '0' && line[7] != '1' || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return badAnswer("its first line")
	}
	for _, c := range []byte(line[9:12]) {
		if c < '0' || c > '9' {
			return badAnswer("its status is not a number")
		}
		h.status = 10*h.status + int(c-'0')
	}
	if h.status < 100 {
		return badAnswer("its status is not a number")
	}
	if !validValue(line[12:]) {
		return badAnswer("its first line")
	}
	old := line[7] == '0'
	h.closes = old
	length, coding := false, false
	for s != "\r\n" {
		line, s, _ = strings.Cut(s, "\r\n")
		name, value, err := splitField(line)
		if err != nil {
			return err
		}
		name = http.CanonicalHeaderKey(name)
		switch name {
		case "Content-Length":
			if length {
				return badAnswer("two Content-Lengths")
			}
			length = true
			if h.length, err = parseLength(value); err != nil {
				return err
			}
		case "Transfer-Encoding":
			if coding || old || !strings.EqualFold(value, "chunked") {
				return badAnswer("a Transfer-Encoding other than one chunked in HTTP/1.1")
			}
			coding = true
			continue
		case "Connection":
			for option := range strings.SplitSeq(value, ",") {
				switch option = strings.Trim(option, " \t"); {
				case strings.EqualFold(option, "close"):
					h.closes = true
				case option != "" && !strings.EqualFold(option, "keep-alive"):
					h.drop = append(h.drop, option)
				}
			}
			continue
		case "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Upgrade":
			continue
		}
		h.fields = append(h.fields, field{name, value})
	}
	if length && coding {
		return badAnswer("both Content-Length and Transfer-Encoding")
	}
	h.chunked = coding
	switch {
	case h.status < 200 || h.status == http.StatusNoContent:
		if coding {
			return badAnswer(fmt.Sprintf("a Transfer-Encoding with status %d", h.status))
		}
		h.empty, h.closes = true, h.closes || h.length > 0
	case head || h.status == http.StatusNotModified:
		h.empty = true
	case !length && !coding:
		h.closes = true // the end of the connection ends the body
	}
	return nil
}

// splitField reads a field line: a name of token characters, a colon at once
// behind it, and a value.
func splitField(line string) (name, value string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return "", "", badAnswer("a line that is not a field")
	}
	if !validValue(value) {
		return "", "", badAnswer("a control character in a field")
	}
	return name, strings.Trim(value, " \t"), nil
}

// parseLength reads 1*DIGIT (RFC 9112, 6.2).
func parseLength(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || s[0] == '+' {
		return 0, badAnswer("a Content-Length that is not one number")
	}
	return int64(n), nil
}

// validValue reports whether a field value, or a reason, has no control
// characters but tabs (RFC 9110, 5.5).
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isToken is token of RFC 9110, 5.6.2.
func isToken(s string) bool {
	for i := range len(s) {
		if !tokens[s[i]] {
			return false
		}
	}
	return s != ""
}

var tokens = func() (t [256]bool) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}()

// copyTo adds the fields to dst, but for those that Connection lists.
func (h *responseHead) copyTo(dst http.Header) {
	values := make([]string, 0, len(h.fields))
next:
	for _, f := range h.fields {
		for _, name := range h.drop {
			if strings.EqualFold(f.name, name) {
				continue next
			}
		}
		if has := dst[f.name]; has != nil {
			dst[f.name] = append(has, f.value)
			continue
		}
		values = append(values, f.value)
		n := len(values)
		dst[f.name] = values[n-1 : n : n]
	}
}

// streams reports whether the client is to get each part of the body as soon as
// it comes: one of unknown length, and events.
func (h *responseHead) streams() bool {
	if h.empty {
		return false
	}
	if h.length < 0 {
		return true
	}
	for _, f := range h.fields {
		if f.name == "Content-Type" {
			kind, _, _ := strings.Cut(f.value, ";")
			return strings.EqualFold(strings.TrimSpace(kind), "text/event-stream")
		}
	}
	return false
}
