package probe_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ringwall/ringwall/check/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listen serves raw connections: the target decides every byte.
func listen(t *testing.T, serve func(net.Conn)) (url string, accepted *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = new(atomic.Int64)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	t.Cleanup(func() { l.Close() })
	return "http://" + l.Addr().String(), accepted
}

// answer reads the request's head and then writes s.
func answer(s string) func(net.Conn) {
	return func(conn net.Conn) {
		if readHead(conn) {
			io.WriteString(conn, s)
		}
	}
}

func readHead(conn net.Conn) bool {
	br := bufio.NewReader(conn)
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return false
		}
		if line == "\r\n" {
			return true
		}
	}
}

// forever writes start and then s again and again until the client goes away.
func forever(start, s string) func(net.Conn) {
	return func(conn net.Conn) {
		if !readHead(conn) {
			return
		}
		chunk := strings.Repeat(s, 1+(16<<10)/len(s))
		for _, err := io.WriteString(conn, start); err == nil; {
			_, err = io.WriteString(conn, chunk)
		}
	}
}

func client(t *testing.T, url string, opts probe.Options) *probe.Client {
	t.Helper()
	c, err := probe.New(url, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTrapHostileTarget: whatever a target does, an answer or an error comes
// within the time given, and memory stays small.
func TestTrapHostileTarget(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name   string
		serve  func(net.Conn)
		status int // 0: an error
	}{
		{"no answer", func(conn net.Conn) { io.Copy(io.Discard, conn) }, 0},
		{"closes at once", func(net.Conn) {}, 0},
		{"not http", answer("SSH-2.0-OpenSSH_9.2\r\n\r\n"), 0},
		{"empty body", answer(ok + "Content-Length: 0\r\n\r\n"), 200},
		{"endless body", forever(ok+"\r\n", "x"), 200},
		{"endless chunks", forever(ok+"Transfer-Encoding: chunked\r\n\r\n", "4\r\nxxxx\r\n"), 0},
		{"chunk of 16 EB", forever(ok+"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", "x"), 200},
		{"chunk length overflow", answer(ok + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx"), 0},
		{"endless headers", forever(ok, "X-A: b\r\n"), 0},
		{"endless header line", forever(ok+"X-A: ", "b"), 0},
		{"endless status line", forever("HTTP/1.1 200 ", "K"), 0},
		{"flood of 1xx", forever("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), 0},
		{"promises more", answer(ok + "Content-Length: 100\r\n\r\nfive!"), 0},
		{"sends more", answer(ok + "Content-Length: 2\r\n\r\n" + strings.Repeat("x", 1<<16)), 200},
		{"negative length", answer(ok + "Content-Length: -1\r\n\r\nx"), 0},
		{"two lengths", answer(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), 0},
		{"nul in a name", answer(ok + "X\x00: 1\r\n\r\n"), 0},
		{"drips", func(conn net.Conn) {
			if !readHead(conn) {
				return
			}
			for _, err := io.WriteString(conn, ok); err == nil; {
				_, err = io.WriteString(conn, "X")
				runtime.Gosched()
			}
		}, 0},
		{"body never ends", func(conn net.Conn) {
			answer(ok + "Content-Length: 100\r\n\r\nx")(conn)
			io.Copy(io.Discard, conn)
		}, 0},
		{"terminal escapes", answer("HTTP/1.1 200 \x1b[2J\r\n\r\n"), 200},
		{"terminal escapes in a header", answer(ok + "X-A: \x1b[31m\r\n\r\n"), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, accepted := listen(t, tt.serve)
			timeout := time.Second
			if tt.status != 0 { // it comes, however busy the machine
				timeout = time.Minute
			}
			c := client(t, url, probe.Options{Timeout: timeout})
			start := time.Now()
			res, err := c.Do(t.Context(), probe.Request{Target: "/"})
			if took := time.Since(start); took > timeout+10*time.Second {
				t.Errorf("it took %v with a timeout of %v", took, timeout)
			}
			if tt.status == 0 {
				if err == nil {
					t.Errorf("answered %d, want an error", res.Status)
				}
			} else if err != nil || res.Status != tt.status || len(res.Body) > 1<<20 {
				t.Errorf("%v, want %d and at most 1 MB", err, tt.status)
			}
			if n := accepted.Load(); n > 1 { // none: one that was given up may not have been looked at
				t.Errorf("%d connections, want 1: it retried", n)
			}
		})
	}
}

// TestTrapHostileMemory: the bytes a target may make us hold are bounded.
func TestTrapHostileMemory(t *testing.T) {
	for name, serve := range map[string]func(net.Conn){
		"headers": forever("HTTP/1.1 200 OK\r\n", "X-A: b\r\n"),
		"body":    forever("HTTP/1.1 200 OK\r\n\r\n", "x"),
	} {
		url, _ := listen(t, serve)
		c := client(t, url, probe.Options{})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.Do(t.Context(), probe.Request{})
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<20 {
			t.Errorf("endless %s: %d MB allocated", name, n>>20)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	url, accepted := listen(t, answer("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"))
	res, err := client(t, url, probe.Options{}).Do(t.Context(), probe.Request{})
	if err != nil || res.Status != 302 || res.Header.Get("Location") != "/" || accepted.Load() != 1 {
		t.Errorf("%+v, %v, %d connections", res, err, accepted.Load())
	}
}

// TestRequestBytes: what is written is what was asked for, untidied.
func TestRequestBytes(t *testing.T) {
	for _, tt := range []struct {
		req  probe.Request
		want string
	}{
		{probe.Request{}, "GET /base?q=1 HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nUser-Agent: ringwall-check\r\n\r\n"},
		{probe.Request{Target: "/a/%2e%2e//b", Host: "Other.", Headers: [][2]string{{"x_forwarded_for", "1"}, {"X-A", "1"}, {"X-A", "2"}}},
			"GET /a/%2e%2e//b HTTP/1.1\r\nHost: Other.\r\nConnection: close\r\nUser-Agent: ringwall-check\r\nx_forwarded_for: 1\r\nX-A: 1\r\nX-A: 2\r\n\r\n"},
		{probe.Request{Method: "POST", Target: "/", Token: "abc", Body: "{}", Headers: [][2]string{{"HOST", "h"}, {"connection", "x"}, {"User-agent", "u"}}},
			"POST / HTTP/1.1\r\nAuthorization: Bearer abc\r\nHOST: h\r\nconnection: x\r\nUser-agent: u\r\nContent-Length: 2\r\n\r\n{}"},
		{probe.Request{Method: "POST", Target: "/", Body: "0\r\n\r\n", Headers: [][2]string{{"Transfer-Encoding", "chunked"}}},
			"POST / HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nUser-Agent: ringwall-check\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	} {
		got := make(chan string, 1)
		url, _ := listen(t, func(conn net.Conn) {
			b := make([]byte, 64<<10)
			n, _ := io.ReadAtLeast(conn, b, len(tt.want))
			got <- string(b[:n])
			io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		})
		want := strings.ReplaceAll(tt.want, "HOST: HOST", "HOST: h")
		want = strings.ReplaceAll(want, "Host: HOST", "Host: "+strings.TrimPrefix(url, "http://"))
		if _, err := client(t, url+"/base?q=1", probe.Options{}).Do(t.Context(), tt.req); err != nil {
			t.Errorf("%+v: %v", tt.req, err)
			continue
		}
		if g := <-got; g != want {
			t.Errorf("wrote %q\n want %q", g, want)
		}
	}
}

// TestEarlyAnswerCounts: a server may refuse a body that it has not read.
func TestEarlyAnswerCounts(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}))
	defer s.Close()
	res, err := client(t, s.URL, probe.Options{}).Do(t.Context(), probe.Request{Method: "POST", Target: "/", Body: strings.Repeat("x", 4<<20)})
	if err != nil || res.Status != 413 {
		t.Errorf("%+v, %v, want 413", res, err)
	}
}

func TestInformationalAnswersAreSkipped(t *testing.T) {
	url, _ := listen(t, answer("HTTP/1.1 103 Early Hints\r\nX-A: early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
	res, err := client(t, url, probe.Options{}).Do(t.Context(), probe.Request{})
	if err != nil || res.Status != 200 || string(res.Body) != "ok" || res.Header.Get("X-A") != "" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestBrokenTLS(t *testing.T) {
	write := func(start, s string) func(net.Conn) {
		return func(conn net.Conn) {
			io.WriteString(conn, start)
			for err := error(nil); err == nil && s != ""; {
				_, err = io.WriteString(conn, s)
			}
			io.Copy(io.Discard, conn)
		}
	}
	plain, _ := listen(t, write("HTTP/1.1 400 Bad Request\r\n\r\n", ""))
	silent, _ := listen(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	alert, _ := listen(t, write("\x15\x03\x01\x00\x02\x02\x28", ""))
	huge, _ := listen(t, write("", "\x16\x03\x03\x40\x00"+strings.Repeat("\xff", 1<<14)))
	for name, url := range map[string]string{"plain http": plain, "silent": silent, "alert": alert, "huge records": huge} {
		c := client(t, "https"+strings.TrimPrefix(url, "http"), probe.Options{Timeout: time.Second})
		start := time.Now()
		if res, err := c.Do(t.Context(), probe.Request{}); err == nil {
			t.Errorf("%s: answered %d", name, res.Status)
		}
		if took := time.Since(start); took > 11*time.Second {
			t.Errorf("%s: %v", name, took)
		}
	}
}

// TestCertificateIsChecked: a check that believes any certificate would prove
// the wrong server.
func TestCertificateIsChecked(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto) }))
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.StartTLS()
	defer s.Close()
	var unknown *tls.CertificateVerificationError
	if _, err := client(t, s.URL, probe.Options{}).Do(t.Context(), probe.Request{}); !errors.As(err, &unknown) {
		t.Errorf("without its root: %v, want a certificate error", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	res, err := client(t, s.URL, probe.Options{TLS: &tls.Config{RootCAs: roots}}).Do(t.Context(), probe.Request{})
	if err != nil || string(res.Body) != "HTTP/1.1" || res.TLS == nil || res.TLS.Version != tls.VersionTLS13 {
		t.Errorf("with its root: %+v, %v", res, err)
	}
}

func TestContextEndsARequest(t *testing.T) {
	entered := make(chan struct{})
	url, _ := listen(t, func(conn net.Conn) {
		readHead(conn)
		close(entered)
		io.Copy(io.Discard, conn)
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := client(t, url, probe.Options{}).Do(ctx, probe.Request{}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want context.Canceled", err)
	}
	if conn, err := client(t, url, probe.Options{}).Dial(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v, %v, want context.Canceled", conn, err)
	}
}

func TestDialHasADeadline(t *testing.T) {
	url, _ := listen(t, func(conn net.Conn) { io.Copy(io.Discard, conn) })
	conn, err := client(t, url, probe.Options{Timeout: 500 * time.Millisecond}).Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var timeout net.Error
	if _, err := conn.Read(make([]byte, 1)); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("reading from a silent target: %v, want a timeout", err)
	}
}

func TestBudget(t *testing.T) {
	url, accepted := listen(t, answer("HTTP/1.1 204 No Content\r\n\r\n"))
	c := client(t, url, probe.Options{MaxRequests: 3})
	fresh, _ := c.Fresh()
	for i, c := range []*probe.Client{c, fresh, c} {
		if _, err := c.Do(t.Context(), probe.Request{}); err != nil {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if _, err := fresh.Do(t.Context(), probe.Request{}); !errors.Is(err, probe.ErrNoRequests) {
		t.Errorf("over the budget: %v", err)
	}
	if _, err := c.Dial(t.Context()); !errors.Is(err, probe.ErrNoRequests) {
		t.Errorf("over the budget, Dial: %v", err)
	}
	if c.Sent() != 3 || accepted.Load() != 3 {
		t.Errorf("sent %d, accepted %d, want 3", c.Sent(), accepted.Load())
	}
}

// TestFresh: a real listener sees another loopback address for every fresh
// client, and never that of the ordinary one.
func TestFresh(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		io.WriteString(w, host)
	}))
	defer s.Close()
	for _, base := range []string{s.URL, strings.Replace(s.URL, "127.0.0.1", "localhost", 1)} {
		c := client(t, base, probe.Options{})
		seen := map[string]bool{}
		from := func(c *probe.Client) {
			res, err := c.Do(t.Context(), probe.Request{})
			if err != nil {
				t.Fatal(err)
			}
			ip := net.ParseIP(string(res.Body))
			if !ip.IsLoopback() || seen[ip.String()] {
				t.Errorf("came from %s: not loopback, or seen before", ip)
			}
			seen[ip.String()] = true
		}
		from(c)
		for range 300 {
			f, ok := c.Fresh()
			if !ok {
				t.Fatal("not fresh on loopback")
			}
			if len(seen) < 20 {
				from(f)
			}
		}
	}
	for _, base := range []string{"https://192.0.2.1", "https://api.example.com", "https://[::1]:8443", "https://localhost.example.com"} {
		c := client(t, base, probe.Options{})
		if f, ok := c.Fresh(); ok || f != c {
			t.Errorf("%s: fresh outside IPv4 loopback", base)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, base := range []string{"", "localhost", "ftp://localhost", "https://", "https:///path", "http://a b", "://"} {
		if c, err := probe.New(base, probe.Options{}); err == nil {
			t.Errorf("%q gives a client of %s", base, c.Base())
		}
	}
}
