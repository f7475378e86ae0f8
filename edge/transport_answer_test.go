package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
)

// answers are what upstreams send. stricter: httputil takes it, and it is
// refused here, as another program may read it in another way.
var answers = []struct {
	name, bytes string
	stricter    bool
}{
	{"length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false},
	{"chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nA\r\n0123456789\r\n0\r\n\r\n", false},
	{"chunk extension", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;a=b\r\nhi\r\n0;x\r\n\r\n", false},
	{"trailers", "HTTP/1.1 200 OK\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-T: 1\r\nX-Unannounced: 1\r\n\r\n", false},
	{"to the end", "HTTP/1.1 200 OK\r\n\r\nhi", false},
	{"no body", "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n", false},
	{"no body, length 0", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", false},
	{"not modified", "HTTP/1.1 304 Not Modified\r\nEtag: \"a\"\r\nContent-Length: 12\r\n\r\n", false},
	{"empty", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false},
	{"HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nhi", false},
	{"HTTP/1.0 with a length", "HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi", false},
	{"no reason", "HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nhi", false},
	{"no blank before no reason", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", false},
	{"cookies", "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n", false},
	{"hop by hop", "HTTP/1.1 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nProxy-Authenticate: Basic\r\nX-Other: 1\r\nContent-Length: 2\r\n\r\nhi", false},
	{"UTF-8 in a value", "HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename=\"ä.txt\"\r\nContent-Length: 2\r\n\r\nhi", false},
	{"blanks around a value", "HTTP/1.1 200 OK\r\nX-A: \t 1 \t\r\nX-B:2\r\nX-C:\r\nContent-Length:2\r\n\r\nhi", false},
	{"early hints", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi", false},
	{"a flood of early hints", strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 2000) + "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false},
	{"continue", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 2\r\n\r\nhi", false},
	{"a head of 40 kB", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 40<<10) + "\r\nContent-Length: 2\r\n\r\nhi", false},
	{"1 MB", "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("0123456789abcdef", 1<<16), false},
	{"half a body", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhi", false},
	{"half a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhi", false},
	{"no last chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", false},
	{"chunk of no size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\nhi\r\n0\r\n\r\n", false},
	{"chunk of a negative size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\nhi\r\n0\r\n\r\n", false},
	{"chunk of too large a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000002\r\nhi\r\n0\r\n\r\n", false},
	{"chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhi\r\n0\r\n\r\n", false},
	{"nothing", "", false},
	{"junk", "220 mail.example.com ESMTP\r\n\r\n", false},
	{"HTTP/2", "HTTP/2 200 OK\r\n\r\n", false},
	{"HTTP/1.2", "HTTP/1.2 200 OK\r\nContent-Length: 2\r\n\r\nhi", true},
	{"status of two digits", "HTTP/1.1 20 OK\r\n\r\n", false},
	{"status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", false},
	{"negative status", "HTTP/1.1 -20 OK\r\n\r\n", false},
	{"two different lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", false},
	{"negative length", "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nhi", false},
	{"length with a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", false},
	{"length with letters", "HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nhi", false},
	{"length list", "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", false},
	{"unknown coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi", false},
	{"chunked twice", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false},
	{"coding list", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", false},
	{"blank before the colon", "HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 2\r\n\r\nhi", true},
	{"blank in a name", "HTTP/1.1 200 OK\r\nX A: 1\r\nContent-Length: 2\r\n\r\nhi", true},
	{"line without a colon", "HTTP/1.1 200 OK\r\nX-A\r\nContent-Length: 2\r\n\r\nhi", false},
	{"a head of 70 kB", "HTTP/1.1 200 OK\r\nX-A: " + strings.Repeat("a", 70<<10) + "\r\nContent-Length: 2\r\n\r\nhi", false},
	{"switches unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},

	{"bare LF", "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", true},
	{"one bare LF", "HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 2\r\n\r\nhi", true},
	{"folded line", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\nhi", true},
	{"the same length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", true},
	{"length and coding", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true},
	{"coding in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true},
	{"coding of no body", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", true},
	{"NUL in a value", "HTTP/1.1 200 OK\r\nX-A: a\x00b\r\nContent-Length: 2\r\n\r\nhi", false},
	{"CR in a value", "HTTP/1.1 200 OK\r\nX-A: a\rb\r\nContent-Length: 2\r\n\r\nhi", false},
	{"control character in a value", "HTTP/1.1 200 OK\r\nX-A: a\x01b\r\nContent-Length: 2\r\n\r\nhi", false},
	{"bare LF after a chunk", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\n0\r\n\r\n", false},
	{"bare LF after a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nhi\r\n0\r\n\r\n", false},
	{"blank after a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2 \r\nhi\r\n0\r\n\r\n", true},
}

// bothWays sends a request through the direct transport and through httputil.
func bothWays(tb testing.TB, addr, method string) (direct, peer outcome) {
	return askRaw(tb, addr, get(method, "")), askRaw(tb, addr, get(method, throughHTTPUtil))
}

// alike reports how two outcomes differ, "" if they do not. What came of an
// answer that broke off depends on what was buffered.
func alike(a, b outcome) string {
	if a.broken && b.broken || a.status == 502 && b.status == 502 {
		return ""
	}
	if a.status == 502 && b.broken || b.status == 502 && a.broken {
		return ""
	}
	// A body that has come whole is sent with its length, by httputil in chunks;
	// what httputil answers after a 1xx has a type that net/http guessed.
	for _, name := range []string{"Content-Length", "Content-Type"} {
		if len(a.header[name]) != len(b.header[name]) && (a.header[name] == nil || name == "Content-Length" && a.header.Get(name) == strconv.Itoa(len(a.body))) {
			a.header.Del(name)
			b.header.Del(name)
		}
	}
	if a.status != b.status || a.broken != b.broken || a.body != b.body || !reflect.DeepEqual(a.header, b.header) {
		return fmt.Sprintf("directly %d %v %.100q broken %v; through httputil %d %v %.100q broken %v",
			a.status, a.header, a.body, a.broken, b.status, b.header, b.body, b.broken)
	}
	return ""
}

func TestAnswersAreThoseOfHTTPUtil(t *testing.T) {
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, tt := range answers {
			t.Run(method+" "+tt.name, func(t *testing.T) {
				up := newRawUpstream(t, answering(tt.bytes, true))
				addr, _ := front(t, up.url)
				direct, peer := bothWays(t, addr, method)
				if refused := direct.status == 502 || direct.broken; tt.stricter && method == "GET" {
					if !refused {
						t.Errorf("it is taken: %d %v %q", direct.status, direct.header, direct.body)
					}
					if peer.status == 502 || peer.broken {
						t.Errorf("httputil refuses it too: list it as such")
					}
					return
				} else if tt.stricter && refused {
					return
				}
				if diff := alike(direct, peer); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// Nothing that one answer leaves behind becomes a part of the next one.
func TestTrapSmugglingThroughAnswers(t *testing.T) {
	const smuggled = "HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 8\r\n\r\nsmuggled"
	for name, first := range map[string]string{
		"behind a length":        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + smuggled,
		"behind chunks":          "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + smuggled,
		"behind trailers":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n" + smuggled,
		"behind no body":         "HTTP/1.1 204 No Content\r\n\r\n" + smuggled,
		"in the body of a 204":   "HTTP/1.1 204 No Content\r\nContent-Length: 71\r\n\r\n" + smuggled,
		"behind a 304":           "HTTP/1.1 304 Not Modified\r\nContent-Length: 71\r\n\r\n" + smuggled,
		"behind one that closes": "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi" + smuggled,
		"behind HTTP/1.0":        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi" + smuggled,
	} {
		for _, method := range []string{"GET", "HEAD"} {
			t.Run(method+" "+name, func(t *testing.T) {
				var n atomic.Int32
				up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
					for {
						if _, _, err := readRequest(br); err != nil {
							return
						}
						if n.Add(1) == 1 {
							_, _ = io.WriteString(c, first)
						} else {
							_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
						}
					}
				})
				addr, _ := front(t, up.url)
				if got := askRaw(t, addr, get(method, "")); strings.Contains(got.body, "smuggled") {
					t.Errorf("the first answer is %+v", got)
				}
				if got := askRaw(t, addr, get("GET", "")); got.body != "next" || got.header.Get("X-Smuggled") != "" {
					t.Errorf("the second answer is %+v", got)
				}
			})
		}
	}
}

// What an upstream sends between two requests is not the answer to the second.
func TestTrapAnswerThatNobodyAskedFor(t *testing.T) {
	sent := make(chan struct{}, 1)
	up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
		for {
			if _, _, err := readRequest(br); err != nil {
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
			sent <- struct{}{}
		}
	})
	addr, _ := front(t, up.url)
	for range 3 {
		if got := askRaw(t, addr, get("POST", "")); got.status != 200 || got.body != "hi" {
			t.Fatalf("%+v", got)
		}
		<-sent // what came after the next request would be an answer to that
	}
}

// FuzzProxyAnswer has an upstream send anything: the client gets what it would
// get through httputil, or a refusal where that is stricter on purpose.
func FuzzProxyAnswer(f *testing.F) {
	for _, tt := range answers {
		if len(tt.bytes) < 1<<10 {
			f.Add([]byte(tt.bytes), false)
			f.Add([]byte(tt.bytes), true)
		}
	}
	var answer atomic.Pointer[[]byte]
	up := newRawUpstream(f, func(c net.Conn, br *bufio.Reader) {
		if _, _, err := readRequest(br); err != nil {
			return
		}
		_, _ = c.Write(*answer.Load())
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, br)
	})
	addr, failure := front(f, up.url)
	f.Fuzz(func(t *testing.T, b []byte, head bool) {
		answer.Store(&b)
		up.take()
		method := "GET"
		if head {
			method = "HEAD"
		}
		direct := askRaw(t, addr, get(method, ""))
		why := failure()
		peer := askRaw(t, addr, get(method, throughHTTPUtil))
		if diff := alike(direct, peer); diff != "" && (why == nil || !strings.Contains(why.Error(), "not HTTP/1")) {
			t.Errorf("%s\nfailure: %v", diff, why)
		}
		for name := range maps.Keys(direct.header) {
			if name != http.CanonicalHeaderKey(name) {
				t.Errorf("header %q", name)
			}
		}
	})
}
