package nginx_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/policy"
)

// dialFrom opens a connection of its own address, so that rates do not add up.
func (s *site) dialFrom(t testing.TB, from byte, protocol string) (net.Conn, error) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.policy.Edge.Listen)
	d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, from)}, Timeout: 5 * time.Second},
		Config: &tls.Config{RootCAs: s.roots, ServerName: "localhost", NextProtos: []string{protocol}}}
	conn, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(15 * time.Second))
	}
	return conn, err
}

// raw sends bytes and reads one answer.
func (s *site) raw(t testing.TB, from byte, request string) (status int, h http.Header, body string, err error) {
	t.Helper()
	conn, err := s.dialFrom(t, from, "http/1.1")
	if err != nil {
		return 0, nil, "", err
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, request); err != nil {
		return 0, nil, "", err
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0, nil, "", err
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, res.Header, string(b), err
}

// mirror answers with the request as the API sees it.
var mirror = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"path": r.URL.Path, "uri": r.RequestURI, "host": r.Host, "from": r.RemoteAddr, "headers": r.Header, "trailer": r.Trailer})
})

func mirrored(t *testing.T, more string) *site {
	nginxBinary(t)
	s := newSite(t, more)
	s.policy.Identity.TokenKey = policy.NewSecret(base64.StdEncoding.EncodeToString([]byte("0123456789 a seed of 32 bytes !!")))
	s.write(t, nil)
	s.startRing(t, mirror)
	s.startNginx(t)
	return s
}

