package edge_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
)

// rawAPI answers every request of a connection at once, in as little time as
// can be, so that what is measured is the proxy.
func rawAPI(tb testing.TB, answer string) (address string) {
	return "http://" + porttest.Serve(tb, func(c net.Conn) {
		buf := make([]byte, 8<<10)
		for {
			n, err := c.Read(buf)
			if err != nil || !strings.HasSuffix(string(buf[:n]), "\r\n\r\n") {
				return
			}
			if _, err := io.WriteString(c, answer); err != nil {
				return
			}
		}
	})
}

const benchAnswer = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Mon, 02 Nov 2026 08:30:00 GMT\r\nContent-Length: 27\r\n\r\n" +
	`{"id":"4f2c","text":"Milk"}`

// cpuTime is what this process has used, client and upstream among it: other
// than the time on the wall, it does not depend on what else the machine does.
func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkProxy measures one request of one client over loopback TCP: through
// this proxy, through httputil's doing the same, and to a handler that answers
// by itself, which is net/http's own share.
func BenchmarkProxy(b *testing.B) {
	up := rawAPI(b, benchAnswer)
	proxy, err := edge.NewProxy(proxyPolicy(up), edge.Deps{Origin: func(*http.Request) edge.Origin { return alice }})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(proxy.Close)
	target, _ := url.Parse(up)
	peer := &httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Header.Set("X-Ringwall-User", "alice")
		},
	}
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"4f2c","text":"Milk"}`)
	})
	for _, bb := range []struct {
		name    string
		handler http.Handler
	}{{"direct", proxy}, {"httputil", peer}, {"none", own}} {
		b.Run(bb.name, func(b *testing.B) {
			front := httptest.NewServer(bb.handler)
			defer front.Close()
			c, err := net.Dial("tcp", front.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			br := bufio.NewReader(c)
			request := []byte("GET /api/notes/4f2c HTTP/1.1\r\nHost: api.example.com\r\nAuthorization: Bearer " + strings.Repeat("t", 300) +
				"\r\nAccept: application/json\r\nUser-Agent: bench\r\nAccept-Encoding: gzip\r\n\r\n")
			b.ReportAllocs()
			begin := cpuTime()
			for b.Loop() {
				_, _ = c.Write(request)
				res, err := http.ReadResponse(br, nil)
				if err != nil || res.StatusCode != 200 {
					b.Fatal(res, err)
				}
				_, _ = io.Copy(io.Discard, res.Body)
			}
			b.ReportMetric(float64(cpuTime()-begin)/1e3/float64(b.N), "cpu-us/op")
		})
	}
}
