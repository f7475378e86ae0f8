package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// A door is an http.Server behind State.Accept, and what it saw.
type door struct {
	address string
	state   *edge.State
	close   func()
	mu      sync.Mutex
	seen    []string // requests, with their bodies
	events  []audit.Event
}

func (f *door) Record(e audit.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

func (f *door) take() (seen []string, events []audit.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	seen, events, f.seen, f.events = f.seen, f.events, nil, nil
	return seen, events
}

// ServeHTTP reads the body and says what it saw.
func (f *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	f.mu.Lock()
	f.seen = append(f.seen, fmt.Sprintf("%s %s %q", r.Method, r.RequestURI, body))
	f.mu.Unlock()
	if err != nil {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("X-Frame-Options", "DENY")
	w.Header().Set("X-Secure", fmt.Sprint(r.TLS != nil))
	io.WriteString(w, r.RemoteAddr)
}

func doorPolicy(change func(*policy.Policy)) *policy.Policy {
	p := policy.Default()
	p.Site = "localhost"
	if change != nil {
		change(p)
	}
	return p
}

// newDoor serves h, nil for the door itself, over plain TCP, or over TLS with
// cfg.
func newDoor(t testing.TB, p *policy.Policy, h http.Handler, cfg *tls.Config) *door {
	t.Helper()
	f := &door{}
	if h == nil {
		h = f
	}
	f.state = &edge.State{Audit: f, Headers: func(_ *policy.Policy, secure bool) map[string]string {
		return map[string]string{"X-Frame-Options": "DENY", "X-Secure": fmt.Sprint(secure)}
	}}
	guard, err := edge.NewGuard(p, f.state)
	if err != nil {
		t.Fatal(err)
	}
	ls, err := edge.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := edge.NewServer(edge.Unstuck(h, func() *edge.Guard { return guard }), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() {
		_ = srv.Serve(f.state.Accept(ls[0], cfg, func() *edge.Guard { return guard }))
		close(done)
	}()
	f.close = func() { srv.Close(); <-done }
	t.Cleanup(f.close)
	f.address = ls[0].Addr().String()
	return f
}

// doorTLS is a certificate that nobody knows.
func doorTLS(t testing.TB) *tls.Config {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	return &tls.Config{Certificates: s.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
}

// answersTo sends raw bytes and reads answers until the connection ends. It has
// the patience to wait for as many as are due, or for the end if none are named,
// and then looks for a moment whether there is more.
func answersTo(t *testing.T, address, raw string, due int, patience time.Duration) (answers []*http.Response, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	for {
		if due > 0 && len(answers) >= due { // is there more?
			conn.SetDeadline(time.Now().Add(100 * time.Millisecond))
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers, !errors.Is(err, os.ErrDeadlineExceeded)
		}
		if res.StatusCode == http.StatusContinue {
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err != nil {
			return answers, true
		}
		res.Body = io.NopCloser(bytes.NewReader(body))
		answers = append(answers, res)
	}
}

const hiddenRequest = "GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"

func post(headers, body string) string {
	return "POST /first HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n" + body
}

// doubtfulRequests must be refused; the section says who says so.
var doubtfulRequests = []struct {
	name, section, raw string
	status             int
}{
	{"LF after the request line", "RFC 9112, 2.2", "GET /first HTTP/1.1\nHost: localhost\r\n\r\n", 400},
	{"LF after a header", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\nHost: localhost\nX: 1\r\n\r\n", 400},
	{"LF for the end of the head", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\nHost: localhost\r\n\n", 400},
	{"LF LF for the end of the head", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\nHost: localhost\n\n", 400},
	{"CR in a value", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\nHost: localhost\r\nX: a\rContent-Length: 4\r\n\r\n", 400},
	{"CR CR LF", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\nHost: localhost\r\r\n\r\n", 400},
	{"CR before the head's end", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\nHost: localhost\r\n\r\r\n", 400},
	{"space before the first header", "RFC 9112, 2.2", "GET /first HTTP/1.1\r\n Host: localhost\r\nHost: localhost\r\n\r\n", 400},
	{"folded line", "RFC 9112, 5.2", "GET /first HTTP/1.1\r\nHost: localhost\r\nX: 1\r\n 2\r\n\r\n", 400},
	{"folded length", "RFC 9112, 5.2", post("Content-Length:\r\n 5\r\n", "AAAAA"), 400},
	{"folded coding", "RFC 9112, 5.2", post("Transfer-Encoding:\r\n\tchunked\r\n", "0\r\n\r\n"), 501},
	{"space before the colon", "RFC 9112, 5.1", post("Content-Length : 5\r\n", "AAAAA"), 400},
	{"tab before the colon", "RFC 9112, 5.1", post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n"), 400},
	{"no name", "RFC 9112, 5.1", "GET /first HTTP/1.1\r\nHost: localhost\r\n: 1\r\n\r\n", 400},
	{"no colon", "RFC 9112, 5", "GET /first HTTP/1.1\r\nHost: localhost\r\nX\r\n\r\n", 400},
	{"NUL in a name", "RFC 9110, 5.1", "GET /first HTTP/1.1\r\nHost: localhost\r\nX\x00: 1\r\n\r\n", 400},
	{"letter outside ASCII in a name", "RFC 9110, 5.1", "GET /first HTTP/1.1\r\nHost: localhost\r\nTransfer-Encod\u0131ng: chunked\r\n\r\n", 400},
	{"parenthesis in a name", "RFC 9110, 5.1", "GET /first HTTP/1.1\r\nHost: localhost\r\nX(: 1\r\n\r\n", 400},
	{"NUL in a value", "RFC 9110, 5.5", "GET /first HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n", 400},
	{"vertical tab before a value", "RFC 9110, 5.5", post("Transfer-Encoding: \x0bchunked\r\n", "0\r\n\r\n"), 400},
	{"DEL in a value", "RFC 9110, 5.5", "GET /first HTTP/1.1\r\nHost: localhost\r\nX: \x7f\r\n\r\n", 400},

	{"two spaces after the method", "RFC 9112, 3", "GET  /first HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"two spaces before the version", "RFC 9112, 3", "GET /first  HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"tabs in the request line", "RFC 9112, 3", "GET\t/first\tHTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"space after the version", "RFC 9112, 3", "GET /first HTTP/1.1 \r\nHost: localhost\r\n\r\n", 400},
	{"space in the target", "RFC 9112, 3.2", "GET /first x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"space before the method", "RFC 9112, 3", " GET /first HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"empty line before the request", "RFC 9112, 2.2 would skip it", "\r\nGET /first HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"no version", "RFC 9112, 3", "GET /first\r\nHost: localhost\r\n\r\n", 400},
	{"version in small letters", "RFC 9112, 2.3", "GET /first http/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"HTTP/1.2", "RFC 9110, 2.5 would answer", "GET /first HTTP/1.2\r\nHost: localhost\r\n\r\n", 505},
	{"HTTP/1.10", "RFC 9112, 2.3", "GET /first HTTP/1.10\r\nHost: localhost\r\n\r\n", 400},
	{"HTTP/2.0 without its preface", "RFC 9112, 2.3", "GET /first HTTP/2.0\r\nHost: localhost\r\n\r\n", 505},
	{"HTTP/2 preface", "RFC 9113, 3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
	{"user information", "RFC 9110, 4.2.4", "GET http://evil@localhost/first HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"NUL in the target", "RFC 9112, 3.2", "GET /first\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
	{"no Host", "RFC 9112, 3.2", "GET /first HTTP/1.1\r\n\r\n", 400},
	{"two Hosts", "RFC 9112, 3.2", "GET /first HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400},
	{"a target of 70 kB", "RFC 9112, 3", "GET /" + strings.Repeat("a", 70_000) + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 431},
	{"101 header lines", "RFC 9110, 5.4; Node reads a thousand", "GET /first HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("a:\r\n", 100) + "\r\n", 431},

	{"length and coding", "RFC 9112, 6.1", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400},
	{"coding and length", "RFC 9112, 6.1", post("Transfer-Encoding: chunked\r\nContent-Length: 50\r\n", "0\r\n\r\n"), 400},
	{"coding and no length", "RFC 9112, 6.1", post("Transfer-Encoding: chunked\r\nContent-Length:\r\n", "0\r\n\r\n"), 400},
	{"two lengths", "RFC 9112, 6.3", post("Content-Length: 5\r\nContent-Length: 0\r\n", "AAAAA"), 400},
	{"two equal lengths", "RFC 9112, 6.3", post("Content-Length: 5\r\nContent-Length: 5\r\n", "AAAAA"), 400},
	{"list of lengths", "RFC 9110, 8.6", post("Content-Length: 5, 5\r\n", "AAAAA"), 400},
	{"empty length", "RFC 9110, 8.6", post("Content-Length:\r\n", "AAAAA"), 400},
	{"plus sign", "RFC 9110, 8.6", post("Content-Length: +5\r\n", "AAAAA"), 400},
	{"minus sign", "RFC 9110, 8.6", post("Content-Length: -5\r\n", "AAAAA"), 400},
	{"hexadecimal length", "RFC 9110, 8.6", post("Content-Length: 0x5\r\n", "AAAAA"), 400},
	{"length with a space", "RFC 9110, 8.6", post("Content-Length: 0 5\r\n", "AAAAA"), 400},
	{"length with a leading zero", "octal to some", post("Content-Length: 010\r\n", "AAAAAAAA"), 400},
	{"length with an underscore", "RFC 9110, 8.6", post("Content-Length: 1_0\r\n", "AAAAAAAAAA"), 400},
	{"length that overflows", "RFC 9112, 6.3", post("Content-Length: 18446744073709551621\r\n", "AAAAA"), 400},
	{"length and a tab", "nginx refuses it", post("Content-Length: 5\t\r\n", "AAAAA"), 400},
	{"length with a point", "RFC 9110, 8.6", post("Content-Length: 5.0\r\n", "AAAAA"), 400},
	{"coding identity", "RFC 9112, 6.1", post("Transfer-Encoding: identity\r\n", "AAAAA"), 501},
	{"coding gzip, chunked", "RFC 9112, 6.1", post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501},
	{"coding chunked, identity", "RFC 9112, 6.1", post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"), 501},
	{"coding chunked twice", "RFC 9112, 6.1", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 501},
	{"coding chunked and another line", "RFC 9112, 6.1", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", "0\r\n\r\n"), 501},
	{"coding in quotes", "RFC 9112, 7", post("Transfer-Encoding: \"chunked\"\r\n", "0\r\n\r\n"), 501},
	{"coding with a parameter", "RFC 9112, 7", post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n"), 501},
	{"empty coding", "RFC 9112, 6.1", post("Transfer-Encoding:\r\n", "AAAAA"), 501},
	{"coding in HTTP/1.0", "RFC 9112, 6.1", "POST /first HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	{"another expectation", "RFC 9110, 10.1.1", post("Expect: 200-ok\r\nContent-Length: 2\r\n", "{}"), 417},

	{"chunk ended by LF", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "5\nAAAAA\r\n0\r\n\r\n"), 400},
	{"chunk data ended by LF", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "5\r\nAAAAA\n0\r\n\r\n"), 400},
	{"last chunk ended by LF", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "0\n\r\n"), 400},
	{"trailer ended by LF", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "0\r\n\n"), 400},
	{"chunk longer than it says", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "3\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"chunk size with 0x", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "0x5\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"chunk size with a sign", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "+5\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"chunk size with a space", "RFC 9112, 7.1.1", post("Transfer-Encoding: chunked\r\n", "5 \r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"chunk size that overflows", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "10000000000000005\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"no chunk size", "RFC 9112, 7.1", post("Transfer-Encoding: chunked\r\n", "\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"LF in a chunk extension", "RFC 9112, 7.1.1", post("Transfer-Encoding: chunked\r\n", "5;a\nAAAAA\r\n0\r\n\r\n"), 400},
	{"CR in a chunk extension", "RFC 9112, 7.1.1", post("Transfer-Encoding: chunked\r\n", "5;a\rx\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"long chunk extension", "CVE-2023-39326", post("Transfer-Encoding: chunked\r\n", "5;"+strings.Repeat("a", 200)+"\r\nAAAAA\r\n0\r\n\r\n"), 400},
	{"length in the trailer", "RFC 9110, 6.5.1", post("Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 5\r\n\r\n"), 400},
	{"long trailer", "RFC 9112, 7.1.2", post("Transfer-Encoding: chunked\r\n", "0\r\nX: "+strings.Repeat("a", 5000)+"\r\n\r\n"), 400},
}

// wellFramed must be served, request by request.
var wellFramed = []struct {
	name, raw string
	seen      []string
}{
	{"a request", hiddenRequest, []string{`GET /smuggled ""`}},
	{"100 header lines", "GET /first HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("a:\r\n", 99) + "\r\n", []string{`GET /first ""`}},
	{"three at once", hiddenRequest + post("Content-Length: 5\r\n", "AAAAA") + hiddenRequest, []string{`GET /smuggled ""`, `POST /first "AAAAA"`, `GET /smuggled ""`}},
	{"a request within a body", post(fmt.Sprintf("Content-Length: %d\r\n", len(hiddenRequest)), hiddenRequest), []string{fmt.Sprintf("POST /first %q", hiddenRequest)}},
	{"chunks, extension and trailer", post("Transfer-Encoding: Chunked \r\n", "5;a=\"b\"\r\nAA\r\nA\r\n0B\r\nBBBBBBBBBBB\r\n000\r\nX: 1\r\nY: 2\r\n\r\n"), []string{`POST /first "AA\r\nABBBBBBBBBBB"`}},
	{"HTTP/1.0", "GET /first HTTP/1.0\r\nHost: localhost\r\n\r\n", []string{`GET /first ""`}},
	{"no length", post("Content-Length: 0\r\n", ""), []string{`POST /first ""`}},
	{"absolute target", "GET http://localhost/first HTTP/1.1\r\nHost: localhost\r\n\r\n", []string{`GET http://localhost/first ""`}},
	{"at sign in a path", "GET http://localhost/@a/b@c HTTP/1.1\r\nHost: localhost\r\n\r\n", []string{`GET http://localhost/@a/b@c ""`}},
	{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", []string{`OPTIONS * ""`}},
	{"expectation", post("Expect: 100-Continue\r\nContent-Length: 2\r\n", "{}"), []string{`POST /first "{}"`}},
	{"odd and empty values", "GET /first HTTP/1.1\r\nHost: localhost\r\nX:\r\nY: \t a \xfc\t \r\n!#$%&'*+-.^_`|~9: x\r\n\r\n", []string{`GET /first ""`}},
	{"name in odd letters", post("content-LENGTH:5 \r\n", "AAAAA"), []string{`POST /first "AAAAA"`}},
}

func TestTrapSmuggling(t *testing.T) {
	f := newDoor(t, doorPolicy(nil), nil, nil)
	for _, tt := range doubtfulRequests {
		answers, closed := answersTo(t, f.address, tt.raw+hiddenRequest, 0, 10*time.Second)
		seen, events := f.take()
		for _, s := range seen {
			if !strings.HasPrefix(s, "POST /first ") || tt.status == 400 && !strings.Contains(tt.raw, "chunked\r\n\r\n") {
				t.Errorf("%s (%s): the handler saw %s", tt.name, tt.section, s)
			}
		}
		if len(answers) != 1 || answers[0].StatusCode != tt.status || !closed {
			t.Errorf("%s (%s): %d answers, %v, closed %v, want one of %d and the end", tt.name, tt.section, len(answers), statuses(answers), closed, tt.status)
			continue
		}
		if len(seen) == 0 { // else it is the handler's own answer
			h := answers[0].Header
			if h.Get("X-Frame-Options") != "DENY" || h.Get("X-Secure") != "false" || h.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: refused with the headers %v", tt.name, h)
			}
		}
		kind := audit.ProtocolRefused
		if tt.status == 431 {
			kind = audit.InputRefused
		}
		if hostsOnly := strings.Contains(tt.name, "Host"); !hostsOnly &&
			(len(events) != 1 || events[0].Kind != kind || events[0].Control != "edge/framing" || events[0].Client.String() != "127.0.0.1") {
			t.Errorf("%s: events %v, want one of %s", tt.name, events, kind)
		}
	}
	for _, tt := range wellFramed {
		answers, _ := answersTo(t, f.address, tt.raw, len(tt.seen), 10*time.Second)
		seen, events := f.take()
		if !slices.Equal(seen, tt.seen) || len(answers) != len(seen) || len(events) != 0 {
			t.Errorf("%s: the handler saw %q, answers %v, events %v; want %q", tt.name, seen, statuses(answers), events, tt.seen)
		}
	}
}

// An answer's body is nobody's to change, not even where a part of it, sent by
// itself, reads like a refusal of net/http's.
func TestTrapBodyThatReadsLikeARefusal(t *testing.T) {
	const part = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request"
	for _, waived := range []bool{false, true} {
		f := newDoor(t, doorPolicy(func(p *policy.Policy) {
			if waived {
				p.Waivers = []policy.Waiver{{Control: "edge/framing", Reason: "a test", Until: time.Now().AddDate(0, 0, 1)}}
			}
		}), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(2*len(part)))
			for range 2 {
				_ = http.NewResponseController(w).Flush()
				_, _ = io.WriteString(w, part)
			}
		}), nil)
		res, err := http.Get("http://" + f.address)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != part+part {
			t.Errorf("waived %v: %v, %q", waived, err, body)
		}
	}
}

func statuses(answers []*http.Response) (s []int) {
	for _, a := range answers {
		s = append(s, a.StatusCode)
	}
	return s
}

// TestTrapSmugglingRefusesWhatNginxRefuses: what nginx, as a proxy, does not
// pass on, nobody may.
func TestTrapSmugglingRefusesWhatNginxRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs nginx")
	}
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		t.Skip("nginx is not installed")
	}
	behind := newDoor(t, doorPolicy(func(p *policy.Policy) {
		p.Waivers = []policy.Waiver{{Control: "edge/framing", Reason: "it stands behind nginx", Until: time.Now().AddDate(0, 0, 1)}}
	}), nil, nil)
	dir := t.TempDir()
	address := porttest.Address(t)
	conf := filepath.Join(dir, "nginx.conf")
	err = os.WriteFile(conf, []byte("daemon off; master_process off; worker_processes 1; error_log "+dir+"/error.log; pid "+dir+"/pid;\nevents {}\n"+
		"http { access_log off; client_body_temp_path "+dir+"; proxy_temp_path "+dir+"; fastcgi_temp_path "+dir+"; uwsgi_temp_path "+dir+"; scgi_temp_path "+dir+";\n"+
		"server { listen "+address+"; location / { proxy_pass http://"+behind.address+"; proxy_http_version 1.1; } } }\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(nginx, "-p", dir, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	for start := time.Now(); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatal(err)
		}
	}
	ours := newDoor(t, doorPolicy(nil), nil, nil)
	stricter := 0
	check := func(name, raw string, patience time.Duration) {
		theirs, _ := answersTo(t, address, raw, 1, patience)
		got, _ := answersTo(t, ours.address, raw, 1, 10*time.Second)
		refused := len(theirs) == 0 || theirs[0].StatusCode >= 400
		switch served := len(got) > 0 && got[0].StatusCode < 400; {
		case refused && served:
			t.Errorf("%s: nginx refuses it (%v) and we serve it", name, statuses(theirs))
		case !refused && !served:
			stricter++
		}
	}
	for _, tt := range doubtfulRequests {
		check(tt.name, tt.raw, time.Second) // no answer is as good as a refusal
	}
	for _, tt := range wellFramed {
		if tt.name != "asterisk" { // nginx answers OPTIONS * itself
			check(tt.name, tt.raw, 10*time.Second)
		}
	}
	t.Logf("%d requests are refused here that nginx serves", stricter)
}
