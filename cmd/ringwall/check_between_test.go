package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// lookHard makes all checks of a target at 127.0.0.1, held to a policy or not, with
// tokens and an account that were given.
func lookHard(t *testing.T, url string, roots *x509.CertPool, timeout time.Duration, held bool, only ...string) check.Report {
	t.Helper()
	p := policy.Default()
	p.Site = "example.com"
	p.Identity.Registration = "open"
	p.App.CORS.Origins = []string{"https://front.example.com"}
	c, err := probe.New(url, probe.Options{Address: "127.0.0.1", TLS: &tls.Config{RootCAs: roots}, Timeout: timeout, MaxRequests: 3000,
		Tokens: map[string]string{"": "x.y.z", "user": "x.y.z", "admin": "a.b.c"}, Account: probe.Account{Email: "a@example.com", Password: "nine slow barges"}})
	if err != nil {
		t.Fatal(err)
	}
	r := &lookingRun{client: c, flags: checkFlags{only: only, plainPort: strconv.Itoa(porttest.Port(t))}}
	_, r.fresh = c.Fresh()
	checks, err := r.choose(&target{url: url, policy: p, held: held})
	if err != nil {
		t.Fatal(err)
	}
	return check.Run(t.Context(), checks, check.Options{PerCheck: 5 * max(timeout, time.Second)})
}

// TestErrorsOfAProxyProveNothing: what stands before an API that is down, or before
// one that nobody may reach, refuses what must be refused, and all else.
func TestErrorsOfAProxyProveNothing(t *testing.T) {
	for status, none := range map[int][]string{ // "": whatever asks for a page
		http.StatusBadGateway:         {""},
		http.StatusTooManyRequests:    {""},
		http.StatusForbidden:          {"outside/tokens", "outside/identity-headers"},
		http.StatusMisdirectedRequest: {"outside/host", "outside/scanners"},
		http.StatusFound:              {"outside/host"},
	} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			h := w.Header()
			h["Date"] = nil
			for name, v := range map[string]string{"Content-Type": "text/html", "Server": "nginx", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
				"Strict-Transport-Security": "max-age=31536000", "Permissions-Policy": "geolocation=(), microphone=(), camera=()", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "Location": "/"} {
				h.Set(name, v)
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<h1>"+http.StatusText(status)+"</h1>")
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		_, port, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for _, held := range []bool{true, false} {
			only := none
			if none[0] == "" {
				only = nil
			} else if held {
				continue // the ring's own checks take their place
			}
			if held && testing.Short() {
				continue // two of the ring's checks wait for five seconds each
			}
			for _, res := range lookHard(t, "https://example.com:"+port, roots, time.Second, held, only...).Results {
				switch res.ID {
				case "outside/certificate", "outside/tls", "edge/key-exchange", "edge/tls": // ask for no page
					continue
				}
				if res.Verdict == check.Pass {
					t.Errorf("all is answered %d, with a policy %v, and %s passes: %s", status, held, res.ID, res.Got)
				}
			}
		}
	}
}

// TestALimitIsNoRefusal: what is answered 429 in the middle of a check was neither
// refused nor let through. Without the limit the same server is right.
func TestALimitIsNoRefusal(t *testing.T) {
	checks := []string{"outside/secret-files", "outside/methods", "outside/paths", "outside/forwarded", "outside/identity-headers", "outside/framing"}
	for _, limit := range []bool{true, false} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			forwarded, caller := r.Header["X-Host"] != nil, len(r.Header["X-User"]) > 0 // a few of each kind
			switch {
			case r.URL.Path == "/" && r.Method == http.MethodGet && !forwarded:
				_, _ = io.WriteString(w, "{}")
			case r.URL.Path == "/api/me" && !caller:
				w.WriteHeader(http.StatusUnauthorized)
			case limit:
				w.WriteHeader(http.StatusTooManyRequests)
			default:
				w.WriteHeader(http.StatusNotImplemented)
			}
		}))
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		s.StartTLS()
		t.Cleanup(s.Close)
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		_, port, err := net.SplitHostPort(s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]check.Verdict{true: check.Unknown, false: check.Pass}[limit]
		for _, res := range lookHard(t, "https://example.com:"+port, roots, patience, false, checks...).Results {
			if res.Verdict != want {
				t.Errorf("with a limit %v, %s: %v %s", limit, res.ID, res.Verdict, res.Got)
			}
		}
	}
}

// TestRingsOfHostileTargets: no ring's proof passes on a target that breaks off, says
// nothing, or speaks nonsense, and none takes for ever.
func TestRingsOfHostileTargets(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	garbage := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{[]byte(strings.Repeat("no certificate ", 40))}, PrivateKey: key}}}
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	for name, h := range map[string]struct {
		scheme string
		answer func(net.Conn)
	}{
		"a handshake cut off": {"https", func(c net.Conn) { _, _ = c.Write([]byte{22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3}) }},
		"an alert":            {"https", func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}) }},
		"no certificate": {"https", func(c net.Conn) {
			_ = tls.Server(c, garbage).HandshakeContext(t.Context())
		}},
		"HTTP where TLS should be": {"https", func(c net.Conn) { _, _ = io.WriteString(c, ok+"\r\n{}") }},
		"silence":                  {"http", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }},
		"no HTTP":                  {"http", func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n") }},
		"length too long":          {"http", func(c net.Conn) { _, _ = io.WriteString(c, ok+"Content-Length: 1000\r\n\r\n{}") }},
		"endless interim": {"http", func(c net.Conn) {
			for err := error(nil); err == nil; {
				_, err = io.WriteString(c, "HTTP/1.1 102 Processing\r\n\r\n")
			}
		}},
	} {
		t.Run(strings.ReplaceAll(name, " ", "-"), func(t *testing.T) {
			if testing.Short() && (name == "silence" || name == "endless interim") {
				t.Skip("it takes seconds")
			}
			_, port, err := net.SplitHostPort(porttest.Serve(t, h.answer))
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			r := lookHard(t, h.scheme+"://example.com:"+port, x509.NewCertPool(), 200*time.Millisecond, true)
			for _, res := range r.Results {
				if res.Verdict == check.Pass {
					t.Errorf("%s passes: %s", res.ID, res.Got)
				}
			}
			t.Logf("%v in %v", r.Summary(), time.Since(began).Round(time.Millisecond))
			if took := time.Since(began); took > 3*time.Minute {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestWhatToTypeForWhatWasNotMade: a limit that is below what one check needs is what
// to raise, and an authority that is not known is named once.
func TestWhatToTypeForWhatWasNotMade(t *testing.T) {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer s.Close()
	c, err := probe.New(s.URL, probe.Options{MaxRequests: 1})
	if err != nil {
		t.Fatal(err)
	}
	r := &lookingRun{client: c, flags: checkFlags{only: []string{"outside/http2"}}}
	checks, err := r.choose(&target{url: s.URL, policy: policy.Default()})
	if err != nil {
		t.Fatal(err)
	}
	if got := check.Run(t.Context(), checks, check.Options{}).Results[0]; !got.Unmade || !strings.Contains(got.Got, "--max-requests 3") || strings.Contains(got.Got, "--only") {
		t.Errorf("%v: %s", got.Verdict, got.Got)
	}
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, res := range lookHard(t, "https://example.com:"+port, x509.NewCertPool(), patience, false, "outside/nosniff", "outside/hsts", "outside/cors").Results {
		if res.Verdict != check.Unknown {
			t.Errorf("%s: %v %s", res.ID, res.Verdict, res.Got)
		}
		if strings.Contains(res.Fix, "--cacert") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("--cacert is named %d times, want once", told)
	}
}
