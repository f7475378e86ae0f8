package edge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
)

// newH2C serves HTTP/2 without TLS, and nothing else.
func newH2C(t *testing.T, network, address string, h http.HandlerFunc) net.Addr {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	return l.Addr()
}

// An upstream that speaks HTTP/2 gets any request, and gRPC's trailers alone come
// back.
func TestUpstreamOverHTTP2(t *testing.T) {
	api := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		w.Header().Set("Set-Cookie", "own=1")
		fmt.Fprintf(w, "%s %s %s te=%s user=%s n=%d", r.Proto, r.Host, r.RequestURI, r.Header.Get("Te"), r.Header.Get("X-Ringwall-User"), len(body))
		_ = http.NewResponseController(w).Flush()
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "late=1")
		w.Header().Set(http.TrailerPrefix+"Access-Control-Allow-Origin", "*")
	}
	socket := filepath.Join(t.TempDir(), "s")
	for up, addr := range map[string]net.Addr{"h2c://": newH2C(t, "tcp", "127.0.0.1:0", api), "h2c+unix:": newH2C(t, "unix", socket, api)} {
		front, failures := serveProxyTo(t, proxyPolicy(up+addr.String()), alice)
		for _, tt := range []struct{ kind, te, trailers string }{
			{"application/grpc", "trailers", "Grpc-Status: 0"},
			{"application/grpc+proto", "trailers", "Grpc-Status: 0"},
			{"application/json", "", ""},
			{"application/grpcx", "", ""},
		} {
			res, err := http.Post("http://"+front+"/a%20b?c", tt.kind, strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if want := "HTTP/2.0 api.example.com /a%20b?c te=" + tt.te + " user=alice n=5"; string(body) != want || err != nil {
				t.Errorf("%s of %s: %q, %v; want %q", tt.kind, up, body, err, want)
			}
			var got []string
			for name, v := range res.Trailer {
				got = append(got, name+": "+strings.Join(v, "|"))
			}
			slices.Sort(got)
			if strings.Join(got, ", ") != tt.trailers || res.Header.Get("Set-Cookie") != "own=1" {
				t.Errorf("%s of %s: trailers %q, header %v", tt.kind, up, got, res.Header)
			}
		}
		if f := failures(); len(f) > 0 {
			t.Errorf("%s: %+v", up, f)
		}
	}
}

func TestUpstreamsOfTwoProtocols(t *testing.T) {
	p := proxyPolicy("")
	p.Upstreams = []string{"h2c://127.0.0.1:1", "http://127.0.0.1:2"}
	if _, err := edge.NewProxy(p, edge.Deps{}); err == nil || !strings.Contains(err.Error(), "h2c") {
		t.Errorf("%v", err)
	}
}

// A server of HTTP/1.1 behind h2c is a 502, and none of its bytes come through.
func TestUpstreamThatSpeaksNoHTTP2(t *testing.T) {
	up := newRawUpstream(t, answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false))
	front, failures := serveProxyTo(t, proxyPolicy(strings.Replace(up.url, "http:", "h2c:", 1)), alice)
	res, err := http.Get("http://" + front + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 502 || len(failures()) != 1 {
		t.Errorf("%d %v", res.StatusCode, failures())
	}
}

// gRPC's own health check: its answer is a message and a status in the trailers.
func TestGRPCHealth(t *testing.T) {
	for name, tt := range map[string]struct {
		message, status string
		well            bool
	}{
		"serving":     {"\x00\x00\x00\x00\x02\x08\x01", "0", true},
		"not serving": {"\x00\x00\x00\x00\x02\x08\x02", "0", false},
		"unknown":     {"", "5", false},
		"no status":   {"\x00\x00\x00\x00\x02\x08\x01", "", false},
	} {
		addr := newH2C(t, "tcp", "127.0.0.1:0", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if r.Method != "POST" || r.URL.Path != "/grpc.health.v1.Health/Check" || string(body) != "\x00\x00\x00\x00\x00" || r.Header.Get("Te") != "trailers" {
				t.Errorf("%s %s %q", r.Method, r.URL, body)
			}
			w.Header().Set("Content-Type", "application/grpc")
			_, _ = io.WriteString(w, tt.message)
			if tt.status != "" {
				w.Header().Set(http.TrailerPrefix+"Grpc-Status", tt.status)
			}
		})
		p := proxyPolicy("h2c://" + addr.String())
		p.Edge.Health.Path, p.Edge.Health.Every = "/grpc.health.v1.Health/Check", time.Minute
		proxy, err := edge.NewProxy(p, edge.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if err := proxy.Reachable(t.Context()); (err == nil) != tt.well {
			t.Errorf("%s: %v", name, err)
		}
		proxy.Close()
	}
}

