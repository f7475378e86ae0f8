package http1

import (
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
)

// An exchange is one request and its answer. It is made anew for each request:
// a handler may keep what it was given.
type exchange struct {
	ctx  requestContext
	w    response
	body body
	url  url.URL
}

// blank is what every request is copied from.
var blank = new(http.Request)

func bad(why string) error { return refusal{http.StatusBadRequest, why} }

// parse reads a whole header, to the empty line at its end, as net/http does.
// What it finds wrong is a refusal.
func (c *conn) parse(head string) (*exchange, error) {
	x := &exchange{}
	x.ctx.Context, x.w.x, x.w.conn, x.w.length = c.base, x, c, -1
	r := blank.WithContext(&x.ctx)
	x.w.req = r
	r.RemoteAddr, r.TLS = c.remote, c.tls
	line, rest, _ := strings.Cut(head, "\r\n")
	var ok bool
	if r.Method, line, ok = strings.Cut(line, " "); !ok || !isToken(r.Method) {
		return nil, bad("the request line does not begin with a method")
	}
	if r.RequestURI, r.Proto, ok = strings.Cut(line, " "); !ok {
		return nil, bad("the request line does not end with a version")
	}
	switch r.Proto {
	case "HTTP/1.1":
		r.ProtoMajor, r.ProtoMinor = 1, 1
	case "HTTP/1.0":
		r.ProtoMajor = 1
	default:
		return nil, refusal{http.StatusHTTPVersionNotSupported, "the version is neither HTTP/1.0 nor HTTP/1.1"}
	}
	if err := x.parseTarget(r); err != nil {
		return nil, err
	}
	f, err := parseFields(rest, false)
	if err != nil {
		return nil, err
	}
	r.Header = f.header
	if f.hosts > 1 {
		return nil, bad("two Host headers")
	}
	if f.hosts == 0 && r.ProtoMinor == 1 && r.Method != http.MethodConnect {
		return nil, bad("no Host header")
	}
	if !validHost(f.host) {
		return nil, bad("a malformed Host header")
	}
	if r.Host = r.URL.Host; r.Host == "" {
		r.Host = f.host
	}
	if p := r.Header["Pragma"]; len(p) > 0 && p[0] == "no-cache" && r.Header["Cache-Control"] == nil { // RFC 9111, 5.4
		r.Header["Cache-Control"] = []string{"no-cache"}
	}
	var keep bool
	for _, v := range r.Header["Connection"] {
		r.Close = r.Close || hasToken(v, "close")
		keep = keep || hasToken(v, "keep-alive")
	}
	if r.ProtoMinor == 0 {
		r.Close = r.Close || !keep
		if v := r.Header["Connection"]; len(v) > 0 {
			x.w.keepAlive10 = mentions(v[0], "keep-alive")
		}
	}
	x.w.closeAsked = r.Close
	if v := r.Header["Connection"]; len(v) > 0 {
		x.w.closeAsked = r.Close || mentions(v[0], "close")
	}
	x.w.minor = r.ProtoMinor
	x.w.head = r.Method == http.MethodHead
	if err := x.frame(c, r); err != nil {
		return nil, err
	}
	if e := r.Header["Expect"]; len(e) > 0 {
		switch {
		case !mentions(e[0], "100-continue"):
			if e[0] != "" {
				return nil, refusal{http.StatusExpectationFailed, "Expect is not 100-continue"}
			}
		case r.ProtoMinor == 1 && x.body.present:
			x.body.expected = true
			x.body.mayContinue.Store(true)
		}
	}
	return x, nil
}

// frame says how long the body is (RFC 9112, 6).
func (x *exchange) frame(c *conn, r *http.Request) error {
	b := &x.body
	b.conn, b.x = c, x
	codings, chunked := r.Header["Transfer-Encoding"]
	lengths := r.Header["Content-Length"]
	switch {
	case chunked:
		if len(codings) != 1 || !strings.EqualFold(codings[0], "chunked") {
			return refusal{http.StatusNotImplemented, "Transfer-Encoding is not exactly chunked, once"}
		}
		if len(lengths) > 0 || r.ProtoMinor == 0 {
			return bad("Transfer-Encoding in HTTP/1.0, or beside Content-Length")
		}
		delete(r.Header, "Transfer-Encoding")
		r.TransferEncoding = []string{"chunked"}
		r.ContentLength = -1
		b.present, b.chunked = true, true
		return x.announced(r)
	case len(lengths) > 1:
		return bad("Content-Length twice")
	case len(lengths) == 1:
		n, ok := parseLength(lengths[0])
		if !ok {
			return bad("Content-Length is not a plain number")
		}
		r.ContentLength, b.left = n, n
	}
	if b.present = b.left > 0; !b.present {
		b.over = true
		r.Body = http.NoBody
		return nil
	}
	r.Body = b
	return nil
}

