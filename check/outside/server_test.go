package outside_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
)

// good is a server that does everything right: what a check says of it must be a
// pass. A fault spoils one thing.
type good struct {
	fault string

	mu   sync.Mutex
	left map[string]int // per address, of sign-ins
	all  map[string]int // per address, of requests
	last map[string]time.Time
	tick map[string]float64
}

// faults are what each check must find. Those that are no handler's affair are
// made where the server is.
var faults = map[string][]string{
	"outside/certificate":        {"self-signed", "expiring"},
	"outside/tls":                {"cbc", "tls1.1"},
	"outside/redirect":           {"served in plain", "redirect elsewhere"},
	"outside/hsts":               {"no hsts", "short hsts", "unclosed hsts", "no headers on errors"},
	"outside/disclosure":         {"server version", "powered by"},
	"outside/nosniff":            {"no nosniff", "no headers on errors"},
	"outside/frames":             {"no frame options", "frames from anywhere"},
	"outside/csp":                {"page without csp", "page with lax csp"},
	"outside/referrer-policy":    {"unsafe referrer"},
	"outside/permissions-policy": {"location for all"},
	"outside/cors":               {"reflected origin", "null origin", "any with credentials", "suffix origin", "500 for strangers"},
	"outside/cookies":            {"cookie without httponly", "cookie without secure", "cookie without samesite"},
	"outside/http2":              {"h2c"},
	"outside/host":               {"any host"},
	"outside/methods":            {"trace", "any method"},
	"outside/errors":             {"stack", "sql", "500 on input", "prototype"},
	"outside/body":               {"any body"},
	"outside/framing":            {"lenient framing"},
	"outside/forwarded":          {"forwarded host", "original url"},
	"outside/identity-headers":   {"x-user", "x_user", "inside address"},
	"outside/tokens":             {"alg none", "weak secret", "any token", "expired token", "500 on tokens"},
	"outside/cross-site":         {"csrf"},
	"outside/paths":              {"traversal", "dot segments", "case"},
	"outside/secret-files":       {"env file", "git folder"},
	"outside/ports":              {"open port"},
	"outside/ssh":                {"ssh passwords"},
	"outside/client-address":     {"forwarded for", "one bucket"},
	"outside/app-rate":           {"no app limit"},
	"outside/burst":              {"no edge limit"},
	"outside/scanners":           {"scanners reach the api", "exact strings"},
	"outside/slow-clients":       {"waits for ever"},
}

func (g *good) is(fault string) bool { return g.fault == fault }

