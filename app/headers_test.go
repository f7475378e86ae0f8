package app_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// helmetDefaults are the headers that helmet 8.1 sets by default, in its
// README's order. X-Powered-By, its thirteenth, it removes.
var helmetDefaults = []string{
	"Content-Security-Policy", "Cross-Origin-Opener-Policy", "Cross-Origin-Resource-Policy", "Origin-Agent-Cluster",
	"Referrer-Policy", "Strict-Transport-Security", "X-Content-Type-Options", "X-DNS-Prefetch-Control", "X-Download-Options",
	"X-Frame-Options", "X-Permitted-Cross-Domain-Policies", "X-XSS-Protection",
}

// headerControls only set headers.
var headerControls = []string{
	"app/hsts", "app/csp", "app/frame-options", "app/nosniff", "app/referrer-policy", "app/permissions-policy",
	"app/isolation", "app/legacy-headers", "app/disclosure",
}

func headersPolicy() *policy.Policy {
	p := policy.Default()
	p.Site = "127.0.0.1"
	p.App.Routes = []policy.Route{{Path: "/private/", Allow: []string{"signed-in"}}, {Path: "/", Allow: []string{"anyone"}}}
	return p
}

// headersRing is the whole ring on a server of its own.
func headersRing(t *testing.T, p *policy.Policy, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	ring, err := app.New(p, h, app.Deps{Verifier: callers})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(ring)
	t.Cleanup(s.Close)
	return s
}

