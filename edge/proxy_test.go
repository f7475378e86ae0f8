package edge_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// alice is what the ring in front says of every request of these tests.
var alice = edge.Origin{
	Client: netip.MustParseAddr("192.0.2.7"), Secure: true, RequestID: "req-1",
	User: "alice", Roles: []string{"user", "editor"}, Session: "s1",
}

// proxyPolicy is a policy for a proxy in front of a server on loopback.
func proxyPolicy(upstream string) *policy.Policy {
	p := policy.Default()
	p.Site, p.Upstream = "api.example.com", upstream
	p.Edge.Timeouts = policy.Timeouts{Connect: 5 * time.Second, Send: 5 * time.Second, Read: 5 * time.Second, Stream: 5 * time.Second}
	return p
}

// serveProxy runs a proxy in front of api and returns the proxy's address, and
// what failed.
func serveProxy(t *testing.T, api http.Handler, origin edge.Origin) (addr string, failures func() []edge.Failure) {
	t.Helper()
	up := httptest.NewServer(api)
	t.Cleanup(up.Close)
	return serveProxyTo(t, proxyPolicy(up.URL), origin)
}

func serveProxyTo(t *testing.T, p *policy.Policy, origin edge.Origin) (string, func() []edge.Failure) {
	t.Helper()
	var mu sync.Mutex
	var seen []edge.Failure
	proxy, err := edge.NewProxy(p, edge.Deps{
		Origin: func(*http.Request) edge.Origin { return origin },
		Failed: func(w http.ResponseWriter, r *http.Request, f edge.Failure) {
			mu.Lock()
			seen = append(seen, f)
			mu.Unlock()
			if !f.Begun {
				http.Error(w, f.Detail, f.Status)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	t.Cleanup(proxy.Close)
	return front.Listener.Addr().String(), func() []edge.Failure {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// send writes a request byte for byte and returns the answer's status.
func send(t *testing.T, addr, request string) int {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// seenBy records the request that reaches the API.
type seenBy struct{ r *http.Request }

func (s *seenBy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	s.r = r
}

func TestProxyTellsTheUpstream(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, alice)
	if got := send(t, addr, "GET /a%20b?x=1&y=%2F HTTP/1.1\r\nHost: api.example.com:8443\r\nAuthorization: Bearer t\r\nCookie: c=1\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"); got != 200 {
		t.Fatalf("status %d", got)
	}
	if api.r.Proto != "HTTP/1.1" || api.r.Host != "api.example.com" || api.r.RequestURI != "/a%20b?x=1&y=%2F" {
		t.Errorf("the API saw %s %s of %s", api.r.Proto, api.r.RequestURI, api.r.Host)
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "192.0.2.7", "X-Real-Ip": "192.0.2.7", "X-Forwarded-Proto": "https",
		"X-Forwarded-Host": "api.example.com:8443", "X-Request-Id": "req-1",
		"X-Ringwall-User": "alice", "X-Ringwall-Roles": "user,editor", "X-Ringwall-Session": "s1",
		"Authorization": "Bearer t", "Cookie": "c=1", "Accept-Encoding": "identity",
	} {
		if got := api.r.Header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// forged are spellings and duplicates of headers that only the edge writes.
var forged = []string{
	"X-Ringwall-User", "x-ringwall-user", "X_Ringwall_User", "X.Ringwall.User", "X-Ringwall_User", "XRingwallUser",
	"X-Ringwall--User", "x-ringwall-roles", "X_Ringwall-Roles", "X-Ringwall-Session", "X-Ringwall-Anything",
	"X-Forwarded-For", "X_Forwarded_For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-User",
	"Forwarded", "X-Real-IP", "X_Real_IP", "True-Client-IP", "X-Original-URL", "X-Rewrite-Url", "X-HTTP-Method-Override",
	"Proxy", "X-Request-Id", "X_Request_Id", "Content_Type", "Author!zation",
}

func TestTrapIdentityHeaderKeptWhenNobodyIsSignedIn(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, edge.Origin{Client: netip.MustParseAddr("192.0.2.7")})
	var b strings.Builder
	b.WriteString("GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n")
	for _, name := range forged {
		fmt.Fprintf(&b, "%s: forged\r\n%s: forged twice\r\n", name, name)
	}
	if got := send(t, addr, b.String()+"\r\n"); got != 200 {
		t.Fatalf("status %d", got)
	}
	for name, v := range api.r.Header {
		if strings.Contains(strings.Join(v, " "), "forged") {
			t.Errorf("the API saw %s: %q", name, v)
		}
		if strings.Contains(strings.ToLower(name), "ringwall") {
			t.Errorf("nobody is signed in, and the API saw %s", name)
		}
	}
}

func TestTrapHeaderAliases(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, alice)
	for _, name := range forged {
		send(t, addr, "GET / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n"+name+": forged\r\n\r\n")
		for got, v := range api.r.Header {
			if strings.Contains(strings.Join(v, " "), "forged") {
				t.Errorf("%s was sent, and the API saw %s: %q", name, got, v)
			}
		}
		if got := api.r.Header.Values("X-Ringwall-User"); len(got) != 1 || got[0] != "alice" {
			t.Errorf("%s was sent, and the API saw the user %q", name, got)
		}
	}
}

func TestTrapHeaderAliasesInTrailers(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, alice)
	send(t, addr, "POST / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\nTrailer: X-Ringwall-User, X_Ringwall_Roles\r\n"+
		"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Ringwall-User: admin\r\nX_Ringwall_Roles: admin\r\n\r\n")
	if len(api.r.Trailer) != 0 {
		t.Errorf("the API saw trailers %v", api.r.Trailer)
	}
}

func TestTrapHopByHopCannotStripOurs(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, alice)
	send(t, addr, "GET / HTTP/1.1\r\nHost: api.example.com\r\nKeep-Alive: 5\r\n"+
		"Connection: close, X-Real-IP, X-Ringwall-User, x-forwarded-for\r\nConnection: X-Mine, x-ringwall-ROLES\r\n\r\n")
	for name, want := range map[string]string{"X-Real-Ip": "192.0.2.7", "X-Forwarded-For": "192.0.2.7", "X-Ringwall-User": "alice", "X-Ringwall-Roles": "user,editor"} {
		if got := api.r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"Keep-Alive", "Connection"} {
		if got := api.r.Header.Get(name); got != "" {
			t.Errorf("hop-by-hop %s: %q went through", name, got)
		}
	}
}

func TestTrapHopByHopCannotHideWhatWasJudged(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, alice)
	for _, name := range []string{"Content-Type", "authorization", "COOKIE", "Origin", "x-tenant", "X-Tenant, upgrade"} {
		got := send(t, addr, "POST / HTTP/1.1\r\nHost: api.example.com\r\nConnection: close,\t"+name+"\r\nX-Tenant: 1\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
		if got != 400 || api.r != nil {
			t.Errorf("Connection: %s was answered %d, want 400 and nothing sent on", name, got)
		}
	}
}

func TestRolesThatWouldReadAsOthers(t *testing.T) {
	api := &seenBy{}
	o := alice
	o.Roles = []string{"user", "x,admin", " admin", "admin ", "r\r\nX: y", "", "editor"}
	addr, _ := serveProxy(t, api, o)
	send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if got := api.r.Header.Get("X-Ringwall-Roles"); got != "user,editor" {
		t.Errorf("roles %q, want user,editor", got)
	}
}

func TestCallerThatDoesNotFitInAHeader(t *testing.T) {
	for _, user := range []string{" admin", "admin ", "a\r\nX-Ringwall-Roles: admin", "ä"} {
		api := &seenBy{}
		o := alice
		o.User = user
		addr, _ := serveProxy(t, api, o)
		if got := send(t, addr, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); got != 502 || api.r != nil {
			t.Errorf("user %q: status %d, want 502 and nothing sent on", user, got)
		}
	}
}

func TestForwardedHostReflectsNothing(t *testing.T) {
	for _, host := range []string{"evil.example", "api.example.com.evil.example", "api.example.com:80@evil.example", "api.example.com:", "api.example.com:123456", "API.example.com:8443"} {
		api := &seenBy{}
		addr, _ := serveProxy(t, api, alice)
		send(t, addr, "GET / HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
		if api.r == nil {
			continue // not a host to net/http either
		}
		got := api.r.Header.Get("X-Forwarded-Host")
		if got != "api.example.com" && got != "api.example.com:8443" && got != "api.example.com:" {
			t.Errorf("Host %q became %q", host, got)
		}
	}
}

func TestUpstreamFailures(t *testing.T) {
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { silent.CloseClientConnections() })
	garbage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, _ := http.NewResponseController(w).Hijack()
		_, _ = io.WriteString(c, "secret-internal-text\r\n\r\n")
		c.Close()
	}))
	t.Cleanup(garbage.Close)

	for _, tt := range []struct {
		name, upstream string
		status         int
	}{
		{"down", "http://" + porttest.Address(t), 502},
		{"no socket", "unix:" + filepath.Join(t.TempDir(), "none.sock"), 502},
		{"silent", silent.URL, 504},
		{"not HTTP", garbage.URL, 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := proxyPolicy(tt.upstream)
			if tt.status == http.StatusGatewayTimeout {
				p.Edge.Timeouts.Read = 50 * time.Millisecond
			}
			addr, failures := serveProxyTo(t, p, alice)
			res, err := http.Get("http://" + addr + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
			if strings.Contains(string(body), "127.0.0.1") || strings.Contains(string(body), "secret") {
				t.Errorf("the client was told %q", body)
			}
			if f := failures(); len(f) != 1 || f[0].Err == nil || f[0].Begun {
				t.Errorf("failures %v, want one with its error", f)
			}
		})
	}
}

func TestBodyOverTheCapIs413(t *testing.T) {
	up := httptest.NewServer(&seenBy{})
	t.Cleanup(up.Close)
	proxy, err := edge.NewProxy(proxyPolicy(up.URL), edge.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(http.MaxBytesHandler(proxy, 1000))
	t.Cleanup(front.Close)
	// Without a length, so that only reading can tell.
	res, err := http.Post(front.URL, "application/json", io.MultiReader(strings.NewReader(strings.Repeat("x", 5000))))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d, want 413", res.StatusCode)
	}
}

func TestAnswerThatBreaksOff(t *testing.T) {
	addr, failures := serveProxy(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}), alice)
	res, err := http.Get("http://" + addr + "/")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		res.Body.Close()
	}
	if err == nil {
		t.Error("half an answer reads as a whole one")
	}
	if f := failures(); len(f) != 1 || !f[0].Begun {
		t.Errorf("failures %v, want one that had begun", f)
	}
}