// TRAP: two views of one path.
func TestTrapPathsThroughNginx(t *testing.T) {
	s := mirrored(t, `app:
  limits: {global: {requests: 100000, per: 1m}}
  routes:
    - {path: /public/, allow: [anyone]}
    - {path: /admin/, allow: [admin]}
    - {path: /, allow: [anyone]}
identity: {roles: {admin: ["*"]}}
`)
	const hungUp = 0
	for i, tt := range []struct {
		target string
		status int
		path   string
	}{
		{"/x", 200, "/x"}, {"/x/", 200, "/x/"}, {"/caf%C3%A9", 200, "/café"}, {"/a%20b?q=%2fx", 200, "/a b"}, {"/x?y=/admin", 200, "/x"}, {"https://localhost/x", 200, "/x"},
		{"/admin", 401, ""}, {"/admin?x=/public", 401, ""}, {"/ADMIN", 404, ""}, {"/Public/../admin", 400, ""}, {"/%61dmin", 401, ""},
		{"/api%2e/admin", 200, "/api./admin"}, {"//x", 400, ""}, {"//admin", 400, ""}, {"/./admin", 400, ""}, {"/public/../admin", 400, ""}, {"/public//admin", 400, ""},
		{"/public/..;/admin", hungUp, ""}, {"/public/%2e%2e/admin", hungUp, ""}, {"/public/..%2fadmin", hungUp, ""}, {"/public/..%5cadmin", hungUp, ""}, {"/%252e%252e/admin", hungUp, ""},
		{"/a%2fb", 400, ""}, {"/a%5cb", 400, ""}, {"/a\\b", 400, ""}, {"/a%00", 400, ""}, {"/a;b", 400, ""}, {"/%ff", 400, ""}, {"/a%252fb", 400, ""}, {"/a%0d%0aX-Evil:1", 400, ""},
		{"/a%zz", 400, ""}, {"*", 400, ""}, {"x", 400, ""}, {"/a#b", 400, ""}, {"http://localhost@evil.example/", 400, ""}, {"ftp://localhost/", 200, "/"}, // nginx looks at no scheme, and hands on none

		{"/../../etc/passwd", hungUp, ""}, {"/.env", hungUp, ""}, {"/.ENV", hungUp, ""}, {"//.env", hungUp, ""}, {"/.env.bak", hungUp, ""}, {"/.git/config", hungUp, ""}, {"/%2eenv", hungUp, ""},
		{"/%252eenv", hungUp, ""}, {"/.env%00.json", hungUp, ""}, {"/wp-login.php?x", hungUp, ""}, {"/index%2ephp", hungUp, ""}, {"/.ringwall-error/400", 404, ""},
	} {
		status, h, body, err := s.raw(t, byte(i+1), "GET "+tt.target+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if status != tt.status {
			t.Errorf("GET %s: %d %v, want %d", tt.target, status, err, tt.status)
			continue
		}
		if tt.status == hungUp {
			continue
		}
		if h.Get("X-Frame-Options") != "DENY" || h.Get("X-Evil") != "" || status >= 400 && !strings.Contains(body, fmt.Sprintf(`"status":%d`, status)) {
			t.Errorf("GET %s: %v %s", tt.target, h, body)
		}
		var seen struct{ Path string }
		if json.Unmarshal([]byte(body), &seen); status == 200 && seen.Path != tt.path {
			t.Errorf("GET %s: the API sees %q", tt.target, seen.Path)
		}
	}
}

// TRAP: hosts, in any spelling.
func TestTrapHostsThroughNginx(t *testing.T) {
	s := mirrored(t, "")
	_, port, _ := net.SplitHostPort(s.policy.Edge.Listen)
	for i, tt := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: LOCALHOST:8443\r\n\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: localhost.\r\n\r\n", 200},
		{"GET https://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 200},
		{"GET https://localhost/ HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200}, // RFC 9112, 3.2.2: the target's counts
		{"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", 200},
		{"GET / HTTP/1.0\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost: localhost.other.example\r\n\r\n", 421},
		{"GET https://other.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 421},
		{"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\n\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nHost: other.example\r\n\r\n", 400},
	} {
		status, h, body, err := s.raw(t, byte(i+1), tt.request)
		if status != tt.status || h.Get("X-Frame-Options") != "DENY" || strings.Contains(body, "evil") || status == 200 && !strings.Contains(body, `"host":"localhost:`+port+`"`) {
			t.Errorf("%q: %d %v %s, want %d", tt.request, status, err, body, tt.status)
		}
	}
	// Over port 80 nothing of a stranger's Host comes back.
	for host, want := range map[string]string{"localhost": "https://localhost:" + port + "/x?y", "LOCALHOST:80": "https://localhost:" + port + "/x?y", "evil.example": "", "127.0.0.1": ""} {
		conn, err := net.Dial("tcp", s.policy.Edge.Redirect)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(5 * time.Second))
		fmt.Fprintf(conn, "POST /x?y HTTP/1.1\r\nHost: %s\r\nContent-Length: 0\r\n\r\n", host)
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if want == "" {
			if err == nil {
				t.Errorf("Host: %s over HTTP: %s", host, res.Status)
			}
		} else if err != nil || res.StatusCode != 308 || res.Header.Get("Location") != want || res.Header.Get("Strict-Transport-Security") != "" || res.Header.Get("X-Frame-Options") != "DENY" {
			t.Errorf("Host: %s over HTTP: %v %v", host, err, res)
		}
		conn.Close()
	}
	// No name, or another, gets no certificate of the site's.
	for _, name := range []string{"", "other.example"} {
		conn, err := tls.Dial("tcp", s.policy.Edge.Listen, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err == nil {
			if given := conn.ConnectionState().PeerCertificates[0]; given.VerifyHostname("localhost") == nil {
				t.Errorf("a client that asked for %q was given the site's certificate", name)
			}
			conn.Close()
		}
	}
}

// TRAP: forged and aliased headers, and what Connection names.
func TestTrapHeadersThroughNginx(t *testing.T) {
	s := mirrored(t, "")
	const forged = "203.0.113.9"
	status, _, body, err := s.raw(t, 77, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close, X-Real-IP, X-Forwarded-For, X-Ringwall-Proof\r\n"+
		"X-Forwarded-For: "+forged+"\r\nX_Forwarded_For: "+forged+"\r\nX.Forwarded.For: "+forged+"\r\nX-Real-IP: "+forged+"\r\nx_real_ip: "+forged+"\r\n"+
		"X-Forwarded-Proto: http\r\nX-Forwarded-Host: evil.example\r\nForwarded: for="+forged+"\r\nTrue-Client-IP: "+forged+"\r\nProxy: http://evil.example\r\n"+
		"X-Ringwall-User: admin\r\nX_Ringwall_User: admin\r\nX.Ringwall.User: admin\r\nX-Ringwall-Proof: "+testProof[:10]+"\r\nX_Auth_User: admin\r\nX-Accel-Redirect: /x\r\n\r\n")
	if err != nil || status != 200 {
		t.Fatalf("%d %v %s", status, err, body)
	}
	for _, never := range []string{forged, "evil.example", "admin", testProof, testProof[:10]} {
		if strings.Contains(body, never) {
			t.Errorf("%s reached the API: %s", never, body)
		}
	}
	if !strings.Contains(body, `"from":"127.9.9.77:`) {
		t.Errorf("the client is another: %s", body)
	}
	// A trailer of the kind, in a chunked body.
	status, _, body, err = s.raw(t, 78, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Ringwall-User\r\n\r\n2\r\n{}\r\n0\r\nX-Ringwall-User: admin\r\n\r\n")
	if err == nil && status == 200 && strings.Contains(body, "admin") {
		t.Errorf("a trailer reached the API: %s", body)
	}
	// Each header of the ring's stands once.
	_, h, _, err := s.raw(t, 79, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
	for name := range headers(s.policy, true) {
		if v := h.Values(name); err != nil || len(v) != 1 {
			t.Errorf("%s: %v %v", name, err, v)
		}
	}
}

// TRAP: trusted proxies in front, and forged addresses left of theirs.
func TestTrapTrustedProxiesThroughNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.policy.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.9.9.80/32"), netip.MustParsePrefix("198.51.100.0/24")}
	s.write(t, nil)
	s.startRing(t, mirror)
	s.startNginx(t)
	for _, tt := range []struct {
		from      byte
		forwarded string
		client    string
	}{
		{80, "203.0.113.1, 192.0.2.1", "192.0.2.1"},
		{80, "203.0.113.1, 192.0.2.1, 198.51.100.7", "192.0.2.1"},
		{80, "2001:db8::7", "2001:db8::7"},
		{80, "", "127.9.9.80"},
		{81, "192.0.2.1", "127.9.9.81"},
		{82, "192.0.2.1, 198.51.100.7", "127.9.9.82"},
	} {
		header := ""
		if tt.forwarded != "" {
			header = "X-Forwarded-For: " + tt.forwarded + "\r\n"
		}
		_, _, body, err := s.raw(t, tt.from, "GET / HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n")
		if want := fmt.Sprintf(`"from":%q`, netip.AddrPortFrom(netip.MustParseAddr(tt.client), 0)); err != nil || !strings.Contains(body, want) {
			t.Errorf("127.9.9.%d with %q: %v %s; want %s", tt.from, tt.forwarded, err, body, want)
		}
	}
	// The proxy's clients are counted each for himself.
	refused := map[string]int{}
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		conn, err := s.dialFrom(t, 80, "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(conn)
		go io.WriteString(conn, strings.Repeat("GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "+client+"\r\n\r\n", 40))
		for range 40 {
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			if res.StatusCode == 429 {
				refused[client]++
			}
		}
	}
	if refused["192.0.2.1"] == 0 || refused["192.0.2.2"] == 0 || refused["192.0.2.2"] > 20 {
		t.Errorf("refused: %v", refused)
	}
}

// With edge.proxy_protocol the proxy's header names the client, and a stranger's
// does not.
func TestProxyProtocolThroughNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.policy.Edge.ProxyProtocol = true
	s.policy.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.9.9.80/32")}
	s.write(t, nil)
	s.startRing(t, mirror)
	s.startNginx(t)
	for _, tt := range []struct {
		from   byte
		header string
		client string // "": refused
	}{{80, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "192.0.2.1"}, {81, "PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n", "127.9.9.81"}, {80, "", ""}} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, tt.from)}}
		conn, err := d.Dial("tcp", s.policy.Edge.Listen)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, tt.header)
		c := tls.Client(conn, &tls.Config{RootCAs: s.roots, ServerName: "localhost"})
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n")
		b, _ := io.ReadAll(c)
		if want := fmt.Sprintf(`"from":"%s:0"`, tt.client); tt.client == "" && len(b) > 0 || tt.client != "" && !strings.Contains(string(b), want) {
			t.Errorf("127.9.9.%d with %q: %s", tt.from, tt.header, b)
		}
		c.Close()
	}
}

