package ringwall_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/internal/porttest"
)

// inFront runs the whole way: client, edge, app ring, an API on loopback.
func inFront(t *testing.T, api http.Handler, yaml string) (*running, *recorder) {
	t.Helper()
	up := httptest.NewServer(api)
	t.Cleanup(func() { up.CloseClientConnections(); up.Close() })
	s := newSite(t)
	deps, events := quiet()
	return start(t, s, s.policy(t, "upstream: "+up.URL+"\n"+yaml), nil, deps), events
}

func (r *running) do(t *testing.T, method, path, token string, body io.Reader, header ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+r.Addresses().HTTPS+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "localhost"
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestUpstreamIsToldWhoCalls(t *testing.T) {
	var seen http.Header
	r, events := inFront(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }), rules)
	forged := []string{"X-Ringwall-User", "admin", "X-Ringwall-Roles", "admin", "X_Ringwall_User", "admin", "X-Forwarded-For", "192.0.2.1"}

	res := r.do(t, "GET", "/private", token(t, r.Policy(), "alice", "user"), nil, forged...)
	if res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	for name, want := range map[string]string{
		"X-Ringwall-User": "alice", "X-Ringwall-Roles": "user", "X-Ringwall-Session": "s1",
		"X-Forwarded-For": "127.0.0.1", "X-Real-Ip": "127.0.0.1", "X-Forwarded-Proto": "https",
		"X-Request-Id": res.Header.Get("X-Request-Id"),
	} {
		if got := seen.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if res := r.do(t, "GET", "/public/x", "", nil, forged...); res.StatusCode != 200 {
		t.Fatal(res.Status)
	}
	for name, v := range seen {
		if strings.Contains(strings.ToLower(name), "ringwall") || slices.Contains(v, "admin") {
			t.Errorf("nobody is signed in, and the upstream saw %s: %q", name, v)
		}
	}
	if !slices.Contains(events.kinds(), audit.HeaderForged) {
		t.Errorf("events %v", events.kinds())
	}
}

func TestUpstreamThatFails(t *testing.T) {
	r, events := inFront(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		c.Close()
	}), rules)
	res := r.do(t, "GET", "/public/x", "", nil)
	var problem struct {
		Status    int
		Detail    string
		RequestID string `json:"request_id"`
	}
	if err := json.NewDecoder(res.Body).Decode(&problem); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != 502 || res.Header.Get("Content-Type") != "application/problem+json" || problem.Status != 502 ||
		problem.RequestID != res.Header.Get("X-Request-Id") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("answered %d %v with %+v", res.StatusCode, res.Header, problem)
	}
	if strings.Contains(problem.Detail, "127.0.0.1") || strings.Contains(problem.Detail, "EOF") {
		t.Errorf("the client is told %q", problem.Detail)
	}
	if k := events.kinds(); k[len(k)-1] != audit.UpstreamFailed {
		t.Errorf("events %v", k)
	}
}

func TestUpstreamThatIsDownIsNotReady(t *testing.T) {
	s := newSite(t)
	addr := porttest.Address(t)
	deps, _ := quiet()
	srv, err := ringwall.New(s.policy(t, "upstream: http://"+addr+"\n"+rules), nil, deps)
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, srv.Handler(), "/readyz", "").Code; got != 503 {
		t.Errorf("readyz with the upstream down: %d, want 503", got)
	}
	if got := get(t, srv.Handler(), "/healthz", "").Code; got != 200 {
		t.Errorf("healthz with the upstream down: %d, want 200", got)
	}
}

const bigBodies = `
site: localhost
edge: {listen: "127.0.0.1:0", redirect: "127.0.0.1:0", tls: {cert: site.pem, key: site.key}}
app:
  content_types: [application/octet-stream, application/json]
  body: 1kB
  routes:
    - {path: /big, allow: [anyone], body: 1GB, timeout: 10m} # a loaded machine takes a while
    - {path: /, allow: [anyone]}
`