func headersGet(t *testing.T, s *httptest.Server, method, path string, header http.Header) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	res, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func headersControl(t *testing.T, id string) app.Control {
	t.Helper()
	for _, c := range app.Controls() {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no control %s", id)
	return app.Control{}
}

func TestHeadersOnEveryAnswer(t *testing.T) {
	s := headersRing(t, headersPolicy(), func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/broken":
			panic("broken")
		case "/moved":
			http.Redirect(w, r, "/", http.StatusFound)
		case "/unchanged":
			w.WriteHeader(http.StatusNotModified)
		}
	})
	s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for path, status := range map[string]int{
		"/": 200, "/missing": 404, "/broken": 500, "/moved": 302, "/unchanged": 304, "/a%00": 400, "/private/": 401,
	} {
		res, _ := headersGet(t, s, "GET", path, nil)
		if res.StatusCode != status {
			t.Fatalf("%s: status %d, want %d", path, res.StatusCode, status)
		}
		for _, name := range append(helmetDefaults, "Permissions-Policy") {
			if got := res.Header.Values(name); len(got) != 1 || got[0] == "" {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
	}
}

// TestHeadersOfAnUpstreamLose: what a handler sets of its own neither weakens
// nor doubles an owned header.
func TestHeadersOfAnUpstreamLose(t *testing.T) {
	s := headersRing(t, headersPolicy(), func(w http.ResponseWriter, r *http.Request) {
		for _, c := range app.Controls() {
			for _, name := range c.Owns {
				w.Header().Add(name, "canary")
				w.Header().Add(name, "canary")
			}
		}
	})
	res, _ := headersGet(t, s, "GET", "/", nil)
	for name, values := range res.Header {
		if len(values) > 1 && name != "Vary" || slices.Contains(values, "canary") {
			t.Errorf("%s: %q", name, values)
		}
	}
}

// TestTrapHSTSWhereItHurts: only over HTTPS; preload and subdomains only when
// asked; never less than an hour.
func TestTrapHSTSWhereItHurts(t *testing.T) {
	p := headersPolicy()
	h := func(http.ResponseWriter, *http.Request) {}
	ring, err := app.New(p, http.HandlerFunc(h), app.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(ring)
	t.Cleanup(plain.Close)
	for _, path := range []string{"/", "/a%00"} {
		res, err := http.Get(plain.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if v, ok := res.Header["Strict-Transport-Security"]; ok {
			t.Errorf("over plain HTTP %s has Strict-Transport-Security: %q", path, v)
		}
	}
	for _, c := range []struct {
		hsts policy.HSTS
		want string
	}{
		{policy.HSTS{MaxAge: 365 * 24 * time.Hour}, "max-age=31536000"},
		{policy.HSTS{MaxAge: time.Hour}, "max-age=3600"},
		{policy.HSTS{MaxAge: time.Hour, Subdomains: true}, "max-age=3600; includeSubDomains"},
		{policy.HSTS{MaxAge: 365 * 24 * time.Hour, Subdomains: true, Preload: true}, "max-age=31536000; includeSubDomains; preload"},
	} {
		p := headersPolicy()
		p.App.Headers.HSTS = c.hsts
		res, _ := headersGet(t, headersRing(t, p, h), "GET", "/", nil)
		if got := res.Header.Get("Strict-Transport-Security"); got != c.want {
			t.Errorf("%+v: %q, want %q", c.hsts, got, c.want)
		}
	}
	for _, age := range []time.Duration{0, -time.Hour, time.Hour - 1} {
		p := headersPolicy()
		p.App.Headers.HSTS.MaxAge = age
		if _, err := app.New(p, http.HandlerFunc(h), app.Deps{}); err == nil {
			t.Errorf("a max-age of %v was accepted", age)
		}
	}
}

func TestHeadersRefuseValuesThatBrowsersIgnore(t *testing.T) {
	for name, change := range map[string]func(*policy.Headers){
		"app/csp":                func(h *policy.Headers) { h.CSP = "" },
		"app/csp ":               func(h *policy.Headers) { h.CSP = " ; " },
		"app/csp, two":           func(h *policy.Headers) { h.CSP = "default-src 'none', default-src *" },
		"app/permissions-policy": func(h *policy.Headers) { h.Permissions = "" },
		// Feature-Policy's syntax, which browsers drop without a word.
		"app/permissions-policy, old syntax": func(h *policy.Headers) { h.Permissions = "geolocation 'none'; camera 'none'" },
		"app/permissions-policy, number":     func(h *policy.Headers) { h.Permissions = "geolocation=1" },
	} {
		p := headersPolicy()
		change(&p.App.Headers)
		if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil {
			t.Errorf("%s: %+v was accepted", name, p.App.Headers)
		}
	}
}

// TestHeadersAreJudgedByParsing puts values before the proofs, as servers send
// them that Ringwall does not protect.
func TestHeadersAreJudgedByParsing(t *testing.T) {
	for _, c := range []struct {
		id, name string
		pass     []string
		fail     []string
	}{
		{"app/hsts", "Strict-Transport-Security",
			[]string{"max-age=31536000", "includeSubDomains; max-age=31536000", `Max-Age="31536000" ; preload`, "max-age=99999999; ;"},
			[]string{"", "max-age=0", "max-age=31535999", "max-age", "31536000", "max-age=1e9", "max-age=3600; max-age=0", "max-age=0; max-age=3600", "max-age=-1", "maxage=31536000"}},
		{"app/csp", "Content-Security-Policy",
			[]string{
				"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
				"DEFAULT-SRC 'NONE';frame-ancestors;base-uri 'none';form-action 'none'",
				"default-src *, default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
			},
			[]string{
				"", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
				"default-src 'none'; base-uri 'none'; form-action 'none'",
				"default-src 'none'; script-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
				"default-src *; default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
				"default-src 'none' frame-ancestors 'none' base-uri 'none' form-action 'none'",
			}},
		{"app/frame-options", "X-Frame-Options", []string{"DENY", "deny", "DENY, deny"}, []string{"", "SAMEORIGIN", "ALLOW-FROM https://a", "DENY, SAMEORIGIN"}},
		{"app/nosniff", "X-Content-Type-Options", []string{"nosniff", "NoSniff", "nosniff, x"}, []string{"", "sniff", "x, nosniff", "no-sniff"}},
		{"app/referrer-policy", "Referrer-Policy",
			[]string{"strict-origin-when-cross-origin", "no-referrer", "same-origin", "unsafe-url, strict-origin", "No-Referrer", "no-referrer, future-policy"},
			[]string{"", "unsafe-url", "origin", "no-referrer-when-downgrade", "no-referrer, unsafe-url", "none"}},
		{"app/permissions-policy", "Permissions-Policy",
			[]string{"geolocation=(), microphone=(), camera=()", "camera=(),microphone=(),geolocation=(), usb=()"},
			[]string{"", "geolocation=()", "geolocation=(), microphone=(), camera=*", "geolocation=(), microphone=(), camera=(self)",
				"geolocation=(), microphone=(), camera=(", "geolocation 'none'; microphone 'none'; camera 'none'"}},
		{"app/isolation", "Cross-Origin-Resource-Policy", []string{"same-origin"}, []string{"", "same-site", "cross-origin"}},
		{"app/isolation", "Cross-Origin-Opener-Policy", []string{"same-origin", `same-origin; report-to="x"`}, []string{"", "unsafe-none", "same-origin-allow-popups", `"same-origin"`}},
		{"app/isolation", "Origin-Agent-Cluster", []string{"?1", "?1;a=b"}, []string{"", "?0", "1", "true"}},
		{"app/legacy-headers", "X-DNS-Prefetch-Control", []string{"off"}, []string{"", "on"}},
		{"app/legacy-headers", "X-Download-Options", []string{"noopen"}, []string{"", "open"}},
		{"app/legacy-headers", "X-Permitted-Cross-Domain-Policies", []string{"none"}, []string{"", "all", "master-only"}},
		{"app/legacy-headers", "X-XSS-Protection", []string{"0", "0; mode=block"}, []string{"", "1", "1; mode=block"}},
		// nginx cannot be told to leave its name out, only its version.
		{"app/disclosure", "Server", []string{"", "nginx"}, []string{"nginx/1.27.0", "nginx, gunicorn", "gunicorn"}},
		{"app/disclosure", "X-Powered-By", []string{""}, []string{"Express"}},
		{"app/disclosure", "Via", []string{""}, []string{"1.1 varnish (Varnish/6.0)"}},
	} {
		for _, value := range c.pass {
			if f := headersFinding(t, c.id, c.name, value, http.StatusBadRequest); f.Verdict != check.Pass {
				t.Errorf("%s: %q: %v, %s", c.name, value, f.Verdict, f.Got)
			}
		}
		for _, value := range c.fail {
			if f := headersFinding(t, c.id, c.name, value, http.StatusBadRequest); f.Verdict != check.Fail {
				t.Errorf("%s: %q: %v, %s", c.name, value, f.Verdict, f.Got)
			}
		}
	}
}

// TestHeadersOnErrorsAreSeen: right on 200 alone is a failure, and no error at
// all leaves the errors unknown.
func TestHeadersOnErrorsAreSeen(t *testing.T) {
	if f := headersFinding(t, "app/nosniff", "X-Content-Type-Options", "nosniff", http.StatusOK); f.Verdict != check.Unknown {
		t.Errorf("no error seen: %v", f.Verdict)
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			return
		}
		w.WriteHeader(http.StatusBadRequest) // as nginx does without "always"
	}))
	defer s.Close()
	if f := headersControl(t, "app/nosniff").Verify(t.Context(), headersPolicy(), headersProbe(t, s)); f.Verdict != check.Fail {
		t.Errorf("absent on errors: %v, %s", f.Verdict, f.Got)
	}
}