// TRAP: IPv6 clients have a /64 each.
func TestTrapIPv6IsCountedBySlash64(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.policy.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.9.9.0/24")}
	s.write(t, func(ds []nginx.Directive) []nginx.Directive {
		return everywhere(ds, func(in string, d *nginx.Directive) bool { // the map's own word
			if in == theSite && d.Name == "location" && d.Args[0] == "/" {
				d.Block = []nginx.Directive{{Name: "return", Args: []string{"200", "key $ringwall_client"}}}
			}
			return true
		})
	})
	s.startNginx(t)
	keys := map[string]string{}
	for i, client := range []string{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9", "2001:db8:a0a:a::1", "2001:db8:1:3::1", "192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"} {
		_, _, body, err := s.raw(t, byte(i+1), "GET / HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: "+client+"\r\n\r\n")
		if err != nil || !strings.HasPrefix(body, "key ") {
			t.Fatalf("%s: %v %q", client, err, body)
		}
		keys[client] = strings.TrimPrefix(body, "key ")
	}
	same := func(a, b string) bool { return keys[a] == keys[b] }
	if !same("2001:db8:1:2::1", "2001:db8:1:2:ffff::9") || same("2001:db8:1:2::1", "2001:db8:1:3::1") || !same("192.0.2.1", "::ffff:192.0.2.1") || same("192.0.2.1", "192.0.2.2") ||
		len(keys["2001:db8:a0a:a::1"]) != 8 || len(keys["192.0.2.1"]) != 4 {
		t.Errorf("%q", keys)
	}
}