func TestBodyOfUnknownLengthOverTheCap(t *testing.T) {
	r, _ := inFront(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), bigBodies)
	res := r.do(t, "POST", "/x", "", io.MultiReader(strings.NewReader(strings.Repeat("x", 5000))), "Content-Type", "application/octet-stream")
	if res.StatusCode != 413 {
		t.Errorf("5 kB in chunks, where 1 kB is allowed: %d, want 413", res.StatusCode)
	}
}

type nothing struct{ left int64 }

func (z *nothing) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	z.left -= n
	return int(n), nil
}

// TestTrapBigBodiesThroughTheWholeWay moves a gigabyte up and another one down,
// over HTTP/1.1 and over HTTP/2. It measures all that the process ever took from
// the system, for the client and the API besides the server.
func TestTrapBigBodiesThroughTheWholeWay(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 4 GB")
	}
	const size = 1_000_000_000
	r, _ := inFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); err != nil || r.Method == "POST" && n != size {
			t.Errorf("the API read %d bytes, %v", n, err)
		}
		if r.Method == "GET" {
			w.Header().Set("Content-Type", "application/octet-stream")
			_, _ = io.Copy(w, &nothing{size})
		}
	}), bigBodies)
	transport := r.client.Transport.(*http.Transport)
	for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} { // in this order: a clone goes on offering h2
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP1(proto == "HTTP/1.1")
		transport.Protocols.SetHTTP2(proto == "HTTP/2.0")
		r.client.Transport = transport.Clone()
		r.do(t, "GET", "/healthz", "", nil) // the connection is there
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for method, down := range map[string]int64{"POST": 0, "GET": size} {
			var up io.Reader
			if method == "POST" {
				up = &nothing{size}
			}
			res := r.do(t, method, "/big", "", up, "Content-Type", "application/octet-stream")
			if n, err := io.Copy(io.Discard, res.Body); n != down || err != nil || res.StatusCode != 200 || res.Proto != proto {
				t.Errorf("%s over %s: %s, %d bytes, %v", method, res.Proto, res.Status, n, err)
			}
		}
		runtime.ReadMemStats(&after)
		held := int64(after.Sys) - int64(before.Sys)
		t.Logf("%s: the process grew by %d kB", proto, held>>10)
		if held > 32<<20 {
			t.Errorf("%s: the process grew by %d MB for bodies of %d MB", proto, held>>20, size/1_000_000)
		}
	}
}

func TestTrapServerSentEventsThroughTheWholeWay(t *testing.T) {
	next := make(chan struct{})
	r, _ := inFront(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 8 {
			fmt.Fprintf(w, "data: %d %s\n\n", i, strings.Repeat("x", 2000)) // enough to be worth compressing
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}), rules)
	for _, header := range [][]string{nil, {"Accept-Encoding", "identity"}} { // net/http asks for gzip by itself
		res := r.do(t, "GET", "/public/events", "", nil, header...)
		br := bufio.NewReader(res.Body)
		quickest := time.Hour // other load makes an event late, and none early
		for i := range 8 {
			begin := time.Now()
			line, err := br.ReadString('\n')
			if err != nil || !strings.HasPrefix(line, fmt.Sprintf("data: %d ", i)) {
				t.Fatalf("event %d: %.20q, %v", i, line, err)
			}
			quickest = min(quickest, time.Since(begin))
			_, _ = br.ReadString('\n')
			next <- struct{}{}
		}
		if quickest > 100*time.Millisecond {
			t.Errorf("the quickest event took %v, want at most 100 ms", quickest)
		}
	}
}

