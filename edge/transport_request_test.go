package edge_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// wellFormed judges what an upstream has read: nothing, or requests of one
// framing each, with lines that end with CR LF and our headers once.
func wellFormed(read string) error {
	br := bufio.NewReader(strings.NewReader(read))
	for n := 0; ; n++ {
		if _, err := br.Peek(1); err == io.EOF {
			return nil
		}
		if n > 1 {
			return fmt.Errorf("more than a request and its retry")
		}
		rest, _ := io.ReadAll(br)
		head, _, ok := bytes.Cut(rest, []byte("\r\n\r\n"))
		if !ok {
			return fmt.Errorf("a head without an end: %q", rest)
		}
		lines := strings.Split(string(head), "\r\n")
		if strings.ContainsAny(strings.Join(lines, ""), "\r\n\x00") || strings.Contains(lines[0], "#") || strings.Count(lines[0], " ") != 2 || !strings.HasSuffix(lines[0], " HTTP/1.1") {
			return fmt.Errorf("the head is not HTTP/1.1: %q", head)
		}
		count := map[string]int{}
		for _, l := range lines[1:] {
			name, _, ok := strings.Cut(l, ":")
			if !ok || name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
				return fmt.Errorf("not a field: %q", l)
			}
			count[strings.ToLower(name)]++
		}
		for _, name := range []string{"host", "x-ringwall-user", "x-forwarded-for", "accept-encoding"} {
			if count[name] != 1 {
				return fmt.Errorf("%d times %s in %q", count[name], name, head)
			}
		}
		if count["content-length"]+count["transfer-encoding"] > 1 {
			return fmt.Errorf("two framings: %q", head)
		}
		br = bufio.NewReader(bytes.NewReader(rest))
		r, body, err := readRequest(br)
		if err != nil {
			return fmt.Errorf("%w in %q", err, rest)
		}
		if r.Host != "api.example.com" || r.Header.Get("X-Ringwall-User") != "alice" {
			return fmt.Errorf("host %q, user %q, body %q", r.Host, r.Header.Get("X-Ringwall-User"), body)
		}
	}
}

const (
	okAnswer   = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	okAndClose = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
)

// smuggledRequests are what clients send, byte for byte. Whatever net/http makes of
// them, the upstream sees one well-formed request, or none.
var smuggledRequests = []string{
	"GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 44\r\n\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: h\r\n\r\n      ",
	"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: h\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\nHost: h\r\nContent_Length: 50\r\nContent-Length: 5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: h\r\nConnection: content-length\r\nContent-Length: 5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\nHost: h\r\nConnection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"POST /x HTTP/1.1\r\nHost: h\r\nConnection: host, x-ringwall-user\r\nContent-Length: 5\r\n\r\nhello",
	"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;\x00=\"\r\n\"\r\nhello\r\n0\r\nHost: evil\r\nContent-Length: 3\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\r\n folded: 2\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: h\r\nX-A: 1\nContent-Length: 5\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: h\r\nX-A : 1\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: h\r\nX-A: a\rContent-Length: 5\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: h\r\nHost: evil\r\n\r\n",
	"GET http://evil/x HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET //evil/x HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /x?a=%0d%0aX-Ringwall-User:%20admin HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /%0d%0aX-Ringwall-User:%20admin HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /a%20HTTP/1.0%0d%0a HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /x?a=1;b=%zz HTTP/1.1\r\nHost: h\r\n\r\n",
	"GET /x?\x80 HTTP/1.1\r\nHost: h\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
	"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
	"GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n",
	"GET /x HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"X-SMUGGLE /x HTTP/1.1\r\nHost: h\r\n\r\n",
}

