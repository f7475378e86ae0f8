package app_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/policy"
)

func TestCanonicalPath(t *testing.T) {
	long := strings.Repeat("a", app.MaxPath)
	tests := []struct {
		target string
		want   string // "": refused
	}{
		{"/", "/"},
		{"/a/b", "/a/b"},
		{"/a/b/", "/a/b/"},
		{"/a/b?x=/c", "/a/b"},
		{"/a?", "/a"},
		{"/a!b$&'()*+,=:@~-_.", "/a!b$&'()*+,=:@~-_."},
		{"/.well-known/security.txt", "/.well-known/security.txt"},
		{"/a..b/...", "/a..b/..."},

		// RFC 3986, 6.2.2.2: an escape of an unreserved character is the
		// character.
		{"/%61%2D%7e", "/a-~"},
		{"/%2e%77ell", "/.well"},
		{"/a%20b", "/a b"},
		{"/caf%C3%A9", "/café"},
		{"/caf%c3%a9", "/café"},
		{"/café", "/café"},
		{"/%F0%9F%8E%89", "/🎉"},

		// No URI has these, and all programs take them for themselves.
		{`/a"b<c>|^` + "`{}[]", `/a"b<c>|^` + "`{}[]"},

		// RFC 9112, 3.2.2 and RFC 3986, 6.2.3
		{"http://localhost/a", "/a"},
		{"https://localhost/a%62", "/ab"},
		{"http://localhost", "/"},
		{"http://localhost?x", "/"},
		{"HTTP://localhost/a", "/a"},

		{"//", ""},
		{"//a", ""},
		{"/a//b", ""},
		{"/a//", ""},
		{"http://localhost//a", ""},
		{"/./a", ""},
		{"/a/.", ""},
		{"/a/..", ""},
		{"/..", ""},
		{"/a/../b", ""},
		{"/%2e/a", ""},
		{"/a/%2E%2e/b", ""},
		{"/a/.%2e", ""},
		{"/a%2fb", ""},
		{"/a%2Fb", ""},
		{"/%2f", ""},
		{"/%2fa", ""},
		{"/a/%2f", ""},
		{`/a\b`, ""},
		{"/a%5cb", ""},
		{`/..\a`, ""},
		{"/a;b", ""},
		{"/a/..;/b", ""},
		{"/a%3bb", ""},
		{"/a%3fb", ""},
		{"/a%23b", ""},
		{"/a#b", ""},
		{"/a%25b", ""},
		{"/a%252fb", ""},
		{"/a%252e%252e", ""},
		{"/a%00b", ""},
		{"/a%0d%0ab", ""},
		{"/a%09", ""},
		{"/a%7f", ""},
		{"/a%c2%85", ""}, // U+0085, a line end to some
		{"/%ff", ""},
		{"/%c0%ae%c0%ae/", ""}, // dots in overlong UTF-8
		{"/%c0%af", ""},
		{"/%e0%80%af", ""},
		{"/%ed%a0%80", ""},        // half a surrogate pair
		{"/a/\uff0e\uff0e/b", ""}, // full width; NFKC (UAX #15) makes ".." of it
		{"/a/%E2%80%A5/b", ""},    // U+2025, two dots
		{"/a/\u2024", ""},
		{"/a/.\u2024/b", ""},
		{"/a\u2024b/\u2026", "/a\u2024b/\u2026"},
		{"/\xff", ""},
		{"*", ""},
		{"http:a", ""},
		{"http:/a", ""},
		{"http:///a", ""},
		{"https://?x", ""},
		{"ftp://localhost/a", ""},
		{"https://user@localhost/a", ""},
		{"https://user:password@localhost/", ""},
		{"file:///etc/passwd", ""},
		{"javascript:alert(1)", ""},

		{"/" + long[1:], "/" + long[1:]},
		{"/" + long, ""},
		{"/" + strings.Repeat("%61", app.MaxPath-1), "/" + long[1:]},
		{"/" + strings.Repeat("%61", app.MaxPath), ""},
		{"/" + strings.Repeat("é", app.MaxPath/2), ""},
	}
	for _, tt := range tests {
		u, err := url.ParseRequestURI(tt.target)
		if err != nil {
			t.Errorf("%q: net/url refuses it already: %v", tt.target, err)
			continue
		}
		got, err := app.CanonicalPath(u)
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%.60q: got %.60q, %v; want %.60q", tt.target, got, err, tt.want)
		}
	}
}

// A URL that other code changed without its escaped form has two readings.
func TestCanonicalPathRefusesTwoForms(t *testing.T) {
	for _, u := range []url.URL{
		{Path: "/public", RawPath: "/admin"},
		{Path: "/a/b", RawPath: "/a%2Fb"},
		{Path: "/a", RawPath: "/a%"},
		{Path: "", RawPath: "/a"},
		{Path: ""},
		{Path: "a"},
		{Opaque: "//localhost/a"},
	} {
		if got, err := app.CanonicalPath(&u); err == nil {
			t.Errorf("%+v is read as %q", u, got)
		}
	}
}

