package http3_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/quicvarint"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// fieldSection is a header as QPACK has it without a table (RFC 9204, 4.5.6):
// the library's client would not send most of these.
func fieldSection(fields ...string) []byte {
	integer := func(b []byte, first byte, bits, n int) []byte {
		most := 1<<bits - 1
		if n < most {
			return append(b, first|byte(n))
		}
		b = append(b, first|byte(most))
		for n -= most; n >= 128; n >>= 7 {
			b = append(b, byte(n)|128)
		}
		return append(b, byte(n))
	}
	b := []byte{0, 0}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "= ")
		b = append(integer(b, 0x20, 3, len(name)), name...)
		b = append(integer(b, 0, 7, len(value)), value...)
	}
	return b
}

// frame is RFC 9114, 7.1.
func frame(kind uint64, payload []byte) []byte {
	b := quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload)))
	return append(b, payload...)
}

const (
	data    = 0
	headers = 1
)

// upstream remembers the bytes of one request, and answers it.
type upstream struct {
	net.Listener
	mu   sync.Mutex
	seen bytes.Buffer
}

func (u *upstream) serve() {
	for {
		c, err := u.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			b := make([]byte, 64<<10)
			for {
				n, err := c.Read(b)
				u.mu.Lock()
				u.seen.Write(b[:n])
				whole := strings.HasSuffix(u.seen.String(), "\r\n\r\n") || strings.HasSuffix(u.seen.String(), "{}")
				u.mu.Unlock()
				if err != nil {
					return
				}
				if whole {
					_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")
					return
				}
			}
		}()
	}
}

func (u *upstream) take() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer u.seen.Reset()
	return u.seen.String()
}