func TestClientThatGoesAway(t *testing.T) {
	began, gone := make(chan struct{}), make(chan struct{})
	addr, failures := serveProxy(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(began)
		<-r.Context().Done()
		close(gone)
	}), alice)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-began; cancel() }()
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	if _, err := http.DefaultClient.Do(req); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	<-gone // the upstream's request is given up too
	for len(failures()) == 0 {
		runtime.Gosched()
	}
	if f := failures()[0]; f.Status != edge.StatusClientGone {
		t.Errorf("status %d, want %d", f.Status, edge.StatusClientGone)
	}
}

func TestUpstreamOnAUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	api := &seenBy{}
	srv := &http.Server{Handler: api}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close() })
	addr, _ := serveProxyTo(t, proxyPolicy("unix:"+path), alice)
	if got := send(t, addr, "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"); got != 200 || api.r.URL.Path != "/x" {
		t.Errorf("status %d, path %q", got, api.r.URL.Path)
	}
}

func TestUpstreamThatIsNotHere(t *testing.T) {
	for _, s := range []string{
		"", "127.0.0.1:8000", "http://192.0.2.1:8000", "http://example.com", "https://127.0.0.1", "http://127.0.0.1/base",
		"http://user@127.0.0.1:8000", "http://127.0.0.1:8000?x", "unix:relative.sock", "unix:", "http://0.0.0.0:8000", "http://[::]:1",
	} {
		if _, err := edge.NewProxy(proxyPolicy(s), edge.Deps{}); err == nil {
			t.Errorf("upstream %q is taken", s)
		}
	}
	for _, s := range []string{"http://127.0.0.1:8000", "http://localhost:8000", "http://[::1]:8000/", "http://127.1.2.3", "unix:/run/api.sock"} {
		if _, err := edge.NewProxy(proxyPolicy(s), edge.Deps{}); err != nil {
			t.Errorf("upstream %q: %v", s, err)
		}
	}
}

