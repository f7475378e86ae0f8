package nginx_test

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// dialFrom opens a connection of its own address, so that rates do not add up.
func (s *site) dialFrom(t testing.TB, from byte, protocol string) (net.Conn, error) {
	t.Helper()
	_, port, _ := net.SplitHostPort(s.policy.Edge.Listen)
	d := &tls.Dialer{NetDialer: &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 9, 9, from)}, Timeout: patience},
		Config: &tls.Config{RootCAs: s.roots, ServerName: "localhost", NextProtos: []string{protocol}}}
	conn, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port)
	if err == nil {
		t.Cleanup(func() { conn.Close() })
		conn.SetDeadline(time.Now().Add(patience))
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
		conn.SetDeadline(time.Now().Add(patience))
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

// What nginx passes on for which its ring must see to one reading.
func TestTrapHostileRequestsThroughNginx(t *testing.T) {
	s := mirrored(t, "")
	for i, tt := range []struct {
		request string
		status  int
	}{
		{"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("a: 1\r\n", 90) + "\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("a: 1\r\n", 100) + "\r\n", 431},
		{"GET / HTTP/1.1\r\nHost: localhost\r\n" + strings.Repeat("a: 1\r\n", 1000) + "\r\n", 431},
		{"GET /?q=../etc#.png HTTP/1.1\r\nHost: localhost\r\n\r\n", 400},
		{"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json; charset=utf-7; charset*=us-ascii''utf-8\r\nContent-Length: 2\r\n\r\n{}", 415},
		{"GET / HTTP/1.1\r\nHost: localhost\r\nX-Tenant: 1\r\nConnection: close, X-Tenant\r\n\r\n", 200}, // nginx writes its own, and keeps X-Tenant
	} {
		status, _, body, err := s.raw(t, byte(i+1), tt.request)
		if status != tt.status {
			t.Errorf("%.70q: %d %v %.200s, want %d", tt.request, status, err, body, tt.status)
		}
	}
}