// headersFinding proves a control against a server that sends what the ring
// would, with one header changed ("" drops it) and errors of the given status.
func headersFinding(t *testing.T, id, name, value string, status int) check.Finding {
	t.Helper()
	ring, err := app.New(headersPolicy(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), app.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		root := r.Clone(r.Context())
		root.URL.Path, root.URL.RawPath = "/", ""
		ring.ServeHTTP(rec, root)
		for n, v := range rec.Header() {
			w.Header()[n] = v
		}
		w.Header().Del(name)
		if value != "" {
			w.Header().Set(name, value)
		}
		if r.URL.Path != "/" {
			w.WriteHeader(status)
		}
	}))
	defer s.Close()
	return headersControl(t, id).Verify(t.Context(), headersPolicy(), headersProbe(t, s))
}

func headersProbe(t *testing.T, s *httptest.Server) *probe.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c, err := probe.New(s.URL, probe.Options{TLS: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// headersSink is a response writer that costs nothing: what is measured is the ring.
type headersSink struct{ h http.Header }

func (s *headersSink) Header() http.Header         { return s.h }
func (s *headersSink) WriteHeader(int)             { clear(s.h) }
func (s *headersSink) Write(p []byte) (int, error) { return len(p), nil }

// headersAllocs counts the allocations of one request through the ring without
// some controls.
func headersAllocs(t *testing.T, p *policy.Policy, r *http.Request, without ...string) float64 {
	t.Helper()
	ring, err := app.NewWithout(p, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }), app.Deps{}, without...)
	if err != nil {
		t.Fatal(err)
	}
	sink := &headersSink{h: make(http.Header, 64)}
	return testing.AllocsPerRun(500, func() { ring.ServeHTTP(sink, r) })
}

// TestHeadersAllocateNothing measures the ring with the header controls and
// without: the difference is what they cost.
func TestHeadersAllocateNothing(t *testing.T) {
	r := httptest.NewRequest("GET", "https://127.0.0.1/", nil)
	var more float64
	for range 5 { // under the race detector pools lose some at random
		more = headersAllocs(t, headersPolicy(), r) - headersAllocs(t, headersPolicy(), r, headerControls...)
		if more == 0 {
			return
		}
	}
	t.Errorf("the header controls allocate %v times a request", more)
}

func BenchmarkHeaders(b *testing.B) {
	for name, without := range map[string][]string{"with": {"app/rate"}, "without": append(headerControls, "app/rate")} {
		b.Run(name, func(b *testing.B) {
			ring, err := app.NewWithout(headersPolicy(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200) }), app.Deps{}, without...)
			if err != nil {
				b.Fatal(err)
			}
			sink := &headersSink{h: make(http.Header, 64)}
			r := httptest.NewRequest("GET", "https://127.0.0.1/", nil)
			b.ReportAllocs()
			for b.Loop() {
				ring.ServeHTTP(sink, r)
			}
		})
	}
}
