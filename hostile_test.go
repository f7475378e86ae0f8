package ringwall_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/edge"
)

// ask sends a request byte for byte over TLS and HTTP/1.1, and reads the whole answer.
func (r *running) ask(t *testing.T, request string) (res *http.Response, body string) {
	t.Helper()
	cfg := r.client.Transport.(*http.Transport).TLSClientConfig.Clone()
	cfg.NextProtos = []string{"http/1.1"}
	c, err := tls.Dial("tcp", r.Addresses().HTTPS, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	if res, err = http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%.60q: %v", request, err)
	}
	return res, string(b)
}

// Node builds what Express sees of the first thousand header lines, and says
// nothing of the rest: a client with many lines stripped what came behind them.
func TestTrapManyHeaderLines(t *testing.T) {
	var seen http.Header
	api := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	r, _ := inFront(t, api, rules)
	alice := token(t, r.Policy(), "alice", "user")
	for _, tt := range []struct {
		lines, status int
		more          string
	}{{97, 200, ""}, {98, 431, ""}, {1000, 431, ""}, {1000, 431, "Connection: Upgrade\r\nUpgrade: websocket\r\n"}} {
		seen = nil
		res, _ := r.ask(t, "GET /private HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "+alice+"\r\nX-Last: 1\r\n"+tt.more+strings.Repeat("a:\r\n", tt.lines)+"\r\n")
		if res.StatusCode != tt.status || (seen != nil) != (tt.status == 200) {
			t.Errorf("HTTP/1.1, %d lines more: %s, the API saw %v", tt.lines, res.Status, seen)
		}
		if seen != nil && (seen.Get("X-Ringwall-User") != "alice" || seen.Get("X-Last") != "1" || len(seen["A"]) != tt.lines) {
			t.Errorf("the API saw %v", seen)
		}

		seen = nil
		req, _ := http.NewRequest("GET", "https://"+r.Addresses().HTTPS+"/private", nil)
		req.Host = "localhost"
		req.Header = http.Header{"Authorization": {"Bearer " + alice}, "User-Agent": {"x"}, "A": make([]string, tt.lines)} // and Accept-Encoding
		res, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.ProtoMajor != 2 || res.StatusCode != tt.status || (seen != nil) != (tt.status == 200) {
			t.Errorf("HTTP/2, %d lines more: %s, the API saw %v", tt.lines, res.Status, seen)
		}
	}
}

// What two programs end in two places, or decode by two names, never gets to the
// API: it would judge, or parse, something else than the schema.
func TestTrapTwoReadingsOfTargetAndCharset(t *testing.T) {
	var seen []string
	api := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.RequestURI+" "+r.Header.Get("Content-Type"))
	})
	r, _ := inFront(t, api, rules)
	for request, status := range map[string]int{
		"GET /public/file?q=../etc/passwd#.png HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                                            400,
		"GET /public/file?# HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                                                               400,
		"GET http://localhost/public/file?q#x HTTP/1.1\r\nHost: localhost\r\n\r\n":                                                                             400,
		"POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-7; charset*=us-ascii''utf-8\r\nContent-Length: 2\r\n\r\n{}": 415,
		"POST /public/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset*0=utf; charset*1=-8\r\nContent-Length: 2\r\n\r\n{}":             415,
	} {
		if res, _ := r.ask(t, request); res.StatusCode != status || seen != nil {
			t.Errorf("%.60q: %s, the API saw %q", request, res.Status, seen)
		}
		seen = nil
	}
	// HTTP/2 has other bytes for the same.
	req, _ := http.NewRequest("GET", "https://"+r.Addresses().HTTPS+"/public/file", nil)
	req.Host, req.URL.RawQuery = "localhost", "q=a#b"
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 400 || seen != nil {
		t.Errorf("HTTP/2: %s, the API saw %q", res.Status, seen)
	}
}

