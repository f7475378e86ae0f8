package app_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/policy"
)

// TRAPS: letter case, port, dot, absolute form, bare address (CVE-2026-27588).
func TestTrapHostSpelling(t *testing.T) {
	tests := []struct {
		site, host string
		want       string // what the handler sees; "421", "400"
	}{
		{"api.example.com", "api.example.com", "api.example.com"},
		{"api.example.com", "API.Example.COM", "api.example.com"},
		{"api.example.com", "api.example.com.", "api.example.com"},
		{"api.example.com", "api.example.com:443", "api.example.com:443"},
		{"api.example.com", "Api.example.com.:8443", "api.example.com:8443"},
		{"api.example.com", "api.example.com:", "api.example.com"}, // RFC 3986, 6.2.3
		{"API.example.com.", "api.example.com", "api.example.com"},
		{"xn--bcher-kva.example", "XN--BCHER-KVA.example", "xn--bcher-kva.example"},

		{"api.example.com", "", "400"},
		{"api.example.com", ".", "400"},
		{"api.example.com", ":443", "400"},
		{"api.example.com", "api.example.com..", "421"},
		{"api.example.com", ".api.example.com", "421"},
		{"api.example.com", "example.com", "421"},
		{"api.example.com", "www.api.example.com", "421"},
		{"api.example.com", "api.example.com.evil.example", "421"},
		{"api.example.com", "evil.example#api.example.com", "421"},
		{"api.example.com", "user@api.example.com", "421"},
		{"api.example.com", "api.example.com:443:443", "421"},
		{"api.example.com", "api.example.com:443@evil.example", "421"},
		{"api.example.com", "api.example.com:x", "421"},
		{"api.example.com", "api.example.com:+443", "421"},
		{"api.example.com", "api.example.com:443000", "421"},
		{"api.example.com", "api.example.com/x", "421"},
		{"api.example.com", "api.example.com,evil.example", "421"},
		{"api.example.com", "api.example.com ", "421"},
		{"api.example.com", "api\u3002example.com", "421"},
		{"api.kelvin.example", "api.\u212aelvin.example", "421"},
		{"api.example.com", "127.0.0.1", "421"},
		{"api.example.com", "localhost", "421"},
		{"api.example.com", "[::1]", "421"},
		{"api.example.com", "[", "421"},
		{"api.example.com", "[]", "421"},
		{"api.example.com", "[api.example.com]", "421"},

		{"localhost", "localhost:8443", "localhost:8443"},
		{"localhost", "LOCALHOST", "localhost"},
		{"localhost", "127.0.0.1:8443", "127.0.0.1:8443"},
		{"localhost", "[::1]:8443", "[::1]:8443"},
		{"localhost", "[::1]", "[::1]"},
		{"localhost", "::1", "400"},
		{"localhost", "[::1]x", "421"},
		{"localhost", "[::1", "421"},
		{"localhost", "[::1]:x", "421"},
		{"localhost", "127.0.0.2", "421"},
		{"localhost", "localhost.evil.example", "421"},
		{"localhost", "a.localhost", "421"},

		{"192.0.2.1", "192.0.2.1:80", "192.0.2.1:80"},
		{"192.0.2.1", "192.0.2.2", "421"},
		{"192.0.2.1", "0xc0000201", "421"},
		{"2001:db8::1", "[2001:db8::1]:443", "[2001:db8::1]:443"},
		{"[2001:DB8:0::1]", "[2001:DB8::1]", "[2001:db8::1]"},
		{"2001:db8::1", "2001:db8::1", "421"},
	}
	for _, tt := range tests {
		l := &protocolLog{}
		ring := protocolRing(t, l, func(p *policy.Policy) { p.Site = tt.site })
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = tt.host
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, r)
		switch {
		case tt.want == "421" || tt.want == "400":
			if got := w.Result().Status[:3]; got != tt.want || len(l.seen) > 0 {
				t.Errorf("site %s, host %q: answered %s, want %s", tt.site, tt.host, got, tt.want)
			}
			if !slices.Equal(l.kinds(), []string{"protocol.refused app/host"}) {
				t.Errorf("site %s, host %q: events %q", tt.site, tt.host, l.kinds())
			}
		case w.Code != 200:
			t.Errorf("site %s, host %q: answered %d", tt.site, tt.host, w.Code)
		case l.seen[0].Host != tt.want:
			t.Errorf("site %s, host %q: the handler saw %q, want %q", tt.site, tt.host, l.seen[0].Host, tt.want)
		}
	}
}