func TestTrapSmugglingThroughRequests(t *testing.T) {
	for _, request := range smuggledRequests {
		t.Run("", func(t *testing.T) {
			var up *rawUpstream
			var answer []byte
			t.Cleanup(func() { // once the upstream has ended: it may read what is sent after the answer
				read, _ := up.take()
				// net/http may see two requests in the bytes; the upstream then sees the same two.
				// It may see that the client has closed before it has all: then the rest is not sent.
				if err := wellFormed(read); err != nil && !(errors.Is(err, io.ErrUnexpectedEOF) && strings.HasPrefix(string(answer), "HTTP/1.1 499 ")) {
					t.Errorf("%q was answered %.40q, and the upstream saw %v", request, answer, err)
				}
			})
			up = newRawUpstream(t, answering(okAndClose, true))
			addr, _ := front(t, up.url)
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, _ = io.WriteString(c, request)
			_ = c.(*net.TCPConn).CloseWrite()
			_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
			answer, _ = io.ReadAll(c)
		})
	}
}

// What no HTTP/1.1 client can send, HTTP/2 can, or another handler in front.
func TestTrapRequestsThatHTTP1CannotSay(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"blank in the query":         func(r *http.Request) { r.URL.RawQuery = "a HTTP/1.1\r\nX-Ringwall-User: admin" },
		"blank alone in the query":   func(r *http.Request) { r.URL.RawQuery = "a b" },
		"number sign in the query":   func(r *http.Request) { r.URL.RawQuery = "a#b" },
		"line end in the path":       func(r *http.Request) { r.URL.Path = "/a\r\nX-Ringwall-User: admin" },
		"raw path that lies":         func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/a", "/b c" },
		"path without a slash":       func(r *http.Request) { r.URL.Path = "x" },
		"raw path without a slash":   func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/x", "%2Fx" },
		"blank in the method":        func(r *http.Request) { r.Method = "GET /hidden HTTP/1.1\r\nX:" },
		"no method":                  func(r *http.Request) { r.Method = "" },
		"line end in a value":        func(r *http.Request) { r.Header["X-A"] = []string{"1\r\nX-Ringwall-User: admin"} },
		"line end in a name":         func(r *http.Request) { r.Header["X-A\r\nX-Ringwall-User"] = []string{"admin"} },
		"colon in a name":            func(r *http.Request) { r.Header["X-Ringwall-User: admin\r\nX-A"] = []string{"1"} },
		"names in small letters":     func(r *http.Request) { r.Header["x-ringwall-user"] = []string{"admin"} },
		"framing in small letters":   func(r *http.Request) { r.Header["content-length"] = []string{"50"} },
		"coding in small letters":    func(r *http.Request) { r.Header["transfer-encoding"] = []string{"chunked"} },
		"framing of a body's header": func(r *http.Request) { r.Header["Content-Length"] = []string{"50"} },
		"host in the header":         func(r *http.Request) { r.Header["Host"] = []string{"evil"} },
		"opaque target":              func(r *http.Request) { r.URL = &url.URL{Opaque: "//evil/x y"} },
		"longer than its length":     func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("hello, and more")), 5 },
		"shorter than its length":    func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("hello")), 50 },
	} {
		t.Run(name, func(t *testing.T) {
			var up *rawUpstream
			t.Cleanup(func() { // once the upstream has ended
				if read, _ := up.take(); wellFormed(read) != nil {
					t.Error(wellFormed(read))
				}
			})
			up = newRawUpstream(t, answering(okAndClose, true))
			r := httptest.NewRequest("POST", "http://api.example.com/x", nil)
			r.Header["Content-Type"] = []string{"text/plain"}
			change(r)
			handlerTo(t, up.url).ServeHTTP(httptest.NewRecorder(), r)
		})
	}
}

// Servers that read so many fields and no more see what is ours, and the proxy
// sends no more than a hundred of a client's, whatever stands in front of it.
func TestTrapManyHeaderLines(t *testing.T) {
	up := newRawUpstream(t, answering(okAndClose, true))
	h := handlerTo(t, up.url)
	for _, tt := range []struct {
		lines, status int
		more          http.Header
	}{
		{100, 200, http.Header{}},
		{101, 431, http.Header{}},
		{101, 431, http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}},
		{101, 431, http.Header{"Te": {"trailers"}}},
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "http://api.example.com/x", nil)
		r.Header = tt.more
		r.Header["A"] = make([]string, tt.lines-len(tt.more))
		h.ServeHTTP(w, r)
		read, _ := up.take()
		if w.Code != tt.status || (read != "") != (tt.status == 200) {
			t.Errorf("%d lines: %d, the upstream saw %q", tt.lines, w.Code, read)
		}
		ours, _, _ := strings.Cut(read, "\r\nA:")
		if read != "" && strings.Count(ours, "\r\nX-") != 8 || strings.Count(ours, "Accept-Encoding:") != strings.Count(read, "Accept-Encoding:") {
			t.Errorf("before the client's fields stands %q", ours)
		}
	}
}

