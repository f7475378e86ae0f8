package app_test

import (
	"bufio"
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// protocolPolicy lets anyone call everything on localhost, as often as it likes.
func protocolPolicy(change ...func(*policy.Policy)) *policy.Policy {
	p := policy.Default()
	p.Site = "localhost"
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	p.App.Limits = map[string]policy.Limit{"global": {Requests: 1_000_000, Per: time.Second}}
	for _, f := range change {
		f(p)
	}
	return p
}

// protocolLog keeps what a ring's handler and its audit sink were given.
type protocolLog struct {
	mu     sync.Mutex
	seen   []*http.Request
	events []audit.Event
	answer http.HandlerFunc // before ok is written
}

func (l *protocolLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.mu.Lock()
	l.seen = append(l.seen, r)
	l.mu.Unlock()
	if l.answer != nil {
		l.answer(w, r)
	}
	io.WriteString(w, "ok")
}

func (l *protocolLog) Record(e audit.Event) {
	l.mu.Lock()
	l.events = append(l.events, e)
	l.mu.Unlock()
}

// requests are those that reached the handler, as "METHOD target".
func (l *protocolLog) requests() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, r := range l.seen {
		out = append(out, r.Method+" "+r.RequestURI)
	}
	return out
}

// kinds are the events, as "kind control".
func (l *protocolLog) kinds() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []string
	for _, e := range l.events {
		out = append(out, string(e.Kind)+" "+e.Control)
	}
	return out
}

// protocolAnyone takes any token for a good one.
type protocolAnyone struct{}

func (protocolAnyone) Verify(context.Context, string) (*app.Caller, error) {
	return &app.Caller{Subject: "anyone"}, nil
}

func protocolRing(t testing.TB, l *protocolLog, change ...func(*policy.Policy)) *app.Ring {
	t.Helper()
	ring, err := app.New(protocolPolicy(change...), l, app.Deps{Audit: l, Verifier: protocolAnyone{}})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// protocolServer serves the ring on a loopback listener.
func protocolServer(t testing.TB, l *protocolLog, change ...func(*policy.Policy)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(protocolRing(t, l, change...))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Config.DisableGeneralOptionsHandler = true
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// protocolSend writes bytes on a connection of their own and returns the
// statuses of all answers up to the end of the connection. What is sent must
// lead to that end; the deadline only keeps a broken test from hanging.
func protocolSend(t testing.TB, s *httptest.Server, bytes string) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, bytes); err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(conn)
	for {
		if _, err := br.Peek(1); err != nil {
			if err, ok := err.(net.Error); ok && err.Timeout() {
				t.Error("the connection stayed open")
			}
			return statuses
		}
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			t.Fatalf("after %v: %v", statuses, err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, res.StatusCode)
	}
}

const protocolHidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

