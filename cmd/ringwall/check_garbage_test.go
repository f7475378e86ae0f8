package main

import (
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
	"github.com/ringwall/ringwall/policy"
)

// ofTLS are the checks that judge the handshake, and need no answer to a request.
var ofTLS = []string{"outside/certificate", "outside/tls", "edge/certificate", "edge/tls", "edge/key-exchange"}

// TestGarbageProvesNothing: what answers without a word of HTTP, or with errors and
// limits alone, shows nothing of a control, for better or for worse, save what such an
// answer shows by itself. It is held to a policy and to what every API owes.
func TestGarbageProvesNothing(t *testing.T) {
	cert := sameForAll(t, nil)
	shake := &tls.Config{Certificates: cert.TLS.Certificates}
	random := func(c io.ReadWriter) {
		junk := make([]byte, 4096)
		_, _ = rand.Read(junk) // never fails
		junk[0] = 'x'          // no record of TLS, whatever comes
		_, _ = c.Write(junk)
		_, _ = io.Copy(io.Discard, c)
	}
	after := func(say func(net.Conn)) func(net.Conn) { // as a server that reads first
		return func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 5))
			say(c)
		}
	}
	overTLS := func(say func(net.Conn)) func(net.Conn) {
		return func(c net.Conn) {
			s := tls.Server(c, shake)
			if s.HandshakeContext(t.Context()) == nil {
				say(s)
			}
			s.Close()
		}
	}
	silence := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }
	for name, tt := range map[string]struct {
		say    func(net.Conn)
		status int      // of all answers, where it speaks HTTP
		seen   []string // the checks that may judge
	}{
		"random bytes":          {say: func(c net.Conn) { random(c) }},
		"SSH":                   {say: func(c net.Conn) { _, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.2\r\n"); silence(c) }},
		"silence":               {say: silence},
		"closed at once":        {say: func(net.Conn) {}},
		"reset":                 {say: func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0) }},
		"HTTP in clear":         {say: after(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") })},
		"alert":                 {say: after(func(c net.Conn) { _, _ = c.Write([]byte{21, 3, 3, 0, 2, 2, 40}); silence(c) }), seen: []string{"edge/certificate"}},
		"random bytes over TLS": {say: overTLS(func(c net.Conn) { random(c) }), seen: ofTLS},
		"silence over TLS":      {say: overTLS(silence), seen: ofTLS},
		"closed over TLS":       {say: overTLS(func(net.Conn) {}), seen: ofTLS},
		"429":                   {status: 429, seen: ofTLS},
		"500":                   {status: 500, seen: ofTLS},
		"502":                   {status: 502, seen: ofTLS},
		"503":                   {status: 503, seen: ofTLS},
	} {
		for _, held := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, policy %t", name, held), func(t *testing.T) {
				if testing.Short() && (strings.HasPrefix(name, "silence") || held && tt.status > 0) {
					t.Skip("it waits for what does not come")
				}
				t.Parallel()
				var r check.Report
				if tt.status > 0 {
					s := sameForAll(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tt.status) })
					r = garbage(t, s.Listener.Addr().String(), 10*time.Second, held, s)
				} else {
					r = garbage(t, porttest.Serve(t, tt.say), 100*time.Millisecond, held, cert)
				}
				if len(r.Results) < 20 {
					t.Fatalf("only %d checks", len(r.Results))
				}
				for _, res := range r.Results {
					switch {
					case res.Verdict == check.Unknown && res.Got == "":
						t.Errorf("%s is unknown for no reason", res.ID)
					case res.Verdict == check.Unknown, slices.Contains(tt.seen, res.ID), res.Verdict == check.Fail && res.Shown && tt.status > 0:
					default:
						t.Errorf("%s: %v, %q", res.ID, res.Verdict, res.Got)
					}
				}
			})
		}
	}
}

// TestOneAnswerForAll: a server that answers everything alike is judged by what that
// answer is; what it would do with what must pass or be refused does not show.
func TestOneAnswerForAll(t *testing.T) {
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string // pass, fail and unknown, as p, f and u
	}{
		"a page": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<!doctype html><title>Welcome</title><p>A page for everybody")
		}, "cors p, secret-files p, host f, methods f, body f, burst f, scanners f, csp f, errors u, app-rate f, tokens u"},
		"a redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example"+r.URL.Path, http.StatusFound)
		}, "secret-files p, hsts f, burst f, host u, methods u, body u, scanners u, errors u, app-rate u, tokens u"},
		"a refusal": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
		}, "hsts f, host f, methods u, forwarded u, secret-files u, paths u, body u, app-rate u, tokens u"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := sameForAll(t, tt.handler)
			r := garbage(t, s.Listener.Addr().String(), 10*time.Second, false, s)
			got := map[string]string{}
			for _, res := range r.Results {
				got[strings.TrimPrefix(res.ID, "outside/")] = res.Verdict.String()[:1] + " " + res.Got
			}
			for one := range strings.SplitSeq(tt.want, ", ") {
				id, want, _ := strings.Cut(one, " ")
				if !strings.HasPrefix(got[id], want+" ") {
					t.Errorf("%s: %q, want %s", id, got[id], want)
				}
			}
		})
	}
}

// sameForAll speaks TLS as it must, with a certificate for example.com.
func sameForAll(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		answer(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// garbage makes the checks of who listens at an address.
func garbage(t *testing.T, address string, patience time.Duration, held bool, cert *httptest.Server) check.Report {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Default()
	p.Site, p.Identity.Registration = "example.com", "open"
	roots := cert.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c, err := probe.New("https://example.com:"+port, probe.Options{TLS: &tls.Config{RootCAs: roots}, Timeout: patience, MaxRequests: 2000, Address: "127.0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	r := &lookingRun{client: c, flags: checkFlags{timeout: time.Minute, plainPort: fmt.Sprint(porttest.Port(t))}}
	_, r.fresh = c.Fresh()
	checks, err := r.choose(&target{url: c.Base().String(), policy: p, held: held})
	if err != nil {
		t.Fatal(err)
	}
	checks = slices.DeleteFunc(checks, func(c check.Check) bool { return c.Waits }) // for 15 s
	return check.Run(t.Context(), checks, check.Options{PerCheck: 20 * time.Second})
}