func TestReachable(t *testing.T) {
	up := httptest.NewServer(&seenBy{})
	proxy, err := edge.NewProxy(proxyPolicy(up.URL), edge.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := proxy.Reachable(t.Context()); err != nil {
		t.Errorf("an upstream that listens: %v", err)
	}
	up.Close()
	if err := proxy.Reachable(t.Context()); err == nil {
		t.Error("an upstream that is down is reachable")
	}
}

func TestExpectContinue(t *testing.T) {
	api := &seenBy{}
	addr, _ := serveProxy(t, api, alice)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	br := bufio.NewReader(c)
	line, err := textproto.NewReader(br).ReadLine()
	if err != nil || !strings.Contains(line, " 100 ") {
		t.Fatalf("before the body came %q, %v; want 100", line, err)
	}
	_, _ = br.ReadString('\n')
	_, _ = io.WriteString(c, "hi")
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("after the body: %v, %v", res, err)
	}
	if api.r.Header.Get("Expect") != "" || api.r.ContentLength != 2 {
		t.Errorf("the API saw Expect %q and %d bytes", api.r.Header.Get("Expect"), api.r.ContentLength)
	}
}

func TestExpectContinueOfARefusedRequest(t *testing.T) {
	addr, _ := serveProxyTo(t, proxyPolicy("unix:"+filepath.Join(t.TempDir(), "none.sock")), alice)
	if got := send(t, addr, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n"); got != 502 {
		t.Errorf("first answer %d, want 502 and no 100 before", got)
	}
}