// Requests whose end two programs could see in two places (RFC 9112, 6 and
// 11.2). Behind each stands a second one, which no handler may see.
func TestTrapSmuggling(t *testing.T) {
	const head = "POST /first HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
	refused := []int{400}
	tests := map[string]struct {
		send     string
		statuses []int
		first    bool // the first request is served
	}{
		// RFC 9112, 6.1: either refuse, or follow the coding and close.
		"length and coding":        {head + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{200}, true},
		"coding and length":        {head + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{200}, true},
		"length and coding, empty": {head + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{200}, true},
		"coding folded":            {head + "Content-Length: 4\r\nTransfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{200}, true},
		"coding behind a bare LF":  {head + "X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{200}, true},
		"bad name in a trailer":    {head + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX : y\r\n\r\n", []int{200}, true},
		"refused before the coding is used": {strings.Replace(head, "/first", "/a;b", 1) +
			"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", refused, false},
		"HTTP/1.0 with a coding": {"POST /first HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n" +
			"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", []int{200}, true},

		"two lengths":             {head + "Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}", refused, false},
		"two lengths in one line": {head + "Content-Length: 2, 4\r\n\r\n{}", refused, false},
		"length with a sign":      {head + "Content-Length: +2\r\n\r\n{}", refused, false},
		"length below zero":       {head + "Content-Length: -2\r\n\r\n{}", refused, false},
		"length in hex":           {head + "Content-Length: 0x2\r\n\r\n{}", refused, false},
		"length folded":           {head + "Content-Length: 2\r\n 4\r\n\r\n{}", refused, false},
		"blank before the colon":  {head + "Content-Length : 2\r\n\r\n{}", refused, false},
		"blank before the name":   {"POST /first HTTP/1.1\r\n Content-Length: 2\r\nHost: localhost\r\n\r\n{}", refused, false},
		"no colon":                {head + "Content-Length\r\n\r\n", refused, false},
		"CR in a value":           {head + "X-A: b\rContent-Length: 2\r\n\r\n", refused, false},
		"NUL in a value":          {head + "X-A: b\x00\r\n\r\n", refused, false},
		"NUL in a name":           {head + "X-A\x00: b\r\n\r\n", refused, false},

		// Codings that are not chunked alone (RFC 9112, 6.1: 501).
		"chunked twice":          {head + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", []int{501}, false},
		"chunked in two lines":   {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{501}, false},
		"chunked not last":       {head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", []int{501}, false},
		"identity":               {head + "Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", []int{501}, false},
		"unknown coding":         {head + "Transfer-Encoding: xchunked\r\nContent-Length: 2\r\n\r\n{}", []int{501}, false},
		"vertical tab in coding": {head + "Transfer-Encoding: \x0bchunked\r\nContent-Length: 2\r\n\r\n{}", refused, false},

		"no host":               {"GET /first HTTP/1.1\r\n\r\n", refused, false},
		"two hosts":             {"GET /first HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", refused, false},
		"two hosts, folded":     {"GET /first HTTP/1.1\r\nHost: localhost\r\n evil.example\r\n\r\n", refused, false},
		"two blanks in a line":  {"GET  /first HTTP/1.1\r\nHost: localhost\r\n\r\n", refused, false},
		"a blank in the path":   {"GET /first /a HTTP/1.1\r\nHost: localhost\r\n\r\n", refused, false},
		"version in lower case": {"GET /first http/1.1\r\nHost: localhost\r\n\r\n", refused, false},
		"no version":            {"GET /first\r\nHost: localhost\r\n\r\n", refused, false},
		"HTTP/2 preface":        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", refused, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			l := &protocolLog{answer: func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }}
			s := protocolServer(t, l)
			got := protocolSend(t, s, tt.send+protocolHidden)
			if !slices.Equal(got, tt.statuses) {
				t.Errorf("answered %v, want %v", got, tt.statuses)
			}
			var want []string
			if tt.first {
				want = []string{"POST /first"}
			}
			if seen := l.requests(); !slices.Equal(seen, want) {
				t.Errorf("the handler saw %q, want %q", seen, want)
			}
		})
	}
}

// Chunks that only some programs read (RFC 9112, 7.1; CVE-2025-22871): reading
// the body fails and nothing behind it is taken for a request.
func TestTrapSmugglingChunks(t *testing.T) {
	for name, body := range map[string]string{
		"bare LF after the size":     "2\n{}\r\n0\r\n\r\n",
		"bare LF in an extension":    "2;a\n{}\r\n0\r\n\r\n",
		"bare LF after the data":     "2\r\n{}\n0\r\n\r\n",
		"sign":                       "+2\r\n{}\r\n0\r\n\r\n",
		"hex prefix":                 "0x2\r\n{}\r\n0\r\n\r\n",
		"size of 17 digits":          "00000000000000002\r\n{}\r\n0\r\n\r\n",
		"negative":                   "-2\r\n{}\r\n0\r\n\r\n",
		"size that overflows":        "ffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
		"more data than size":        "1\r\n{}\r\n0\r\n\r\n",
		"no size":                    "\r\n{}\r\n0\r\n\r\n",
		"trailer that never ends":    "2\r\n{}\r\n0\r\nX: y\r\n",
		"trailer without a colon":    "2\r\n{}\r\n0\r\nContent-Length\r\n\r\n",
		"connection ends in a chunk": "f\r\n{}",
	} {
		t.Run(name, func(t *testing.T) {
			var read error
			l := &protocolLog{answer: func(_ http.ResponseWriter, r *http.Request) { _, read = io.Copy(io.Discard, r.Body) }}
			s := protocolServer(t, l)
			send := "POST /first HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n" + body
			if !strings.Contains(name, "connection ends") && !strings.Contains(name, "never ends") {
				send += protocolHidden
			}
			conn, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(conn, send)
			conn.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(conn)
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(got), "HTTP/1.1 "); n > 1 {
				t.Errorf("%d answers:\n%s", n, got)
			}
			s.Close() // waits for the handler
			if seen := l.requests(); len(seen) > 1 || slices.Contains(seen, "GET /hidden") {
				t.Errorf("the handler saw %q", seen)
			}
			if len(l.seen) == 1 && read == nil {
				t.Error("the handler read the body without an error")
			}
		})
	}
}

// A body of known length keeps its connection, and what stands behind it is the
// next request.
func TestFramingKeepsHonestConnections(t *testing.T) {
	l := &protocolLog{}
	s := protocolServer(t, l)
	got := protocolSend(t, s, "POST /first HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"+
		"GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n"+protocolHidden)
	if !slices.Equal(got, []int{200, 200, 200}) {
		t.Errorf("answered %v", got)
	}
	if want := []string{"POST /first", "GET /second", "GET /hidden"}; !slices.Equal(l.requests(), want) {
		t.Errorf("the handler saw %q, want %q", l.requests(), want)
	}
}