// An answer that has begun may be silent for edge.timeouts.read, and an event
// stream for edge.timeouts.stream.
func TestUpstreamThatFallsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for silence")
	}
	const limit = 3 * time.Second
	api := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.URL.Query().Get("type"))
		rest := 0
		if r.URL.Path == "/steady" {
			rest = 8 // in 4.8 s
		}
		for i := 0; ; i++ {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			switch {
			case i < rest:
				<-time.After(limit / 5)
			case rest > 0:
				return
			default:
				<-r.Context().Done()
				return
			}
		}
	}
	up := httptest.NewServer(http.HandlerFunc(api))
	t.Cleanup(up.Close)
	h2c := newH2C(t, "tcp", "127.0.0.1:0", api)
	var all sync.WaitGroup
	for _, behind := range []string{up.URL, "h2c://" + h2c.String()} {
		for _, path := range []string{"/silent", "/steady"} {
			for _, kind := range []string{"application/json", "text/event-stream", "application/grpc+proto"} {
				for _, te := range []string{"", "trailers"} { // directly, and by httputil
					what := behind[:3] + path + " " + kind + " " + te
					all.Go(func() {
						p := proxyPolicy(behind)
						p.Edge.Timeouts.Read, p.Edge.Timeouts.Stream = limit, time.Minute
						if kind != "application/json" {
							p.Edge.Timeouts.Read, p.Edge.Timeouts.Stream = time.Minute, limit
						}
						addr, failures := serveProxyTo(t, p, alice)
						r, err := http.NewRequest("GET", "http://"+addr+path+"?type="+strings.ReplaceAll(kind, "+", "%2B"), nil)
						if err != nil {
							t.Error(err)
							return
						}
						r.Header.Set("Te", te)
						res, err := http.DefaultClient.Do(r)
						if err != nil {
							t.Error(err)
							return
						}
						got, err := io.ReadAll(res.Body)
						res.Body.Close()
						if path == "/steady" {
							if err != nil || string(got) != "xxxxxxxxx" {
								t.Errorf("%s: %q %v", what, got, err)
							}
							return
						}
						if err == nil || string(got) != "x" {
							t.Errorf("%s: %q %v", what, got, err)
						}
						if f := failures(); len(f) != 1 || !f[0].Begun || !strings.Contains(f[0].Err.Error(), "nothing came for 3s") {
							t.Errorf("%s: %+v", what, f)
						}
					})
				}
			}
		}
	}
	all.Wait()
}

// A connection that was switched to another protocol lasts while anything moves
// on it, in either direction.
func TestSwitchedConnectionThatFallsSilent(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for silence")
	}
	up := newRawUpstream(t, func(c net.Conn, br *bufio.Reader) {
		if _, err := http.ReadRequest(br); err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n")
			_, _ = io.Copy(io.Discard, br) // it says nothing
		}
	})
	p := proxyPolicy(up.url)
	p.Edge.Timeouts.Stream = 3 * time.Second
	addr, _ := serveProxyTo(t, p, alice)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: Upgrade\r\nUpgrade: words\r\n\r\n")
	br := bufio.NewReader(c)
	if res, err := http.ReadResponse(br, nil); err != nil || res.StatusCode != 101 {
		t.Fatal(res, err)
	}
	began := time.Now()
	for range 10 {
		<-time.After(400 * time.Millisecond)
		if _, err := io.WriteString(c, "word"); err != nil {
			t.Fatal("it was closed while the client spoke:", err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := br.ReadByte(); err != io.EOF {
		t.Errorf("%v", err)
	}
	if took := time.Since(began); took < 6*time.Second {
		t.Errorf("it was closed after %v", took)
	}
}
