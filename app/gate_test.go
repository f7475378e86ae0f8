package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
)

// gateWatch keeps events and the log.
type gateWatch struct {
	mu     sync.Mutex
	events []audit.Event
	lines  bytes.Buffer
}

func (w *gateWatch) Record(e audit.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *gateWatch) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lines.Write(p)
}

// gateJudge hangs up on /hangup, and is stern with /busy and all below it.
func gateJudge(r *http.Request, client netip.Addr, now time.Time) *app.Turned {
	switch {
	case !client.IsLoopback() || now.IsZero():
		panic("the gate knows no client, or no time")
	case r.URL.Path == "/hangup" || r.URL.Path == "/healthz2":
		return &app.Turned{Denied: app.Denied{Control: "edge/dog", Kind: audit.ScannerRefused, Err: errors.New("barked")}, Hangup: true}
	case strings.HasPrefix(r.URL.Path, "/busy"), r.URL.Path == "/healthz":
		return &app.Turned{Denied: app.Denied{Control: "edge/cat", Kind: audit.RateBlocked, Status: 429, Detail: "Too many."}, RetryAfter: 1100 * time.Millisecond}
	}
	return nil
}

func gateServer(t *testing.T) (*httptest.Server, *app.Ring, *gateWatch, *int) {
	t.Helper()
	w := &gateWatch{}
	p := listPolicy(t)
	p.App.Schema = ""
	served := 0
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	ring, err := app.New(p, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ }), app.Deps{
		Log: slog.New(slog.NewJSONHandler(w, nil)), Audit: w, Verifier: callers, Builtin: http.NotFoundHandler(),
		Open: map[string]http.Handler{"/healthz": ok}, Gate: app.Gate{Controls: []string{"edge/dog", "edge/cat"}, Judge: gateJudge},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(ring)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, ring, w, &served
}