// RFC 9112, 3.2.2: the host of an absolute target counts, not the header's.
func TestTrapHostOfAbsoluteTarget(t *testing.T) {
	for request, status := range map[string]int{
		"GET http://evil.example/ HTTP/1.1\r\nHost: localhost":                421,
		"GET http://localhost@evil.example/ HTTP/1.1\r\nHost: localhost":      400,
		"GET http://evil.example:80/ HTTP/1.1\r\nHost: localhost":             421,
		"GET http://localhost/ HTTP/1.1\r\nHost: evil.example":                200,
		"GET http://LOCALHOST.:8080/ HTTP/1.1\r\nHost: evil.example":          200,
		"GET / HTTP/1.1\r\nHost: evil.example":                                421,
		"GET / HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: localhost": 421,
		"GET / HTTP/1.1\r\nHost:":                                             400,
		"GET / HTTP/1.0\r\nX-A: b":                                            400,
		"GET / HTTP/1.0\r\nHost: localhost":                                   200,
		"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example":             400,
		"GET / HTTP/1.1\r\nHost: localhost\r\nHost : evil.example":            400,
	} {
		l := &protocolLog{}
		got := protocolSend(t, protocolServer(t, l), request+"\r\nConnection: close\r\n\r\n")
		if !slices.Equal(got, []int{status}) {
			t.Errorf("%q: answered %v, want %d", request, got, status)
		}
		for _, r := range l.seen {
			if name, _, _ := strings.Cut(r.Host, ":"); name != "localhost" || r.URL.Host != "" {
				t.Errorf("%q: the handler saw Host %q and URL %v", request, r.Host, r.URL)
			}
		}
	}
}

// RFC 9110, 7.4: a request for another site than its connection's.
func TestTrapHostOfAnotherConnection(t *testing.T) {
	l := &protocolLog{}
	s := httptest.NewUnstartedServer(protocolRing(t, l, func(p *policy.Policy) { p.Site = "api.example.com" }))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for _, http2 := range []bool{false, true} {
		for sni, status := range map[string]int{"api.example.com": 200, "API.EXAMPLE.COM": 200, "other.example.com": 421, "": 200} {
			c := &http.Client{Transport: &http.Transport{
				ForceAttemptHTTP2: http2, DisableKeepAlives: !http2,
				TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: sni},
			}}
			r, _ := http.NewRequest("GET", s.URL, nil)
			r.Host = "api.example.com"
			res, err := c.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
			c.CloseIdleConnections()
			if res.StatusCode != status || (res.ProtoMajor == 2) != http2 {
				t.Errorf("server name %q over %s: answered %d, want %d", sni, res.Proto, res.StatusCode, status)
			}
		}
	}
}

func TestHostPolicy(t *testing.T) {
	for _, site := range []string{"", "."} {
		p := protocolPolicy(func(p *policy.Policy) { p.Site = site })
		if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil || !strings.Contains(err.Error(), "site") {
			t.Errorf("site %q: %v", site, err)
		}
	}
}

func TestHostLogIsBounded(t *testing.T) {
	l := &protocolLog{}
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = strings.Repeat("a", 10_000)
	protocolRing(t, l).ServeHTTP(httptest.NewRecorder(), r)
	if len(l.events) != 1 || len(l.events[0].Detail) > 200 {
		t.Errorf("events %v", l.kinds())
	}
}