func TestTrapWebSocketThroughTheWholeWay(t *testing.T) {
	r, _ := inFront(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX-User: " + r.Header.Get("X-Ringwall-User") + "\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
	}), rules)
	c, err := tls.Dial("tcp", r.Addresses().HTTPS, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /ws HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", token(t, r.Policy(), "alice"))
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("X-User") != "alice" {
		t.Fatalf("%v, %v", res, err)
	}
	_, _ = io.WriteString(c, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58") // RFC 6455, 5.7
	echo := make([]byte, 11)
	if _, err := io.ReadFull(br, echo); err != nil || string(echo[2:6]) != "\x37\xfa\x21\x3d" {
		t.Errorf("echo %q, %v", echo, err)
	}
}

func TestTrapExpectContinueOfARefusedRequest(t *testing.T) {
	r, _ := inFront(t, hello, bigBodies)
	for name, tt := range map[string]struct{ head, want string }{
		"too large":        {"POST /x HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n", "HTTP/1.1 413"},
		"of a wrong type":  {"POST /x HTTP/1.1\r\nContent-Type: text/xml\r\nContent-Length: 5\r\n", "HTTP/1.1 415"},
		"as it is allowed": {"POST /x HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 5\r\n", "HTTP/1.1 100"},
	} {
		c, err := tls.Dial("tcp", r.Addresses().HTTPS, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, tt.head+"Host: localhost\r\nExpect: 100-continue\r\n\r\n")
		got := make([]byte, len(tt.want))
		_, _ = io.ReadFull(c, got)
		c.Close()
		if string(got) != tt.want {
			t.Errorf("a body %s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestClientThatGoesAwayIsNoFailureOfTheUpstream(t *testing.T) {
	began, gone := make(chan struct{}), make(chan struct{})
	r, events := inFront(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(gone)
	}), rules)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", "https://"+r.Addresses().HTTPS+"/public/x", nil)
	req.Host = "localhost"
	if res, err := r.client.Do(req); err == nil {
		t.Fatal(res.Status)
	}
	<-gone
	r.stop()
	if err := <-r.done; err != nil { // all requests are over
		t.Fatal(err)
	}
	if k := events.kinds(); slices.Contains(k, audit.UpstreamFailed) {
		t.Errorf("events %v", k)
	}
}

// TestTrapPageThatHasItsVisitorBanned: what another site's page has a browser
// ask for is not held against the visitor, but what no page can send is.
func TestTrapPageThatHasItsVisitorBanned(t *testing.T) {
	p := newSite(t).policy(t, rules)
	for name, tt := range map[string]struct {
		method, path string
		header       []string
		banned       bool
	}{
		"a scanner":                    {"GET", "/.env", nil, true},
		"one that says so itself":      {"GET", "/.env", []string{"Sec-Fetch-Site", "none"}, true},
		"an image":                     {"GET", "/.env", []string{"Sec-Fetch-Site", "cross-site"}, false},
		"an image of a sibling":        {"GET", "/.env", []string{"Sec-Fetch-Site", "same-site"}, false},
		"a WebSocket":                  {"GET", "/.env", []string{"Origin", "https://evil.example"}, false},
		"a frame without an origin":    {"POST", "/.env", []string{"Origin", "null"}, false},
		"an odd path":                  {"GET", "/a%2fb", []string{"Sec-Fetch-Site", "cross-site"}, false},
		"an odd path, of a program":    {"GET", "/a%2fb", nil, true},
		"a fetch":                      {"GET", "/", []string{"Origin", "https://evil.example"}, false},
		"a form with cookies":          {"POST", "/", []string{"Sec-Fetch-Site", "cross-site", "Cookie", "a=b"}, false},
		"a forged token":               {"GET", "/", []string{"Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}, true},
		"a forged token under a cover": {"GET", "/", []string{"Sec-Fetch-Site", "cross-site", "Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."}, true},
		"a forged token in the query":  {"GET", "/?access_token=eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.", []string{"Sec-Fetch-Site", "cross-site"}, false},
	} {
		deps, events := quiet()
		srv, err := ringwall.New(p, hello, deps)
		if err != nil {
			t.Fatal(err)
		}
		for range 110 {
			r := httptest.NewRequest(tt.method, "https://localhost"+tt.path, nil)
			r.RemoteAddr = "192.0.2.7:1234"
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			func() {
				defer func() { _ = recover() }() // a hangup
				srv.Handler().ServeHTTP(httptest.NewRecorder(), r)
			}()
		}
		if got := slices.Contains(events.kinds(), audit.BanAdded); got != tt.banned {
			t.Errorf("%s: banned is %v, want %v", name, got, tt.banned)
		}
	}
}