func (g *good) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["Date"] = nil
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	client := host
	if f := r.Header.Get("X-Forwarded-For"); f != "" && g.is("forwarded for") {
		client = f
	}
	if g.is("one bucket") {
		client = "proxy"
	}
	path := r.URL.EscapedPath()

	// The edge: junk, speed, host, framing, methods.
	junk := strings.HasPrefix(strings.TrimLeft(strings.ToLower(path), "/"), ".") || strings.HasSuffix(path, ".php") || strings.Contains(path, ".git")
	if g.is("exact strings") {
		junk = path == "/.env" || path == "/wp-login.php"
	}
	if g.is("env file") && path == "/.env" {
		io.WriteString(w, "DATABASE_PASSWORD=hunter2\n")
		return
	}
	if g.is("git folder") && path == "/.git/config" {
		io.WriteString(w, "[core]\n\tbare = false\n")
		return
	}
	if junk && !g.is("scanners reach the api") {
		panic(http.ErrAbortHandler)
	}
	if g.fast(host) && !g.is("no edge limit") {
		h.Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	name, _, _ := strings.Cut(r.Host, ":")
	if name != "localhost" && !g.is("any host") {
		w.WriteHeader(http.StatusMisdirectedRequest)
		return
	}
	if r.Header.Get("Upgrade") == "h2c" && g.is("h2c") {
		h.Set("Connection", "Upgrade")
		h.Set("Upgrade", "h2c")
		w.WriteHeader(http.StatusSwitchingProtocols)
		return
	}
	if g.is("traversal") && strings.Contains(path, "etc") {
		io.WriteString(w, "root:x:0:0:root:/root:/bin/bash\n")
		return
	}
	g.headers(h, r)
	switch r.Method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	case "TRACE":
		if g.is("trace") {
			_ = r.Header.Write(w)
			return
		}
		g.fail(w, http.StatusMethodNotAllowed)
		return
	default:
		if g.is("any method") {
			break
		}
		g.fail(w, http.StatusNotImplemented)
		return
	}
	if o := r.Header.Get("Origin"); o != "" {
		switch {
		case g.is("500 for strangers"):
			g.fail(w, 500)
			return
		case g.is("reflected origin"), g.is("null origin") && o == "null", g.is("suffix origin") && strings.HasPrefix(o, "https://localhost"):
			h.Set("Access-Control-Allow-Origin", o)
			h.Set("Access-Control-Allow-Credentials", "true")
		case g.is("any with credentials"):
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Allow-Credentials", "true")
		}
		if r.Method == http.MethodPost && o != "https://"+r.Host && !g.is("csrf") {
			g.fail(w, http.StatusForbidden)
			return
		}
	}
	if len(r.TransferEncoding) > 0 { // net/http would go on reading behind it
		h.Set("Connection", "close")
		g.fail(w, http.StatusBadRequest)
		return
	}
	// The app's limit over minutes.
	g.mu.Lock()
	g.all[client]++
	n := 600 - g.all[client]
	g.mu.Unlock()
	if !g.is("no app limit") {
		h.Set("RateLimit-Policy", `"all";q=600;w=900`)
		h.Set("RateLimit", fmt.Sprintf(`"all";r=%d;t=60`, n))
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, 200_001))
	if g.is("any body") {
		_, _ = io.Copy(io.Discard, r.Body)
		body = body[:min(len(body), 10)]
	}
	if err != nil || len(body) > 200_000 {
		g.fail(w, http.StatusRequestEntityTooLarge)
		return
	}
	if g.is("stack") && strings.Contains(r.URL.RawQuery, "NaN") {
		h.Set("Content-Type", "text/plain")
		w.WriteHeader(400)
		io.WriteString(w, "URIError: Failed to decode param\n    at decode_param (/app/node_modules/router/lib/layer.js:172:12)\n")
		return
	}
	if g.is("sql") && strings.Contains(r.URL.RawQuery, "%27") {
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"syntax error at or near \"OR\""}`)
		return
	}
	if g.is("500 on input") && r.Method == http.MethodPost && json.Unmarshal(body, new(map[string]any)) != nil || g.is("prototype") && strings.Contains(string(body), "__proto__") {
		g.fail(w, 500)
		return
	}
	if f := r.Header.Get("X-Forwarded-Host"); f != "" && g.is("forwarded host") {
		h.Set("Location", "https://"+f+"/")
		w.WriteHeader(302)
		return
	}
	if f := r.Header.Get("X-Original-Url"); f != "" && g.is("original url") {
		path = f
	}
	g.route(w, r, path)
}

func (g *good) route(w http.ResponseWriter, r *http.Request, path string) {
	plain := path
	if g.is("dot segments") {
		plain = strings.ReplaceAll(path, "/./", "/")
	}
	if g.is("case") {
		plain = strings.ToLower(path)
	}
	switch {
	case path == "/":
		fmt.Fprint(w, `{"status":"ok"}`)
	case path == "/api/auth/login" && r.Method == http.MethodPost:
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		g.mu.Lock()
		g.left[host]++
		n := g.left[host]
		g.mu.Unlock()
		if n > 20 && !g.is("no app limit") {
			w.Header().Set("Retry-After", "900")
			g.fail(w, http.StatusTooManyRequests)
			return
		}
		if g.is("csrf") {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "x"})
		}
		g.fail(w, http.StatusUnauthorized)
	case path == "/api/me", plain == "/api/me":
		if path != plain || g.believes(r) {
			fmt.Fprint(w, `{"id":1}`)
			return
		}
		if g.is("500 on tokens") && r.Header.Get("Authorization") != "" {
			g.fail(w, 500)
			return
		}
		g.fail(w, http.StatusUnauthorized)
	default:
		g.fail(w, http.StatusNotFound)
	}
}

// expired stands for a token that only the target's own key makes.
const expired = "signed-and-expired"

func (g *good) believes(r *http.Request) bool {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case token == "":
	case g.is("any token"):
		return true
	case g.is("alg none"):
		return strings.HasSuffix(token, ".") && strings.Count(token, ".") == 2
	case g.is("expired token"):
		return token == expired
	case g.is("weak secret"):
		return token == outside.SignedWith("secret", token)
	}
	return g.is("x-user") && r.Header.Get("X-User") != "" || g.is("x_user") && len(r.Header["X_user"]) > 0 ||
		g.is("inside address") && r.Header.Get("X-Forwarded-For") == "127.0.0.1"
}

func (g *good) fail(w http.ResponseWriter, status int) {
	h := w.Header()
	if g.is("no headers on errors") {
		for _, n := range []string{"Strict-Transport-Security", "X-Content-Type-Options"} {
			h.Del(n)
		}
	}
	if strings.HasPrefix(g.fault, "page with") {
		h.Set("Content-Type", "text/html")
		if g.is("page without csp") {
			h.Del("Content-Security-Policy")
		} else {
			h.Set("Content-Security-Policy", "script-src 'self' 'unsafe-inline'")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "<p>ringwall-check is not here</p>")
		return
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"status":%d}`, status)
}