// TestTrapConnectionStripsAJudgedHeader: what Connection names, a proxy takes away
// (RFC 9110, 7.6.1), after the schema had found it there.
func TestTrapConnectionStripsAJudgedHeader(t *testing.T) {
	var seen http.Header
	api := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	r, _ := inFront(t, api, rules)
	for connection, status := range map[string]int{
		"close, X-Tenant": 400, "x-TENANT": 400, "keep-alive,\tx-tenant ,": 400, "close\r\nConnection: X-Tenant": 400, "Upgrade, X-Tenant\r\nUpgrade: websocket": 400,
		"close, X-Other": 200, "close": 200, "TE, close\r\nTE: trailers": 200, "keep-alive, , close": 200,
	} {
		seen = nil
		res, _ := r.ask(t, "GET /public/x HTTP/1.1\r\nHost: localhost\r\nX-Tenant: a\r\nConnection: "+connection+"\r\n\r\n")
		if res.StatusCode != status || (seen != nil) != (status == 200) || seen != nil && seen.Get("X-Tenant") != "a" {
			t.Errorf("%q: %s, the API saw %v", connection, res.Status, seen)
		}
	}
}

// TestTrapHeadersOfOtherProxies: an API that was written to stand behind another
// proxy believes that one's headers; neither ring lets a client write them.
func TestTrapHeadersOfOtherProxies(t *testing.T) {
	var seen http.Header
	api := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header })
	up := httptest.NewServer(api)
	defer up.Close()
	p := newSite(t).policy(t, rules)
	deps, _ := quiet()
	ring, err := ringwall.New(p, api, deps)
	if err != nil {
		t.Fatal(err)
	}
	p.Upstream = up.URL
	proxy, err := edge.NewProxy(p, edge.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	// What a proxy that the policy trusts says of whom it let in is passed on.
	behind := newSite(t).policy(t, rules)
	behind.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} // as httptest has it
	front, err := ringwall.New(behind, api, deps)
	if err != nil {
		t.Fatal(err)
	}
	whole := newSite(t).policy(t, rules)
	whole.Edge.TrustedProxies, whole.Upstream = behind.Edge.TrustedProxies, up.URL
	through, err := ringwall.New(whole, nil, deps)
	if err != nil {
		t.Fatal(err)
	}
	ways := map[string]http.Handler{"the ring": ring.Handler(), "the proxy": proxy, "the ring, from a trusted proxy": front.Handler(), "all, from a trusted proxy": through.Handler()}
	for name, vouched := range map[string]bool{
		"Fly-Client-IP": false, "X-Azure-ClientIP": false, "X-Envoy-External-Address": false, "X-Original-Forwarded-For": false, "X-Appengine-User-Ip": false, "Incap-Client-IP": false,
		"WL-Proxy-Client-IP": false, "X-ProxyUser-Ip": false, "X-Originating-IP": false, "CF-Connecting-IPv6": false, "X-Vercel-Forwarded-For": false, "X-Remote-Addr": false,
		"X-Auth-Request-User": true, "X-Auth-Request-Email": true, "X-Authenticated-User": true, "X-Remote-User": false, "X-Remote-Roles": true, "Remote-Groups": true, "X-WebAuth-User": true,
		"Ssl-Client-Cert": true, "X-Ssl-Client-Verify": true, "X-Client-Cert": true, "X-Amzn-Oidc-Identity": true, "X-Goog-Authenticated-User-Email": true, "X-MS-Client-Principal": true,
		"X-Host": false, "X-HTTP-Host-Override": false, "X-Scheme": false, "X-Url-Scheme": false, "Front-End-Https": false,
		"X-Tenant": false, // passes
	} {
		for way, h := range ways {
			r := httptest.NewRequest("GET", "https://localhost/public/x", nil)
			r.Header.Set(name, "forged")
			seen = nil
			h.ServeHTTP(httptest.NewRecorder(), r)
			want := name == "X-Tenant" || vouched && strings.Contains(way, "trusted")
			if got := seen.Get(name) != ""; seen == nil || got != want {
				t.Errorf("%s through %s: the API saw %v", name, way, seen)
			}
		}
	}
}
