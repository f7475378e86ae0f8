package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ringwall/ringwall/edge"
)

func TestConnectionsAreUsedAgain(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		conns  int
	}{
		"length":      {okAnswer, 1},
		"chunks":      {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1},
		"no body":     {"HTTP/1.1 204 No Content\r\n\r\n", 1},
		"closes":      {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 5},
		"HTTP/1.0":    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 5},
		"more behind": {okAnswer + "x", 5},
	} {
		up := newRawUpstream(t, answering(tt.answer, false))
		addr, _ := front(t, up.url)
		for range 5 {
			if got := askRaw(t, addr, get("POST", "")); got.status/100 != 2 {
				t.Errorf("%s: %+v", name, got)
			}
		}
		if _, conns := up.take(); conns != tt.conns {
			t.Errorf("%s: 5 requests took %d connections, want %d", name, conns, tt.conns)
		}
	}
}

// An upstream that answers once and closes the connection as the next request
// comes: nobody can know before. RFC 9110, 9.2.2 says who may be sent again.
func TestRetryOfAConnectionThatCloses(t *testing.T) {
	for name, tt := range map[string]struct {
		request string
		status  int
		sent    int32
	}{
		"GET":              {get("GET", ""), 200, 2},
		"DELETE":           {get("DELETE", ""), 200, 2},
		"PUT with a body":  {get("PUT", "Content-Length: 2\r\n") + "hi", 200, 2},
		"POST":             {get("POST", ""), 502, 1},
		"POST with a body": {get("POST", "Content-Length: 2\r\n") + "hi", 502, 1},
	} {
		t.Run(name, func(t *testing.T) {
			var conns, sent atomic.Int32
			up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
				first := conns.Add(1) == 1
				for n := 0; ; n++ {
					r, _, err := readRequest(br)
					if err != nil {
						return
					}
					if r.URL.Path == "/x" {
						sent.Add(1)
					}
					if first && n == 1 {
						return // without an answer
					}
					_, _ = io.WriteString(c, okAnswer)
				}
			})
			addr, _ := front(t, up.url)
			askRaw(t, addr, "GET /first HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
			if got := askRaw(t, addr, tt.request); got.status != tt.status || sent.Load() != tt.sent {
				t.Errorf("status %d, sent %d times; want %d, %d", got.status, sent.Load(), tt.status, tt.sent)
			}
		})
	}
}

// One that closed the connection before costs nothing: even a POST goes to a
// new connection, since none of it was sent.
func TestConnectionThatWasClosedIsNotUsed(t *testing.T) {
	closed := make(chan struct{}, 1)
	up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
		if _, _, err := readRequest(br); err == nil {
			_, _ = io.WriteString(c, okAnswer)
		}
		c.Close()
		closed <- struct{}{}
	})
	addr, _ := front(t, up.url)
	for range 5 {
		if got := askRaw(t, addr, get("POST", "Content-Length: 2\r\n")+"hi"); got.status != 200 {
			t.Errorf("%+v", got)
		}
		<-closed
	}
}

// An upstream that refuses a body without reading it is heard.
func TestAnswerBeforeTheBodyWasRead(t *testing.T) {
	up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
		r, err := http.ReadRequest(br)
		if err != nil || r.ContentLength != 64<<20 {
			t.Error(r, err)
		}
		_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")
		_, _ = io.Copy(io.Discard, br)
	})
	addr, _ := front(t, up.url)
	req, _ := http.NewRequest("POST", "http://"+addr+"/x", &zeros{64 << 20})
	req.ContentLength = 64 << 20
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 413 {
		t.Errorf("status %d, want 413", res.StatusCode)
	}
}

// A client that breaks its body off is not taken for an upstream that fails,
// and the upstream does not take the half for the whole.
func TestBodyThatBreaksOff(t *testing.T) {
	for name, head := range map[string]string{
		"small":   "Content-Length: 100\r\n\r\nhalf",
		"large":   "Content-Length: 100000\r\n\r\nhalf",
		"chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			whole := make(chan bool, 1)
			up := newRawUpstream(t, func(_ net.Conn, br *bufio.Reader) {
				_, _, err := readRequest(br)
				whole <- err == nil
			})
			addr, failures := serveProxyTo(t, proxyPolicy(up.url), alice)
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, "POST /x HTTP/1.1\r\nHost: h\r\n"+head)
			_ = c.(*net.TCPConn).CloseWrite()
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			c.Close()
			if err == nil && res.StatusCode != edge.StatusClientGone {
				t.Errorf("status %d", res.StatusCode)
			}
			if f := failures(); len(f) != 1 || f[0].Status != edge.StatusClientGone {
				t.Errorf("failures %v", f)
			}
			if name != "small" && <-whole {
				t.Error("the upstream took half a body for a whole one")
			}
		})
	}
}

// A chunked body that cannot be read is the client's fault.
func TestBodyThatIsNoBody(t *testing.T) {
	up := newRawUpstream(t, answering(okAndClose, true))
	addr, _ := front(t, up.url)
	for _, extra := range []string{"", throughHTTPUtil} {
		if got := askRaw(t, addr, get("POST", extra+"Transfer-Encoding: chunked\r\n")+"zz\r\n"); got.status != 400 {
			t.Errorf("%q: status %d, want 400", extra, got.status)
		}
	}
}

// What comes of a stream reaches the client while the next part is waited for,
// however the upstream cuts it.
func TestStreamOfUnknownLengthIsNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
		_, _, _ = readRequest(br)
		for _, part := range []string{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nfirst\r\n", "6", "\r\nsecond\r\n", "0\r\n\r\n"} {
			_, _ = io.WriteString(c, part)
			<-next
		}
	})
	addr, _ := front(t, up.url)
	res, err := http.Get("http://" + addr + "/x") // the head alone has come
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	read := func(want string) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != want {
			t.Fatalf("read %q, %v, want %q", got, err, want)
		}
	}
	next <- struct{}{}
	read("first")
	next <- struct{}{}
	next <- struct{}{}
	read("second")
	next <- struct{}{}
	next <- struct{}{}
	if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
		t.Errorf("then %q, %v", rest, err)
	}
}

func TestAnswerOfNoTypeIsNotGivenOne(t *testing.T) {
	up := newRawUpstream(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 31\r\n\r\n<html><script>1</script></html>", true))
	addr, _ := front(t, up.url)
	for _, extra := range []string{"", throughHTTPUtil} {
		if got := askRaw(t, addr, get("GET", extra)); got.header.Get("Content-Type") != "" || !strings.HasPrefix(got.body, "<html>") {
			t.Errorf("%+v", got)
		}
	}
}