func handlerTo(tb testing.TB, url string) *edge.Proxy {
	tb.Helper()
	p, err := edge.NewProxy(proxyPolicy(url), edge.Deps{Origin: func(*http.Request) edge.Origin { return alice }})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.Close)
	return p
}

// FuzzProxyRequest has a handler in front pass on anything that an http.Request
// can hold.
func FuzzProxyRequest(f *testing.F) {
	f.Add("GET", "/x", "", "a=1", "X-A", "1", []byte(nil), int64(0))
	f.Add("POST", "/a b", "/a%20b", "a;b", "Connection", "close", []byte("hello"), int64(5))
	f.Add("PUT", "/", "", "%", "Te", "trailers", []byte("hello"), int64(-1))
	f.Add("GET", "/x", "", "a#b", "A", "1", []byte(nil), int64(0))
	f.Add("GET", "*", "", " ", "Upgrade", "x", []byte("hello"), int64(3))
	up := newRawUpstream(f, answering(okAndClose, true))
	h := handlerTo(f, up.url)
	f.Fuzz(func(t *testing.T, method, path, raw, query, name, value string, body []byte, length int64) {
		r := httptest.NewRequest("POST", "http://api.example.com/x", nil)
		r.Method, r.URL = method, &url.URL{Path: path, RawPath: raw, RawQuery: query}
		r.Header = http.Header{name: {value}}
		if r.ContentLength = max(length, -1); length > int64(len(body)) {
			return // it breaks off, and the upstream may see that after the next one has begun
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		up.take()
		h.ServeHTTP(httptest.NewRecorder(), r)
		if read, _ := up.take(); wellFormed(read) != nil {
			t.Error(wellFormed(read))
		}
	})
}

// The upstream is told the same on both ways.
func TestRequestsAreThoseOfHTTPUtil(t *testing.T) {
	up := newRawUpstream(t, answering(okAndClose, true))
	addr, _ := front(t, up.url)
	for _, request := range []string{
		get("GET", ""),
		get("DELETE", "X-A: 1\r\nX-A: 2\r\nCookie: a=1\r\nAuthorization: Bearer t\r\nAccept-Encoding: br\r\nUser-Agent: x\r\nKeep-Alive: 5\r\n"),
		"GET /a%20b/%C3%A4?x=%2F&y=a+b&z HTTP/1.1\r\nHost: api.example.com:8443\r\nConnection: close\r\n\r\n",
		"GET /a? HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello",
		"POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
		"PATCH /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"POST /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("0123456789", 10000),
	} {
		saw := func(request string) []string {
			if got := askRaw(t, addr, request); got.status != 200 {
				t.Errorf("%.60q was answered %+v", request, got)
			}
			read, _ := up.take()
			r, body, err := readRequest(bufio.NewReader(strings.NewReader(read)))
			if err != nil {
				t.Fatalf("%.60q: %v", request, err)
			}
			lines := []string{r.Method + " " + r.RequestURI + " " + r.Host, string(body)}
			delete(r.Header, "Content-Length") // a chunked body that has come whole has one
			for name, v := range r.Header {
				lines = append(lines, fmt.Sprintf("%s: %q", name, v))
			}
			slices.Sort(lines)
			return lines
		}
		direct, peer := saw(request), saw(strings.Replace(request, "\r\n", "\r\n"+throughHTTPUtil, 1))
		if !slices.Equal(direct, peer) {
			t.Errorf("%.60q: the upstream saw\n%.2000q directly and\n%.2000q through httputil", request, direct, peer)
		}
	}
}
