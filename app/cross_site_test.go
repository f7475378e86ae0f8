package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

// crossSiteRing lets everybody call, so that only the cross-site check decides.
// app/cors, which would refuse foreign origins first, is taken out.
func crossSiteRing(t *testing.T, p *policy.Policy, events audit.Sink) http.Handler {
	t.Helper()
	ring, err := app.NewWithout(p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "reached")
	}), app.Deps{Audit: events, Verifier: callers}, "app/cors", "app/header-names")
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

const crossSiteURL = "https://127.0.0.1/notes"

// crossSiteAsk posts with a cookie and the headers, given as "Name: value".
func crossSiteAsk(h http.Handler, method string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, crossSiteURL, nil)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestCrossSite(t *testing.T) {
	const cookie = "Cookie: session=1"
	ring := crossSiteRing(t, corsPolicy(), audit.Discard)
	for _, c := range []struct {
		name    string
		headers []string
		passes  bool
	}{
		{"the site's own script", []string{cookie, "Sec-Fetch-Site: same-origin", "Origin: https://127.0.0.1"}, true},
		{"the site's own form under no-referrer", []string{cookie, "Sec-Fetch-Site: same-origin", "Origin: null"}, true},
		{"same-origin without Origin", []string{cookie, "Sec-Fetch-Site: same-origin"}, true},
		{"the user himself", []string{cookie, "Sec-Fetch-Site: none"}, true},
		{"an older browser, own page", []string{cookie, "Origin: https://127.0.0.1"}, true},
		{"a program", []string{cookie}, true},
		{"a listed page", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: " + corsApp}, true},
		{"a listed page, older browser", []string{cookie, "Origin: " + corsApp}, true},
		{"another site", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, false},
		{"another site without Origin", []string{cookie, "Sec-Fetch-Site: cross-site"}, false},
		{"a sibling", []string{cookie, "Sec-Fetch-Site: same-site", "Origin: https://x.127.0.0.1"}, false},
		{"a sandboxed frame", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: null"}, false},
		{"another site, older browser", []string{cookie, "Origin: https://evil.example"}, false},
		{"null, older browser", []string{cookie, "Origin: null"}, false},
		{"http twin", []string{cookie, "Origin: http://127.0.0.1"}, false},
		{"other port", []string{cookie, "Origin: https://127.0.0.1:8443"}, false},
		{"empty Origin", []string{cookie, "Origin: "}, false},
		{"two headers that disagree", []string{cookie, "Sec-Fetch-Site: same-origin", "Origin: https://evil.example"}, false},
		{"sent by a redirect of another site", []string{cookie, "Sec-Fetch-Site: cross-site", "Origin: https://127.0.0.1"}, false},
		{"two Sec-Fetch-Site", []string{cookie, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}, false},
		{"unknown Sec-Fetch-Site", []string{cookie, "Sec-Fetch-Site: same-planet"}, false},
		{"Sec-Fetch-Site in upper case", []string{cookie, "Sec-Fetch-Site: Same-Origin"}, false},
		{"two Origins", []string{cookie, "Origin: https://127.0.0.1", "Origin: https://evil.example"}, false},
		{"a remembered password", []string{"Authorization: Basic YTpi", "Sec-Fetch-Site: cross-site"}, false},
		{"a ticket", []string{"Authorization: Negotiate abc", "Sec-Fetch-Site: cross-site"}, false},
		{"a bearer token, another site", []string{"Authorization: Bearer token-of-alice", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, true},
		{"a bearer token and a cookie", []string{cookie, "Authorization: Bearer token-of-alice", "Sec-Fetch-Site: cross-site"}, false},
		{"nothing to abuse", []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, true},
	} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			refused := crossSiteAsk(ring, method, c.headers...).Code == http.StatusForbidden
			if refused == c.passes {
				t.Errorf("%s, %s: refused %t", method, c.name, refused)
			}
		}
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			if crossSiteAsk(ring, method, c.headers...).Code == http.StatusForbidden {
				t.Errorf("%s, %s: refused", method, c.name)
			}
		}
	}

	events := &corsEvents{}
	w := crossSiteAsk(crossSiteRing(t, corsPolicy(), events), "POST", cookie, "Sec-Fetch-Site: cross-site")
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" || !slices.Equal(events.kinds(), []audit.Kind{audit.CrossSiteRefused}) {
		t.Errorf("the refusal is %s and raises %v", got, events.kinds())
	}
}