// announced fills Request.Trailer with the names that Trailer announces.
func (x *exchange) announced(r *http.Request) error {
	r.Body = &x.body
	lists, ok := r.Header["Trailer"]
	if !ok {
		return nil
	}
	delete(r.Header, "Trailer")
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.Trim(name, " \t"); name == "" {
				continue
			}
			switch name = textproto.CanonicalMIMEHeaderKey(name); name {
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return bad("the trailer changes the framing")
			}
			if r.Trailer == nil {
				r.Trailer = http.Header{}
			}
			r.Trailer[name] = nil
		}
	}
	return nil
}

// parseTarget reads a request target as net/url does. Most are plain paths.
func (x *exchange) parseTarget(r *http.Request) error {
	path, query, has := strings.Cut(r.RequestURI, "?")
	if plainPath(path) && validValue(query) && (query != "" || !has) {
		x.url = url.URL{Path: path, RawQuery: query}
		r.URL = &x.url
		return nil
	}
	target := r.RequestURI
	authority := r.Method == http.MethodConnect && !strings.HasPrefix(target, "/")
	if authority {
		target = "http://" + target
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return bad("the request target is no URI")
	}
	if authority {
		u.Scheme = ""
	}
	r.URL = u
	return nil
}

// plainPath reports whether net/url takes a path as it is: it begins with one
// slash, and all its bytes stand for themselves.
func plainPath(s string) bool {
	if s == "" || s[0] != '/' || len(s) > 1 && s[1] == '/' {
		return false
	}
	for i := range len(s) {
		if bytesOf[s[i]]&plain == 0 {
			return false
		}
	}
	return true
}

// fields are the lines of a header.
type fields struct {
	header http.Header // without Host
	host   string      // the first one
	hosts  int
}

// MaxFields is how many field lines a header has at most. Programs behind may
// read fewer than came, and say nothing of it: Node reads the first thousand.
const MaxFields = 100

// parseFields reads field lines, up to an empty one: a name of token characters,
// a colon at once behind it, a value without control characters. The values are
// parts of s.
func parseFields(s string, trailer bool) (f fields, err error) {
	lines := strings.Count(s, "\r\n") - 1
	if lines > MaxFields {
		return f, refusal{http.StatusRequestHeaderFieldsTooLarge, "more than 100 header lines"}
	}
	f.header = make(http.Header, lines)
	values := make([]string, 0, lines)
	for s != "\r\n" {
		line, rest, ok := strings.Cut(s, "\r\n")
		if !ok {
			return f, bad("a header without its end")
		}
		s = rest
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) {
			return f, bad("a header name is empty, or not followed by its colon")
		}
		if value = strings.Trim(value, " \t"); !validValue(value) {
			return f, bad("a control character in a header")
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		if name == "Host" && !trailer {
			if f.hosts++; f.hosts == 1 {
				f.host = value
			}
			continue
		}
		if has := f.header[name]; has != nil {
			f.header[name] = append(has, value)
			continue
		}
		values = append(values, value)
		n := len(values)
		f.header[name] = values[n-1 : n : n]
	}
	return f, nil
}

// parseLength reads decimal digits (RFC 9110, 8.6).
func parseLength(s string) (n int64, ok bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// hasToken reports whether a list such as Connection has a token, in any
// letters.
func hasToken(list, token string) bool {
	for list != "" {
		var e string
		e, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(e, " \t"), token) {
			return true
		}
	}
	return false
}

// mentions is hasToken for lists whose elements are parted by blanks, too:
// net/http heeds them, and to end a connection early harms nobody.
func mentions(list, token string) bool {
	for list != "" {
		i := strings.IndexAny(list, ", \t")
		if i < 0 {
			i = len(list)
		}
		if strings.EqualFold(list[:i], token) {
			return true
		}
		list = list[min(i+1, len(list)):]
	}
	return false
}

// What a byte may be part of.
const (
	token = 1 << iota // RFC 9110, 5.6.2
	text              // of a field value: RFC 9110, 5.5
	plain             // of a path, standing for itself
	host              // of a Host header
)

var bytesOf = func() (t [256]uint8) {
	for c := range t {
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] = text
		}
		letter := c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		in := func(s string) bool { return letter || c < 0x80 && strings.IndexByte(s, byte(c)) >= 0 }
		if in("!#$%&'*+-.^_`|~") {
			t[c] |= token
		}
		if in("-_.~/$&+,:=@") {
			t[c] |= plain
		}
		if in("!$%&'()*+,-.:;=[]_~") {
			t[c] |= host
		}
	}
	return t
}()

func isToken(s string) bool {
	for i := range len(s) {
		if bytesOf[s[i]]&token == 0 {
			return false
		}
	}
	return s != ""
}

func validValue(s string) bool {
	for i := range len(s) {
		if bytesOf[s[i]]&text == 0 {
			return false
		}
	}
	return true
}

func validHost(s string) bool {
	for i := range len(s) {
		if bytesOf[s[i]]&host == 0 {
			return false
		}
	}
	return true
}
