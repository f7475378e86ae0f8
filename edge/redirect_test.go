package edge_test

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

func redirectServer(t *testing.T, port string) string {
	t.Helper()
	p := policy.Default()
	p.Site = "api.example.com"
	ls, err := edge.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := edge.NewServer(edge.Redirect(p, port), slog.New(slog.DiscardHandler))
	go func() { _ = srv.Serve(ls[0]) }()
	t.Cleanup(func() { srv.Close() })
	return ls[0].Addr().String()
}

// ask writes a request byte for byte and returns the answer.
func ask(t *testing.T, addr, request string) *http.Response {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, request)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestRedirectLeadsToTheSiteOnly(t *testing.T) {
	for _, tt := range []struct{ request, port, want string }{
		{"GET /a/b?x=1&y=%2f HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "443", "https://api.example.com/a/b?x=1&y=%2f"},
		{"GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n", "8443", "https://api.example.com:8443/"},
		{"POST /login HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 2\r\n\r\nhi", "443", "https://api.example.com/login"},
		{"GET /a HTTP/1.1\r\nHost: evil.example\r\n\r\n", "443", "https://api.example.com/a"},
		{"GET http://evil.example/a HTTP/1.1\r\nHost: evil.example\r\n\r\n", "443", "https://api.example.com/a"},
		{"GET //evil.example/a HTTP/1.1\r\nHost: h\r\n\r\n", "443", "https://api.example.com//evil.example/a"},
		{"GET x:@evil.example HTTP/1.1\r\nHost: h\r\n\r\n", "443", "https://api.example.com/"},
		{"GET x:.evil.example HTTP/1.1\r\nHost: h\r\n\r\n", "443", "https://api.example.com/"},
		{"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "443", "https://api.example.com/"},
		{"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n", "443", "https://api.example.com/"},
		{"GET /%0d%0aSet-Cookie:x HTTP/1.1\r\nHost: h\r\n\r\n", "443", "https://api.example.com/%0d%0aSet-Cookie:x"},
	} {
		res := ask(t, redirectServer(t, tt.port), tt.request)
		if got := res.Header.Get("Location"); res.StatusCode != 308 || got != tt.want {
			t.Errorf("%q: %d to %q, want 308 to %q", tt.request, res.StatusCode, got, tt.want)
		}
		if v := res.Header.Get("Strict-Transport-Security"); v != "" {
			t.Errorf("HSTS over plain HTTP: %q", v)
		}
		for _, name := range []string{"X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "Permissions-Policy"} {
			if res.Header.Get(name) == "" {
				t.Errorf("%q: no %s", tt.request, name)
			}
		}
	}
}

// FuzzRedirect: whatever is asked, the answer leads to the site.
func FuzzRedirect(f *testing.F) {
	p := policy.Default()
	p.Site = "api.example.com"
	h := edge.Redirect(p, "8443")
	for _, s := range []string{"/", "*", "//x", "x:@evil", "http://evil/", "/\\evil", "?x", "/a?b#c"} {
		f.Add(s, "evil.example")
	}
	f.Fuzz(func(t *testing.T, target, host string) {
		r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
		if err != nil {
			t.Skip("net/http does not read such a request")
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		u, err := url.Parse(w.Header().Get("Location"))
		if err != nil {
			t.Fatalf("Location of %q: %v", target, err)
		}
		if u.Scheme != "https" || u.Host != "api.example.com:8443" || u.User != nil {
			t.Fatalf("%q leads to %s", target, u)
		}
	})
}