func (g *good) headers(h http.Header, _ *http.Request) {
	h.Set("Content-Type", "application/json")
	for name, v := range map[string]string{
		"Strict-Transport-Security": "max-age=31536000", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		"Referrer-Policy": "no-referrer", "Permissions-Policy": "geolocation=(), microphone=(), camera=()",
		"Set-Cookie": "__Host-id=1; Path=/; Secure; HttpOnly; SameSite=Strict",
	} {
		h.Set(name, v)
	}
	set := func(fault, name, v string) {
		if g.is(fault) {
			if h.Set(name, v); v == "" {
				h.Del(name)
			}
		}
	}
	set("no hsts", "Strict-Transport-Security", "")
	set("short hsts", "Strict-Transport-Security", "max-age=3600")
	set("unclosed hsts", "Strict-Transport-Security", `max-age="31536000`)
	set("server version", "Server", "nginx/1.22.1")
	set("powered by", "X-Powered-By", "Express")
	set("no nosniff", "X-Content-Type-Options", "")
	set("no frame options", "X-Frame-Options", "")
	set("no frame options", "Content-Security-Policy", "default-src 'none'")
	set("frames from anywhere", "Content-Security-Policy", "default-src 'none'; frame-ancestors *")
	set("unsafe referrer", "Referrer-Policy", "no-referrer, unsafe-url")
	set("location for all", "Permissions-Policy", "geolocation=(), microphone=(), camera=(), geolocation=*")
	set("cookie without httponly", "Set-Cookie", "id=1; Path=/; Secure; SameSite=Strict")
	set("cookie without secure", "Set-Cookie", "id=1; Path=/; HttpOnly; SameSite=Strict")
	set("cookie without samesite", "Set-Cookie", "id=1; Path=/; Secure; HttpOnly")
}

// fast holds each address to 10 a second and 20 at once.
func (g *good) fast(host string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	full := g.tick[host] - now.Sub(g.last[host]).Seconds()*10
	g.tick[host], g.last[host] = max(0, full)+1, now
	if g.tick[host] > 25 {
		g.tick[host]--
		return true
	}
	return false
}

// server is a good one with a fault, and the target of it.
func server(t *testing.T, fault string) (*outside.Target, func()) {
	t.Helper()
	g := &good{fault: fault, left: map[string]int{}, all: map[string]int{}, last: map[string]time.Time{}, tick: map[string]float64{}}
	s := httptest.NewUnstartedServer(g)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.EnableHTTP2 = true
	cert, roots := issue(t, map[string]time.Duration{"expiring": 24 * time.Hour}[fault])
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256}}
	switch fault {
	case "cbc":
		s.TLS.CipherSuites = append(s.TLS.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)
	case "tls1.1":
		s.TLS.MinVersion, s.TLS.CipherSuites = tls.VersionTLS11, append(s.TLS.CipherSuites, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA)
	case "self-signed":
		roots = x509.NewCertPool()
	}
	if fault == "waits for ever" {
		s.Config.ReadHeaderTimeout = 0
	} else {
		s.Config.ReadHeaderTimeout = time.Second
	}
	s.StartTLS()
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch fault {
		case "served in plain":
			fmt.Fprint(w, `{"status":"ok"}`)
		case "redirect elsewhere":
			http.Redirect(w, r, "https://other.example"+r.URL.Path, http.StatusMovedPermanently)
		default:
			http.Redirect(w, r, "https://localhost"+r.URL.Path, http.StatusPermanentRedirect)
		}
	}))
	at := s.Listener.Addr()
	if fault == "lenient framing" {
		at = naive(t, cert)
	}
	_, port, err := net.SplitHostPort(at.String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := probe.New("https://localhost:"+port, probe.Options{TLS: &tls.Config{RootCAs: roots}, Refused: []string{expired}, Timeout: 5 * time.Second, MaxRequests: 1000})
	if err != nil {
		t.Fatal(err)
	}
	target := outside.NewTarget(c)
	_, target.PlainPort, _ = net.SplitHostPort(plain.Listener.Addr().String())
	target.Ports = []int{porttest.Port(t)}
	if fault == "open port" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		target.Ports = append(target.Ports, l.Addr().(*net.TCPAddr).Port)
	}
	target.Lookup = func(context.Context, string) ([]net.IP, error) { return []net.IP{net.IPv4(127, 0, 0, 1)}, nil }
	target.SSHPort = sshServer(t, fault == "ssh passwords")
	var once sync.Once
	stop := func() { once.Do(func() { s.Close(); plain.Close() }) }
	t.Cleanup(stop)
	return target, stop
}

// sshServer takes keys, and passwords if it is told to, and lets nobody in.
func sshServer(t *testing.T, passwords bool) (port string) {
	t.Helper()
	cert, _ := issue(t, 0)
	signer, err := ssh.NewSignerFromKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	no := fmt.Errorf("nobody gets in")
	cfg := &ssh.ServerConfig{PublicKeyCallback: func(ssh.ConnMetadata, ssh.PublicKey) (*ssh.Permissions, error) { return nil, no }}
	if passwords {
		cfg.PasswordCallback = func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return nil, no }
	}
	cfg.AddHostKey(signer)
	_, port, _ = net.SplitHostPort(porttest.Serve(t, func(conn net.Conn) { _, _, _, _ = ssh.NewServerConn(conn, cfg) }))
	return port
}