// TestCrossSiteListedWithoutCredentials: an origin that may read public answers
// is not therefore trusted with cookies.
func TestCrossSiteListedWithoutCredentials(t *testing.T) {
	p := corsPolicy()
	p.App.CORS.Credentials = false
	ring := crossSiteRing(t, p, audit.Discard)
	for _, headers := range [][]string{{"Origin: " + corsApp}, {"Origin: " + corsApp, "Sec-Fetch-Site: cross-site"}} {
		if w := crossSiteAsk(ring, "POST", append(headers, "Cookie: session=1")...); w.Code != http.StatusForbidden {
			t.Errorf("%q: %d", headers, w.Code)
		}
	}
}

// TestTrapCSRFParsing: golang/go #78563 and its like. An Origin that only a
// lenient parser takes for the site's is foreign.
func TestTrapCSRFParsing(t *testing.T) {
	ring := crossSiteRing(t, corsPolicy(), audit.Discard)
	for _, origin := range []string{
		"http://evil@127.0.0.1", "https://evil@127.0.0.1", "https://evil:pw@127.0.0.1", "https://@127.0.0.1", "//127.0.0.1", "127.0.0.1",
		"evil://127.0.0.1", "https://127.0.0.1/evil", "https://127.0.0.1?evil", "https://127.0.0.1#evil", "https://127.0.0.1:443", "https://127.0.0.1:",
		"https://127.0.0.1.", "https://127.0.0.1 https://evil.example", "https://127.0.0.1, https://evil.example", "HTTPS://127.0.0.1", "https://127.1",
		"https://2130706433", "https://0x7f.0.0.1", "https://evil.example\\@127.0.0.1", "javascript://127.0.0.1", "https:127.0.0.1",
	} {
		if w := crossSiteAsk(ring, "POST", "Cookie: session=1", "Origin: "+origin); w.Code != http.StatusForbidden {
			t.Errorf("%q: %d", origin, w.Code)
		}
	}
}

// TestCrossSiteAgainstNetHTTP asks the standard library's protection the same.
// Ours may refuse more, never less; what it refuses more is counted by reason.
func TestCrossSiteAgainstNetHTTP(t *testing.T) {
	ring := crossSiteRing(t, corsPolicy(), audit.Discard)
	theirs := http.NewCrossOriginProtection()
	for _, o := range corsPolicy().App.CORS.Origins {
		if err := theirs.AddTrustedOrigin(o); err != nil {
			t.Fatal(err)
		}
	}
	stricter := map[string]int{}
	for _, method := range []string{"GET", "POST", "DELETE"} {
		for _, site := range []string{"", "same-origin", "same-site", "cross-site", "none", "x"} {
			for _, origin := range []string{"", "https://127.0.0.1", "http://127.0.0.1", "https://evil@127.0.0.1", corsApp, "https://evil.example", "null", corsApp + "/"} {
				headers := []string{"Cookie: session=1"}
				if site != "" {
					headers = append(headers, "Sec-Fetch-Site: "+site)
				}
				if origin != "" {
					headers = append(headers, "Origin: "+origin)
				}
				r := httptest.NewRequest(method, crossSiteURL, nil)
				for _, line := range headers {
					name, value, _ := strings.Cut(line, ": ")
					r.Header.Set(name, value)
				}
				weRefuse, theyRefuse := crossSiteAsk(ring, method, headers...).Code == http.StatusForbidden, theirs.Check(r) != nil
				switch {
				case weRefuse == theyRefuse:
				case theyRefuse:
					t.Errorf("%s %q: net/http refuses and we do not", method, headers)
				case site == "" && origin == "http://127.0.0.1":
					stricter["scheme"]++
				case site == "" && origin == "https://evil@127.0.0.1":
					stricter["userinfo"]++
				case site == "same-origin" || site == "none":
					stricter["Origin disagrees with Sec-Fetch-Site"]++
				default:
					t.Errorf("%s %q: we refuse and net/http does not", method, headers)
				}
			}
		}
	}
	if len(stricter) != 3 {
		t.Errorf("differences: %v", stricter)
	}
}

// TestCrossSiteClientCertificate: a certificate is as ambient as a cookie.
func TestCrossSiteClientCertificate(t *testing.T) {
	ring := crossSiteRing(t, corsPolicy(), audit.Discard)
	r := httptest.NewRequest("POST", crossSiteURL, nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{}}}
	w := httptest.NewRecorder()
	ring.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("status %d", w.Code)
	}
}

func TestCrossSiteAllocatesNothing(t *testing.T) {
	r := httptest.NewRequest("POST", crossSiteURL, nil)
	r.Header = http.Header{"Cookie": {"session=1"}, "Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://127.0.0.1"}}
	if with, without := headersAllocs(t, corsPolicy(), r), headersAllocs(t, corsPolicy(), r, "app/cross-site"); with != without {
		t.Errorf("app/cross-site allocates %v times a request", with-without)
	}
}