func gateDial(t *testing.T, s *httptest.Server, protocol string) *tls.Conn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), &tls.Config{RootCAs: roots, NextProtos: []string{protocol}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestGateHangsUpWithoutAByte(t *testing.T) {
	s, ring, w, served := gateServer(t)
	began := time.Now()
	for _, request := range []string{
		"GET /hangup HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"POST /hangup HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n{",
		"POST /hangup HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n",
		"GET /hangup HTTP/1.0\r\n\r\n",
	} {
		conn := gateDial(t, s, "http/1.1")
		io.WriteString(conn, request)
		if b, err := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%q: %q, %v", request, b, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second { // two would be waited for 3 s each
		t.Errorf("it took %v: who sends no body is waited for", took)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if *served != 0 {
		t.Error("the handler was called")
	}
	if n := ring.Stats().Denials["edge/dog"]; n != 4 {
		t.Errorf("%d of 4 hangups were counted", n)
	}
	if len(w.events) != 4 || w.events[0].Kind != audit.ScannerRefused || w.events[0].Control != "edge/dog" ||
		w.events[0].Client.String() != "127.0.0.1" || w.events[0].Detail != "barked" || w.events[0].RequestID == "" {
		t.Errorf("events: %+v", w.events)
	}
	lines := 0
	for line := range strings.Lines(w.lines.String()) {
		var e map[string]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatal(err)
		}
		if e["msg"] != "request" {
			t.Errorf("the log says %s", line)
			continue
		}
		lines++
		if e["ringwall.control"] != "edge/dog" || e["ringwall.broken_off"] != true || e["http.response.status_code"] != 0.0 {
			t.Errorf("the access log says %s", line)
		}
	}
	if lines != 4 {
		t.Errorf("%d lines in the access log", lines)
	}
}

// Over HTTP/2 one stream ends; the connection and its other streams go on.
func TestGateResetsTheStream(t *testing.T) {
	s, _, _, _ := gateServer(t)
	//lint:ignore SA1019 a client over one connection that is there already
	cc, err := (&http2.Transport{}).NewClientConn(gateDial(t, s, "h2"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) (*http.Response, error) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		t.Cleanup(cancel)
		req, err := http.NewRequestWithContext(ctx, "GET", "https://localhost"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return cc.RoundTrip(req)
	}
	for range 3 {
		var reset http2.StreamError
		if res, err := ask("/hangup"); !errors.As(err, &reset) {
			t.Fatalf("%v, %v: want the stream reset", res, err)
		}
		if res, err := ask("/healthz"); err != nil || res.StatusCode != 200 {
			t.Fatalf("the connection is broken: %v, %v", res, err)
		}
	}
}

// A refusal has all headers of an answer, and is given before the path, the host
// and the method are looked at.
func TestGateAnswersAsTheRingDoes(t *testing.T) {
	s, ring, w, _ := gateServer(t)
	for _, request := range []string{
		"GET /busy HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /busy/../x HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"GET /busy HTTP/1.1\r\nHost: elsewhere.invalid\r\n\r\n", "TRACE /busy HTTP/1.1\r\nHost: localhost\r\n\r\n",
	} {
		conn := gateDial(t, s, "http/1.1")
		io.WriteString(conn, strings.Replace(request, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1))
		res := gateRead(t, conn)
		if res.StatusCode != 429 || res.Header.Get("Retry-After") != "2" || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%q: %d %v", request, res.StatusCode, res.Header)
		}
		for _, name := range []string{"Strict-Transport-Security", "Content-Security-Policy", "X-Content-Type-Options", "X-Request-Id", "Cache-Control"} {
			if res.Header.Get(name) == "" {
				t.Errorf("%q: no %s", request, name)
			}
		}
	}
	if n := ring.Stats().Denials["edge/cat"]; n != 4 {
		t.Errorf("%d of 4 refusals were counted", n)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) != 4 || w.events[0].Kind != audit.RateBlocked || w.events[0].Status != 429 {
		t.Errorf("events: %+v", w.events)
	}
}

// /healthz from this machine is not asked about, and nothing else is spared.
func TestGateSparesHealthChecks(t *testing.T) {
	s, _, _, _ := gateServer(t)
	for path, status := range map[string]int{"/healthz": 200, "/healthz2": 0, "/busy/healthz": 429} {
		conn := gateDial(t, s, "http/1.1")
		io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		got := 0
		if res := gateRead(t, conn); res != nil {
			got = res.StatusCode
		}
		if got != status {
			t.Errorf("GET %s: %d, want %d", path, got, status)
		}
	}
}

// gateRead reads an answer; nil: there was none.
func gateRead(t *testing.T, conn *tls.Conn) *http.Response {
	t.Helper()
	b, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 {
		return nil
	}
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A page of a listed origin can read what it is refused, wherever that happens;
// a page of another one reads nothing.
func TestListedPagesReadEarlyRefusals(t *testing.T) {
	s, _, _, _ := gateServer(t)
	listed := "https://app.example.com"
	for _, tt := range []struct {
		path, host, origin, allow string
		status                    int
	}{
		{"/busy", "", listed, listed, 429},
		{"/busy", "", "https://evil.example", "", 429},
		{"/busy", "", "", "", 429},
		{"/a%2fb", "", listed, listed, 400},
		{"/", "elsewhere.example", listed, listed, 421},
	} {
		r, err := http.NewRequest("GET", s.URL+tt.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if r.Host = tt.host; tt.host == "" {
			r.Host = "localhost"
		}
		if tt.origin != "" {
			r.Header.Set("Origin", tt.origin)
		}
		res, err := s.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		h := res.Header
		if res.StatusCode != tt.status || h.Get("Access-Control-Allow-Origin") != tt.allow || len(h.Values("Access-Control-Allow-Origin")) > 1 {
			t.Errorf("%+v: %d %v", tt, res.StatusCode, h)
		}
		if tt.allow != "" && (!strings.Contains(h.Get("Access-Control-Expose-Headers"), "Retry-After") ||
			h.Get("Access-Control-Allow-Credentials") != "true" || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin")) {
			t.Errorf("%+v: %v", tt, h)
		}
		if tt.status == 429 && h.Get("Retry-After") == "" {
			t.Errorf("%+v: no Retry-After", tt)
		}
	}
}
