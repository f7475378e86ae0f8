package edge_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// A rawUpstream is an API that is nothing but bytes: serve gets every
// connection, with a reader that remembers what was read.
type rawUpstream struct {
	url   string
	mu    sync.Mutex
	seen  bytes.Buffer
	conns int
}

func (u *rawUpstream) Write(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.seen.Write(p)
}

// take returns what the upstream has read, and forgets it.
func (u *rawUpstream) take() (read string, conns int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	read, conns = u.seen.String(), u.conns
	u.seen.Reset()
	u.conns = 0
	return read, conns
}

func newRawUpstream(tb testing.TB, serve func(c net.Conn, br *bufio.Reader)) *rawUpstream {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	u := &rawUpstream{url: "http://" + l.Addr().String()}
	var all sync.WaitGroup
	tb.Cleanup(all.Wait)
	tb.Cleanup(func() { l.Close() })
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.conns++
			u.mu.Unlock()
			all.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(io.TeeReader(c, u)))
			})
		}
	})
	return u
}

// readRequest reads one request to its end.
func readRequest(br *bufio.Reader) (*http.Request, []byte, error) {
	r, err := http.ReadRequest(br)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(r.Body)
	return r, body, err
}

// answering writes the same bytes for every request, and closes after each
// when it is told so.
func answering(answer string, closes bool) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, br *bufio.Reader) {
		for {
			if _, _, err := readRequest(br); err != nil {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
			if closes {
				_ = c.(*net.TCPConn).CloseWrite()
				_, _ = io.Copy(io.Discard, br) // closing at once would reset what was written
				return
			}
		}
	}
}

// outcome is what a client got.
type outcome struct {
	status int
	header http.Header
	body   string
	broken bool // the answer has no end, or there was none
}

// askRaw sends one request on a connection of its own and reads the answer.
func askRaw(tb testing.TB, addr, request string) outcome {
	tb.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		tb.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	br := bufio.NewReader(c)
	for {
		res, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return outcome{broken: true}
		}
		if res.StatusCode < 200 && res.StatusCode != 101 {
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Header.Del("Date")
		return outcome{res.StatusCode, res.Header, string(body), err != nil}
	}
}

// TE is dropped on both ways, and only httputil takes it: the same request with
// it and without it goes both ways.
const throughHTTPUtil = "TE: trailers\r\n"

func get(method, extra string) string {
	return method + " /x HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n" + extra + "\r\n"
}

// front runs a proxy in front of the upstreams, and tells what failed last.
func front(tb testing.TB, url string) (addr string, failure func() error) {
	tb.Helper()
	var mu sync.Mutex
	var last error
	p := proxyPolicy(url)
	p.Edge.Timeouts.Read = 12 * time.Second
	proxy, err := edge.NewProxy(p, edge.Deps{
		Origin: func(*http.Request) edge.Origin { return alice },
		Failed: func(w http.ResponseWriter, _ *http.Request, f edge.Failure) {
			mu.Lock()
			last = f.Err
			mu.Unlock()
			if !f.Begun {
				w.Header().Set("X-Failed", strconv.Itoa(f.Status))
				http.Error(w, f.Detail, f.Status)
			}
		},
	})
	if err != nil {
		tb.Fatal(err)
	}
	srv := httptest.NewServer(proxy)
	tb.Cleanup(srv.Close)
	tb.Cleanup(proxy.Close)
	return srv.Listener.Addr().String(), func() error {
		mu.Lock()
		defer mu.Unlock()
		err := last
		last = nil
		return err
	}
}