func TestEarlyHints(t *testing.T) {
	addr, _ := serveProxy(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "ok")
	}), alice)
	var hints int
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
		hints = code
		return nil
	}})
	req, _ := http.NewRequestWithContext(ctx, "GET", "http://"+addr+"/", nil)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if hints != 103 || res.StatusCode != 200 {
		t.Errorf("got %d, then %d; want 103, then 200", hints, res.StatusCode)
	}
}

func TestTrapServerSentEventsStreamAtOnce(t *testing.T) {
	next := make(chan struct{})
	addr, _ := serveProxy(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 8 {
			_, _ = io.WriteString(w, "data: now\n\n")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	}), alice)
	res, err := http.Get("http://" + addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	br := bufio.NewReader(res.Body)
	quickest := time.Hour // other load makes an event late, and none early
	for range 8 {         // the next event is written only once this one was read
		begin := time.Now()
		line, err := br.ReadString('\n')
		if err != nil || line != "data: now\n" {
			t.Fatalf("read %q, %v", line, err)
		}
		quickest = min(quickest, time.Since(begin))
		_, _ = br.ReadString('\n')
		next <- struct{}{}
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("the quickest event took %v, want at most 100 ms", quickest)
	}
}

func TestTrapWebSocketEcho(t *testing.T) {
	addr, _ := serveProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" || r.Header.Get("X-Ringwall-User") != "alice" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer c.Close()
		_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = rw.Flush()
		_, _ = io.Copy(c, rw)
	}), alice)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, X-Ringwall-User\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("answer %v, %v", res, err)
	}
	frame := "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" // RFC 6455, 5.7: a masked "Hello"
	for range 2 {
		_, _ = io.WriteString(c, frame)
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(br, got); err != nil || string(got) != frame {
			t.Fatalf("echo %q, %v", got, err)
		}
	}
}

// bigBody is how much goes each way. Memory must stay far below.
const bigBody = 256 << 20

type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(p)), z.left)
	z.left -= n
	return int(n), nil
}

func TestTrapBigBodiesInFlatMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("moves 512 MB")
	}
	addr, _ := serveProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if n != bigBody || err != nil {
			t.Errorf("the API read %d bytes, %v", n, err)
		}
		_, _ = io.Copy(w, &zeros{bigBody})
	}), alice)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := http.Post("http://"+addr+"/", "application/octet-stream", &zeros{bigBody})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if n, err := io.Copy(io.Discard, res.Body); n != bigBody || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	runtime.ReadMemStats(&after)
	// Everything allocated, not what is left: a buffer that was freed counts.
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d MB were allocated for bodies of %d MB", used>>20, bigBody>>20)
	}
}

func TestProxyOverHTTP2(t *testing.T) {
	api := &seenBy{}
	up := httptest.NewServer(api)
	t.Cleanup(up.Close)
	proxy, err := edge.NewProxy(proxyPolicy(up.URL), edge.Deps{Origin: func(*http.Request) edge.Origin { return alice }})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewUnstartedServer(proxy)
	front.EnableHTTP2 = true
	front.TLS = &tls.Config{}
	front.StartTLS()
	t.Cleanup(front.Close)
	res, err := front.Client().Get(front.URL + "/x")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 || api.r.ProtoMajor != 1 || api.r.Header.Get("X-Ringwall-User") != "alice" {
		t.Errorf("client %s, upstream %s, user %q", res.Proto, api.r.Proto, api.r.Header.Get("X-Ringwall-User"))
	}
}