// TestTrapHostileRequestsOverHTTP3: what HTTP/1.1 cannot say, and what it can, is
// refused, or reaches an HTTP/1.1 upstream as one request with one reading.
func TestTrapHostileRequestsOverHTTP3(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up := &upstream{Listener: l}
	go up.serve()
	defer l.Close()
	p := policy.Default()
	p.Site, p.Upstream = "localhost", "http://"+l.Addr().String()
	proxy, err := edge.NewProxy(p, edge.Deps{Origin: func(*http.Request) edge.Origin { return edge.Origin{User: "alice"} }})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	s := serve(t, "", proxy.ServeHTTP)
	conn, err := s.dial(t, "localhost")
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string, more ...string) []byte {
		return frame(headers, fieldSection(append([]string{":method= GET", ":scheme= https", ":authority= localhost", ":path= " + path}, more...)...))
	}
	post := func(more ...string) []byte {
		return frame(headers, fieldSection(append([]string{":method= POST", ":scheme= https", ":authority= localhost", ":path= /a"}, more...)...))
	}
	many := func(n int) (lines []string) {
		for range n {
			lines = append(lines, "a= ")
		}
		return lines
	}
	const json = "content-type= application/json"
	for _, tt := range []struct {
		name, want string // of the upstream's bytes; "": none
		stream     []byte
	}{
		{"a request", "GET /a?b HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: identity\r\n", get("/a?b", "x-mine= 1")},
		{"a body", "\r\nContent-Length: 2\r\n\r\n{}", append(post(json, "content-length= 2"), frame(data, []byte("{}"))...)},
		{"100 lines", "\r\nX-Ringwall-User: alice\r\nA:", get("/a", many(100)...)},
		{"101 lines", "", get("/a", many(101)...)},
		{"1000 lines", "", get("/a", many(1000)...)},
		{"cookies in crumbs", "\r\nCookie: a=1; b=2\r\n", get("/a", "cookie= a=1", "cookie= b=2")},
		{"number sign in the query", "", get("/a?q=../etc/passwd#.png")},
		{"number sign in the path", "", get("/a#b")},
		{"bytes outside of ASCII in the query", "GET /a?%C3%A4 HTTP/1.1\r\n", get("/a?\u00e4")},
		{"a request line in the path", "", get("/a HTTP/1.1\r\nX-Ringwall-User: admin\r\n\r\nGET /b")},
		{"a request line in the query", "", get("/a?b HTTP/1.1\r\nX-Ringwall-User: admin\r\n\r\nGET /b")},
		{"a blank in the query", "", get("/a?b c")},
		{"an absolute path", "", get("https://evil.example/a")},
		{"a path without a slash", "", get("a")},
		{"no path", "", frame(headers, fieldSection(":method= GET", ":scheme= https", ":authority= localhost"))},
		{"two paths", "", frame(headers, fieldSection(":method= GET", ":scheme= https", ":authority= localhost", ":path= /a", ":path= /b"))},
		{"no authority", "", frame(headers, fieldSection(":method= GET", ":scheme= https", ":path= /a"))},
		{"another authority", "", frame(headers, fieldSection(":method= GET", ":scheme= https", ":authority= evil.example", ":path= /a"))},
		{"a user in the authority", "", frame(headers, fieldSection(":method= GET", ":scheme= https", ":authority= admin@localhost", ":path= /a"))},
		{"a host beside the authority", "", get("/a", "host= evil.example")},
		{"a blank in the method", "", frame(headers, fieldSection(":method= GET /b HTTP/1.1\r\nX:", ":scheme= https", ":authority= localhost", ":path= /a"))},
		{"a pseudo header behind others", "", get("/a", "x-mine= 1", ":path= /b")},
		{"an unknown pseudo header", "", get("/a", ":user= admin")},
		{"capitals in a name", "", get("/a", "X-Mine= 1")},
		{"a colon in a name", "", get("/a", "x-ringwall-user: admin\r\nx= 1")},
		{"a blank in a name", "", get("/a", "x mine= 1")},
		{"a line end in a value", "", get("/a", "x-mine= 1\r\nX-Ringwall-User: admin")},
		{"a line feed in a value", "", get("/a", "x-mine= 1\nX-Ringwall-User: admin")},
		{"NUL in a value", "", get("/a", "x-mine= 1\x00")},
		{"Connection", "", get("/a", "connection= x-mine", "x-mine= 1")},
		{"Transfer-Encoding", "", append(post(json, "transfer-encoding= chunked"), frame(data, []byte("0\r\n\r\n"))...)},
		{"Upgrade", "", get("/a", "upgrade= websocket")},
		{"another TE", "", get("/a", "te= gzip")},
		{"two lengths", "", append(post(json, "content-length= 2", "content-length= 50"), frame(data, []byte("{}"))...)},
		{"a length that is none", "", append(post(json, "content-length= +2"), frame(data, []byte("{}"))...)},
		{"less than the length", "", append(post(json, "content-length= 50"), frame(data, []byte("{}"))...)},
		{"more than the length", "", append(post(json, "content-length= 2"), frame(data, []byte("{}GET /b HTTP/1.1\r\n\r\n"))...)},
		{"a body of GET without a length", "", append(get("/a"), frame(data, []byte("GET /b HTTP/1.1\r\n\r\n"))...)},
		{"a trailer", "\r\nContent-Length: 2\r\n\r\n{}", append(append(post(json, "content-length= 2"), frame(data, []byte("{}"))...), frame(headers, fieldSection("x-ringwall-user= admin"))...)},
		{"two charsets", "", append(post("content-type= application/json; charset=utf-7; charset*=us-ascii''utf-8", "content-length= 2"), frame(data, []byte("{}"))...)},
		{"two types", "", append(post(json, "content-type= text/plain", "content-length= 2"), frame(data, []byte("{}"))...)},
		{"a header of the ring's", "GET /a HTTP/1.1\r\n", get("/a", "x_ringwall_user= admin")},
		{"data first", "", append(frame(data, []byte("{}")), get("/a")...)},
		{"no header", "", frame(data, []byte("GET /b HTTP/1.1\r\n\r\n"))},
	} {
		if conn.Context().Err() != nil { // the last one ended it
			if conn, err = s.dial(t, "localhost"); err != nil {
				t.Fatal(err)
			}
		}
		str, err := conn.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = str.Write(tt.stream)
		_ = str.Close()
		_ = str.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.Copy(io.Discard, str) // an answer, or a reset
		seen := up.take()
		if (seen == "") != (tt.want == "") || !strings.Contains(seen, tt.want) || strings.Contains(seen, "admin") || strings.Count(seen, "HTTP/1.1") > 1 {
			t.Errorf("%s: the upstream saw %.300q, want %q", tt.name, seen, tt.want)
		}
	}
}