// TRAP: smuggling, over raw sockets.
func TestTrapSmugglingThroughNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	var mu sync.Mutex
	var asked []string
	s.startRing(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		asked = append(asked, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, len(b)))
		mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{}`)
	}))
	s.startNginx(t)
	const hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
	const post = "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	for i, request := range []string{
		post + "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + hidden,
		post + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden,
		post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + hidden,
		post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden,
		post + "Transfer-Encoding : chunked\r\nContent-Length: 2\r\n\r\n{}" + hidden,
		post + "X: 1\r\n Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}" + hidden,
		post + "Content-Length: +2\r\n\r\n{}" + hidden,
		post + "Content-Length: 2, 2\r\n\r\n{}" + hidden,
		post + "Transfer-Encoding: chunked\r\n\r\n2;\n{}\r\n0\r\n\r\n" + "GARBAGE\r\n\r\n",
		"GET /x HTTP/1.1\r\nHost: localhost\r\nX\x00Y: 1\r\n\r\n" + hidden,
	} {
		if v, _ := installed(); !v.StrictFraming() && (strings.Contains(request, " : ") || strings.Contains(request, "\r\n ")) {
			continue // it drops such a header, and reads what follows for what it is
		}
		mu.Lock()
		asked = nil
		mu.Unlock()
		conn, err := s.dialFrom(t, byte(i+1), "http/1.1")
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, request)
		conn.SetReadDeadline(time.Now().Add(3 * time.Second))
		io.Copy(io.Discard, conn)
		conn.Close()
		mu.Lock()
		for _, a := range asked {
			if strings.Contains(a, "hidden") {
				t.Errorf("%q: the API was asked %v", request, asked)
			}
		}
		mu.Unlock()
	}
}

// TRAP: SSE, WebSocket, big bodies.
func TestTrapStreaming(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "app: {body: 1GB, timeout: 1m, limits: {global: {requests: 100000, per: 1m}}, content_types: [application/octet-stream], routes: [{path: /, allow: [anyone]}]}\n")
	s.write(t, nil)
	const size = 64 << 20
	first := make(chan struct{})
	s.startRing(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		switch r.URL.Path {
		case "/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: 1\n\n")
			c.Flush()
			select {
			case <-first: // sent only once the client has the first
			case <-time.After(10 * time.Second):
			}
			io.WriteString(w, "data: 2\n\n")
		case "/socket":
			if r.Header.Get("Upgrade") != "websocket" {
				http.Error(w, "no upgrade", http.StatusUpgradeRequired)
				return
			}
			conn, rw, err := c.Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			io.WriteString(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
			rw.Flush()
			line, _ := rw.ReadString('\n')
			io.WriteString(conn, "echo "+line)
		case "/up":
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d %v", n, err)
		case "/down":
			w.Header().Set("Content-Type", "application/octet-stream")
			io.Copy(w, io.LimitReader(zeros{}, size))
		}
	}))
	s.startNginx(t)
	conn, err := s.dialFrom(t, 1, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(res.Body)
	for i, want := range []string{"data: 1\n", "\n", "data: 2\n"} {
		if line, err := lines.ReadString('\n'); line != want {
			t.Fatalf("%q %v, want %q", line, err, want)
		}
		if i == 0 {
			close(first)
		}
	}
	conn, err = s.dialFrom(t, 2, "http/1.1")
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	r := bufio.NewReader(conn)
	if res, err = http.ReadResponse(r, nil); err != nil || res.StatusCode != 101 {
		t.Fatalf("%v %v", res, err)
	}
	io.WriteString(conn, "hello\n")
	if line, err := r.ReadString('\n'); line != "echo hello\n" {
		t.Errorf("%q %v", line, err)
	}
	if status, _, _, err := s.raw(t, 3, "GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"); status == 101 {
		t.Errorf("an upgrade to h2c: %d %v", status, err)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.roots}, ForceAttemptHTTP2: true}}
	res, err = client.Post(s.url()+"/up", "application/octet-stream", io.LimitReader(zeros{}, size)) // chunked, over HTTP/2
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(res.Body); res.ProtoMajor != 2 || string(b) != fmt.Sprintf("%d <nil>", size) {
		t.Errorf("up: %s %s", res.Proto, b)
	}
	if res, err = client.Get(s.url() + "/down"); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, res.Body); n != size {
		t.Errorf("down: %d %v", n, err)
	}
	if files, _ := filepath.Glob(s.dir + "/tmp-*/*"); len(files) > 0 {
		t.Errorf("nginx wrote to disk: %v", files)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// TRAP: slow clients: a header, a body, an answer that nobody reads.
func TestTrapSlowClients(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	s.startRing(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			w.Header().Set("Content-Type", "application/json")
			io.Copy(w, zeros{}) // until somebody stops it
			return
		}
		echo(w, r)
	}), "app/timeout")
	s.startNginx(t)
	var all sync.WaitGroup
	for i, tt := range []struct {
		name, first, more string
	}{
		{"header", "GET / HTTP/1.1\r\nHost: localhost\r\nX-A: ", "a"},
		{"body", "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n", "1"},
		{"nothing", "", ""},
	} {
		all.Go(func() {
			conn, err := s.dialFrom(t, byte(i+1), "http/1.1")
			if err != nil {
				t.Error(err)
				return
			}
			conn.SetDeadline(time.Now().Add(50 * time.Second))
			io.WriteString(conn, tt.first)
			over := make(chan struct{})
			go func() { io.Copy(io.Discard, conn); close(over) }()
			for range 40 {
				select {
				case <-over:
					return
				case <-time.After(time.Second):
					io.WriteString(conn, tt.more)
				}
			}
			t.Errorf("%s: a client that sends a byte a second was waited for longer than 40 s", tt.name)
		})
	}
	all.Go(func() { // the ring must be let go of; the client's kernel keeps what it has
		conn, err := s.dialFrom(t, 9, "http/1.1")
		if err != nil {
			t.Error(err)
			return
		}
		conn.SetDeadline(time.Now().Add(50 * time.Second))
		io.WriteString(conn, "GET /down HTTP/1.1\r\nHost: localhost\r\n\r\n")
		for range 45 {
			if s.count(func(e audit.Event) bool { return e.Kind == audit.ConnectionSlow }) > 0 {
				return
			}
			if log, _ := os.ReadFile(s.dir + "/ringwall.json"); bytes.Contains(log, []byte(`"url.path":"/down"`)) {
				return
			}
			time.Sleep(time.Second)
		}
		t.Error("a client that does not read held its answer longer than 45 s")
	})
	all.Wait()
	if err := (&server{site: s}).served(); err != nil {
		t.Errorf("others meanwhile: %v", err)
	}
}

// TestThroughNginx is HTTP/1.1 and HTTP/2, over TCP and over a unix socket.
func TestThroughNginx(t *testing.T) {
	for _, at := range []string{"tcp", "unix"} {
		t.Run(at, func(t *testing.T) {
			nginxBinary(t)
			s := newSite(t, "")
			if at == "unix" {
				s.policy.Edge.Nginx.Listen = "unix:" + s.dir + "/run/n.sock"
			}
			s.write(t, nil)
			s.startRing(t, mirror)
			s.startNginx(t)
			for i, protocol := range []string{"http/1.1", "h2"} {
				conn, err := s.dialFrom(t, byte(i+1), protocol)
				if err != nil {
					t.Fatal(err)
				}
				req, _ := http.NewRequest("GET", "https://localhost/x", nil)
				var res *http.Response
				if protocol == "h2" {
					//lint:ignore SA1019 a client over one connection that is there already
					cc, err := (&http2.Transport{}).NewClientConn(conn)
					if err != nil {
						t.Fatal(err)
					}
					res, err = cc.RoundTrip(req)
					if err != nil {
						t.Fatal(err)
					}
				} else {
					req.Write(conn)
					if res, err = http.ReadResponse(bufio.NewReader(conn), req); err != nil {
						t.Fatal(err)
					}
				}
				b, _ := io.ReadAll(res.Body)
				if res.StatusCode != 200 || !strings.Contains(string(b), fmt.Sprintf(`"from":"127.9.9.%d:0"`, i+1)) {
					t.Errorf("%s: %s %s", protocol, res.Status, b)
				}
			}
			if f := s.find(t, "edge/behind"); f.Verdict.String() != "pass" {
				t.Errorf("%+v", f)
			}
		})
	}
}

// TestNginxsOwnAnswers are those that the ring never sees.
func TestNginxsOwnAnswers(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	_, stop := s.startRing(t, echo)
	s.startNginx(t)
	host := "Host: localhost\r\n"
	see := func(from byte, name, request string, want int) {
		t.Helper()
		status, h, body, err := s.raw(t, from, request)
		if status != want {
			t.Errorf("%s: %d %v, want %d", name, status, err, want)
			return
		}
		for n, v := range headers(s.policy, true) {
			if h.Get(n) != v {
				t.Errorf("%s: %s: %q", name, n, h.Get(n))
			}
		}
		var p struct {
			Type, Title, Detail string
			Status              int
		}
		if h.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(body), &p) != nil || p.Status != want || p.Type == "" || p.Title == "" || p.Detail == "" ||
			h.Get("Cache-Control") != "no-store" || strings.Contains(body, "nginx") {
			t.Errorf("%s: %v %s", name, h, body)
		}
	}
	see(1, "a NUL", "GET /a%00 HTTP/1.1\r\n"+host+"\r\n", 400)
	see(2, "TRACE", "TRACE / HTTP/1.1\r\n"+host+"\r\n", 405)
	see(3, "a body that is too large", "POST / HTTP/1.1\r\n"+host+"Content-Type: application/json\r\nContent-Length: 200001\r\n\r\n", 413)
	see(4, "a line that is too long", "GET /"+strings.Repeat("a", 20000)+" HTTP/1.1\r\n"+host+"\r\n", 414)
	see(5, "a header that is too large", "GET / HTTP/1.1\r\n"+host+"X-A: "+strings.Repeat("a", 20000)+"\r\n\r\n", 431)
	see(6, "an unknown coding", "POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: gzip\r\n\r\n", 501)
	see(7, "another host", "GET / HTTP/1.1\r\nHost: other.example\r\n\r\n", 421)
	see(8, "another version", "GET / HTTP/3.1\r\n"+host+"\r\n", 505)
	stop()
	see(9, "the ring is down", "GET / HTTP/1.1\r\n"+host+"\r\n", 502)
}

// TestBansReachNginx follows a ban from the list to nginx, and back.
func TestBansReachNginx(t *testing.T) {
	nginxBinary(t)
	s := newSite(t, "")
	s.write(t, nil)
	s.startRing(t, echo)
	s.startNginx(t)
	host := nginx.Host{Binary: nginxBinary(t), Conf: filepath.Join(s.dir, "nginx.conf"), Prefix: s.dir}
	files, err := host.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pid, err := host.Running(t.Context(), files)
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	reloads := 0
	b := nginx.NewBanner(s.policy, func() error { reloads++; return host.Reload(t.Context(), pid) }, s)
	ok := func(from byte) bool {
		status, _, _, _ := s.raw(t, from, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
		return status == 200
	}
	until := func(what string, is func() bool) {
		t.Helper()
		for range 200 {
			if is() {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
		t.Errorf("%s: not within 10 s", what)
	}
	b.Replace([]edge.Ban{{Prefix: netip.MustParsePrefix("127.9.9.6/31")}}, []netip.Prefix{netip.MustParsePrefix("127.9.9.6/32"), netip.MustParsePrefix("::1/128")})
	for i := range 1000 {
		b.Ban(edge.Ban{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)})
	}
	b.Ban(edge.Ban{Prefix: netip.MustParsePrefix("2001:db8:1:2::/64")})
	done := make(chan struct{})
	ctx, stop := contextOf(t)
	go func() { b.Run(ctx, 50*time.Millisecond); close(done) }()
	until("the ban", func() bool { return !ok(7) })
	if !ok(8) || !ok(6) {
		t.Error("another one is banned, too, or one that is spared")
	}
	until("what was told", func() bool { return b.Check() == nil })
	if err := os.WriteFile(s.policy.Edge.Nginx.State+"/bans.conf", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.Check(); err == nil {
		t.Error("a list that somebody emptied is not noticed")
	}
	b.Unban(netip.MustParsePrefix("127.9.9.6/31"))
	until("its end", func() bool { return ok(7) })
	stop()
	<-done
	if reloads > 4 {
		t.Errorf("%d reloads for 1,003 changes", reloads)
	}
}

// TestLog reads what nginx logs.
func TestLog(t *testing.T) {
	s := mirrored(t, "")
	s.raw(t, 1, "GET /x?token=canary HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer canary\r\nUser-Agent: a\"b\\c"+strings.Repeat("d", 400)+"\r\n\r\n")
	s.raw(t, 2, "BREW /.env HTTP/1.1\r\nHost: localhost\r\n\r\n")
	s.raw(t, 3, "GET /a%00 HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \x1b[31m\r\n\r\n")
	var lines []map[string]any
	for range 100 {
		b, _ := os.ReadFile(s.dir + "/ringwall.json")
		lines = nil
		for line := range bytes.Lines(b) {
			m := map[string]any{}
			if err := json.Unmarshal(line, &m); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			lines = append(lines, m)
		}
		if bytes.Contains(b, []byte("canary")) || bytes.Contains(b, []byte("Bearer")) {
			t.Fatalf("a secret is in the log: %s", b)
		}
		if len(lines) == 3 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(lines) != 3 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, want := range []struct {
		method, path string
		status       float64
	}{{"GET", "/x", 401}, {"BREW", "/.env", 444}, {"GET", "", 400}} {
		m := lines[i]
		if m["http.request.method"] != want.method || m["url.path"] != want.path || m["http.response.status_code"] != want.status || m["client.address"] != fmt.Sprintf("127.9.9.%d", i+1) || m["msg"] != "request" {
			t.Errorf("%v, want %v", m, want)
		}
	}
	if a, _ := lines[0]["user_agent.original"].(string); len(a) != 256 || lines[0]["ringwall.request_id"] == "" {
		t.Errorf("%v", lines[0])
	}
	// nginx's refusal is an event of the client's.
	for range 100 {
		if s.count(func(e audit.Event) bool {
			return e.Kind == audit.ScannerRefused && e.Client == netip.MustParseAddr("127.9.9.2") && strings.Contains(e.Detail, "/.env")
		}) == 1 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("no event of the scanner: %+v", s.events)
}