// HTTP/2 has the host in :authority; a second one in :path is not looked at by
// app/host, so it must not be there.
func TestTrapAbsolutePathInHTTP2(t *testing.T) {
	ring, err := app.New(policy.Default(), http.NotFoundHandler(), app.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]int{"http://evil.example/healthz": 400, "https://localhost/healthz": 400, "/healthz": 421} {
		r := httptest.NewRequest("GET", target, nil)
		r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor = "unknown.example", "HTTP/2.0", 2, 0
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
}

// One canonical path, whatever reads the request: URL.Path, EscapedPath and
// RequestURI are all that net/http's handlers and proxies look at.
func TestTrapTwoViewsOfOnePath(t *testing.T) {
	type view struct{ path, escaped, requestURI, host string }
	tests := []struct {
		line   string // method and target, byte for byte
		status int
		view   view // of the handler
	}{
		{"GET /a/b", 200, view{"/a/b", "/a/b", "/a/b", "localhost"}},
		{"GET /a?x=/admin&y=..", 200, view{"/a", "/a", "/a?x=/admin&y=..", "localhost"}},
		{"GET /a?", 200, view{"/a", "/a", "/a?", "localhost"}},
		{"GET /a?x=%2e%2e/;", 200, view{"/a", "/a", "/a?x=%2e%2e/;", "localhost"}},
		{"GET /a?x=../etc/passwd#.png", 400, view{}},
		{"GET /a?#", 400, view{}},
		{"GET /a?x=%23", 200, view{"/a", "/a", "/a?x=%23", "localhost"}},
		{"GET /a?x=\xc3\xa4&y=\xff+%e4", 200, view{"/a", "/a", "/a?x=%C3%A4&y=%FF+%e4", "localhost"}},
		{"GET /%61", 200, view{"/a", "/a", "/a", "localhost"}},
		{"GET /%61?x=%61", 200, view{"/a", "/a", "/a?x=%61", "localhost"}},
		{"GET /caf%c3%a9", 200, view{"/café", "/caf%C3%A9", "/caf%C3%A9", "localhost"}},
		{"GET /caf\xc3\xa9", 200, view{"/café", "/caf%C3%A9", "/caf%C3%A9", "localhost"}},
		{`GET /a"<>|^`, 200, view{`/a"<>|^`, "/a%22%3C%3E%7C%5E", "/a%22%3C%3E%7C%5E", "localhost"}},
		{"GET /a!b", 200, view{"/a!b", "/a%21b", "/a%21b", "localhost"}},
		{"GET http://localhost/a?x", 200, view{"/a", "/a", "/a?x", "localhost"}},
		{"GET http://localhost", 200, view{"/", "/", "/", "localhost"}},
		{"GET http://user:pass@localhost/a", 400, view{}},

		{"GET //a", 400, view{}},
		{"GET //localhost/a", 400, view{}},
		{"GET //evil.example/..", 400, view{}},
		{"GET /api%2e%2e/admin", 200, view{"/api../admin", "/api../admin", "/api../admin", "localhost"}},
		{"GET /api%2e/admin", 200, view{"/api./admin", "/api./admin", "/api./admin", "localhost"}},
		{"GET /x/..;/admin", 400, view{}},
		{"GET /x/../admin", 400, view{}},
		{"GET /x/%2e%2e/admin", 400, view{}},
		{"GET /x%2fadmin", 400, view{}},
		{"GET /x%5cadmin", 400, view{}},
		{`GET /x\admin`, 400, view{}},
		{"GET /x%00", 400, view{}},
		{"GET /x\x01", 400, view{}},
		{"GET /x%", 400, view{}},
		{"GET /x%zz", 400, view{}},
		{"GET /%ff", 400, view{}},
		{"GET x", 400, view{}},
		{"GET ?x", 400, view{}},
		{"GET http:///a", 400, view{}},
		{"GET ftp://localhost/a", 400, view{}},
		{"OPTIONS *", 400, view{}},
		{"GET *", 400, view{}},
		{"CONNECT localhost:443", 405, view{}},
		{"CONNECT /a", 405, view{}},
		{"GET /" + strings.Repeat("a", app.MaxPath), 414, view{}},
	}
	for _, tt := range tests {
		t.Run(tt.line[:min(len(tt.line), 40)], func(t *testing.T) {
			l := &protocolLog{}
			s := protocolServer(t, l)
			got := protocolSend(t, s, tt.line+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
			if !slices.Equal(got, []int{tt.status}) {
				t.Fatalf("answered %v, want %v", got, tt.status)
			}
			if tt.status != 200 {
				if len(l.seen) > 0 {
					t.Errorf("the handler saw %q", l.requests())
				}
				return
			}
			r := l.seen[0]
			if got := (view{r.URL.Path, r.URL.EscapedPath(), r.RequestURI, r.Host}); got != tt.view {
				t.Errorf("the handler saw %+v, want %+v", got, tt.view)
			}
			if x := app.FromContext(r.Context()); x.Path != tt.view.path {
				t.Errorf("the ring matched %q, want %q", x.Path, tt.view.path)
			}
			if want := (url.URL{Path: tt.view.path, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}); *r.URL != want {
				t.Errorf("the URL holds more than path and query: %+v", *r.URL)
			}
		})
	}
}

// The query and the fragment have no say in which route matches.
func TestTrapPublicRouteSeesTheQuery(t *testing.T) {
	l := &protocolLog{}
	s := protocolServer(t, l, func(p *policy.Policy) {
		p.App.Routes = []policy.Route{{Path: "/public/", Allow: []string{"anyone"}}, {Path: "/admin/", Allow: []string{"admin"}}}
	})
	for target, status := range map[string]int{
		"/public/a":               200,
		"/public":                 200,
		"/admin?x=/public":        401,
		"/admin?/public/":         401,
		"/admin/public/":          401,
		"/admin?x=1#/public/":     400,
		"/?x=/public/":            401,
		"/publicity":              401,
		"/public?x=/admin":        200,
		"/public/admin":           200,
		"/PUBLIC/a":               404,
		"/Admin":                  404,
		"/%41dmin":                404,
		"/adm\u0131n":             404, // Turkish i without a dot
		"/adm\u0130n":             404,
		"/publi\u212a":            401, // Kelvin sign: public with a k
		"/%61dmin":                401,
		"http://localhost/admin":  401,
		"http://localhost/public": 200,
	} {
		got := protocolSend(t, s, "GET "+target+" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
		if !slices.Equal(got, []int{status}) {
			t.Errorf("%s: answered %v, want %v", target, got, status)
		}
	}
}

func TestPathEvent(t *testing.T) {
	l := &protocolLog{}
	s := protocolServer(t, l)
	protocolSend(t, s, "GET /a;b HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
	if want := []string{"protocol.refused app/path"}; !slices.Equal(l.kinds(), want) {
		t.Errorf("events %q, want %q", l.kinds(), want)
	}
}

func TestPathOpenEndpoints(t *testing.T) {
	l := &protocolLog{}
	alive := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	ring, err := app.New(protocolPolicy(), l, app.Deps{Audit: l, Open: map[string]http.Handler{"/healthz": alive}})
	if err != nil {
		t.Fatal(err)
	}
	for target, status := range map[string]int{
		"http://127.9.9.9/healthz": 204, "http://127.9.9.9/%68ealthz": 204, "http://127.9.9.9/healthz?x": 204,
		"http://127.9.9.9/healthz/": 421, "http://127.9.9.9/HEALTHZ": 421, "http://localhost/healthz/": 200,
	} {
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if w.Code != status {
			t.Errorf("%s: answered %d, want %d", target, w.Code, status)
		}
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{
		"/", "/a/b/", "//", "/%2e%2e/", "/a%2fb", "/caf%c3%a9", "/\xff", "*", "http://h/a", "http://h", "/a;b?c", "/a!", "/%c0%ae", "/a?b#c", "/a?\xc3\xa4", "http://h?#",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		got, err := app.CanonicalPath(u)
		if err != nil {
			return
		}
		// The standard library's own cleaning must find nothing to do.
		if clean := path.Clean(got); clean != got && clean+"/" != got {
			t.Fatalf("%q is read as %q, which is not clean", target, got)
		}
		if strings.ContainsAny(got, `\;%?#`) || !utf8.ValidString(got) || len(got) > app.MaxPath {
			t.Fatalf("%q is read as %q", target, got)
		}
		for _, c := range got {
			if c < ' ' || c >= 0x7f && c < 0xa0 {
				t.Fatalf("%q is read as %q", target, got)
			}
		}
		// Written again and read again it is the same, and decoding it once
		// more changes nothing.
		again, err := url.ParseRequestURI((&url.URL{Path: got}).RequestURI())
		if err != nil {
			t.Fatalf("%q, read as %q, cannot be sent: %v", target, got, err)
		}
		if p, err := app.CanonicalPath(again); p != got || err != nil {
			t.Fatalf("%q is read as %q, then as %q, %v", target, got, p, err)
		}
		if twice, err := url.PathUnescape(got); twice != got || err != nil {
			t.Fatalf("%q is read as %q, which decodes to %q", target, got, twice)
		}
		// A program that only decodes sees the same path.
		if naive, err := url.PathUnescape(u.EscapedPath()); err != nil || naive != got && naive != "" {
			t.Fatalf("%q is read as %q, and by others as %q", target, got, naive)
		}
	})
}

func TestCanonicalPathAllocates(t *testing.T) {
	u := &url.URL{Path: "/api/notes/42"}
	if n := testing.AllocsPerRun(100, func() { app.CanonicalPath(u) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCanonicalPath(b *testing.B) {
	for _, target := range []string{"/api/notes/42", "/caf%C3%A9/a%20b", "/a!b"} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(target, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				app.CanonicalPath(u)
			}
		})
	}
}
