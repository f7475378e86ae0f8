package app_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/app/openapi"
	"github.com/ringwall/ringwall/policy"
)

// builtinPolicy keeps accounts, and tries to open and to close what is built in.
func builtinPolicy() *policy.Policy {
	p := authPolicy()
	p.Identity.Registration = "open"
	p.App.Limits["auth"] = policy.Limit{Requests: 1000, Per: time.Hour, Paths: []string{"/login"}}
	p.App.ContentTypes = []string{"text/plain"}
	p.App.Routes = []policy.Route{
		{Path: "/api/me", Allow: []string{"anyone"}},
		{Path: "/api/admin/users/", Allow: []string{"anyone"}},
		{Path: "/api/auth/", Allow: []string{"admin"}},
		{Path: "/api/admin/", Allow: []string{"admin"}},
		{Path: "/", Allow: []string{"anyone"}},
	}
	p.Identity.Roles = map[string][]string{"admin": {"*"}, "user": {"notes:read"}, "support": {"accounts:*"}}
	return p
}

// builtinSays answers who it is and who calls, as a sign-in does: in JSON, large
// enough to be compressed, and to be cached.
func builtinSays(who string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "public, max-age=600")
		io.WriteString(w, `"`+who+" ")
		authWho(w, r)
		io.WriteString(w, `"`+strings.Repeat(" ", 4000))
	})
}

func TestBuiltinRoutes(t *testing.T) {
	p := builtinPolicy()
	p.App.Schema = "any.yaml"
	schema, err := openapi.Parse([]byte("openapi: 3.1.0\npaths: {/: {get: {responses: {}}}, /api/me: {delete: {responses: {}}}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s := answerStart(t, p, builtinSays("api"), app.Deps{Verifier: authTokens{}, Builtin: builtinSays("ringwall"), Schema: schema}, false)
	for _, tt := range []struct {
		token, method, path, media string
		status                     int
		said                       string
	}{
		{"", "POST", "/api/auth/login", "application/json", 200, "ringwall -"}, // not the policy's admin
		{"", "POST", "/api/auth", "application/json", 200, "ringwall -"},
		{"alice", "GET", "/api/auth/sessions/7?x=1", "", 200, "ringwall alice"},
		{"old", "POST", "/api/auth/refresh", "", 200, "ringwall -"},
		{"mallory", "POST", "/api/auth/refresh", "", 401, ""},
		{"", "POST", "/api/auth/login", "text/plain", 415, ""}, // the API's own type is not the built-in's
		{"", "GET", "/api/me", "", 401, ""},                    // not the policy's anyone
		{"alice", "GET", "/api/me", "", 200, "ringwall alice"},
		{"alice", "GET", "/api/me/", "", 200, "ringwall alice"},
		{"alice", "GET", "/api/admin/users", "", 403, ""},
		{"", "GET", "/api/admin/users/7", "", 401, ""},
		{"root", "PUT", "/api/admin/users/7/roles", "application/json", 200, "ringwall root"},
		{"root", "POST", "/api/admin/invites", "application/json", 200, "ringwall root"},
		{"alice", "POST", "/api/admin/invites", "application/json", 403, ""},
		{"", "GET", "/.well-known/jwks.json", "", 200, "ringwall -"},
		{"", "GET", "/", "", 200, "api -"},
		{"root", "GET", "/api/admin/other", "", 404, ""}, // the API's, and no operation of the schema
		{"alice", "GET", "/api/me/x", "", 404, ""},
		{"", "POST", "/api/AUTH/login", "", 404, ""},
	} {
		var body io.Reader
		kv := []string{"Accept-Encoding", "gzip"}
		if tt.media != "" {
			body, kv = strings.NewReader("{}"), append(kv, "Content-Type", tt.media)
		}
		if tt.token != "" {
			kv = append(kv, "Authorization", "Bearer "+tt.token)
		}
		res, got, err := s.do(t, tt.method, tt.path, body, kv...)
		if err != nil || res.StatusCode != tt.status {
			t.Errorf("%s %s as %q: %v %q, %v, want %d", tt.method, tt.path, tt.token, res, got, err, tt.status)
			continue
		}
		signIn := strings.HasPrefix(tt.path, "/api/auth")
		if signIn && res.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s %s is compressed (BREACH)", tt.method, tt.path)
		}
		if signIn && res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: Cache-Control %q", tt.method, tt.path, res.Header.Get("Cache-Control"))
		}
		if tt.status == 200 && res.Header.Get("Content-Encoding") == "" && !strings.HasPrefix(got, `"`+tt.said+`"`) {
			t.Errorf("%s %s as %q: %.40q, want %q", tt.method, tt.path, tt.token, got, tt.said)
		}
	}
}

// The class auth counts what takes secrets, also when the policy's auth is for
// other paths.
func TestBuiltinRate(t *testing.T) {
	p := builtinPolicy()
	p.App.Limits["auth"] = policy.Limit{Requests: 2, Per: time.Hour, Paths: []string{"/login"}}
	ring, err := app.New(p, builtinSays("api"), app.Deps{Builtin: builtinSays("ringwall")})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 200, 429} {
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, httptest.NewRequest("POST", "http://localhost/api/auth/login", nil))
		if w.Code != want {
			t.Errorf("request %d: %d, want %d", i, w.Code, want)
		}
	}
	e, err := app.Explain(p, "POST", "/api/auth/login", time.Now())
	if err != nil || !slices.Equal(e.Classes, []string{"global", "auth"}) || !e.Route.Builtin || e.Route.Index != -1 {
		t.Errorf("explained as %+v, %v", e, err)
	}
}

// TRAPS: CSRF. Refresh and logout take a cookie, which other sites' pages make
// the browser send.
func TestTrapBuiltinCrossSite(t *testing.T) {
	ring, err := app.New(builtinPolicy(), builtinSays("api"), app.Deps{Builtin: builtinSays("ringwall")})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/auth/refresh", "/api/auth/logout"} {
		for _, tt := range []struct {
			name, value string
			want        int
		}{
			{"Sec-Fetch-Site", "cross-site", 403}, {"Sec-Fetch-Site", "same-site", 403}, {"Sec-Fetch-Site", "same-origin", 200},
			{"Origin", "https://evil.example", 403}, {"Origin", "null", 403}, {"Origin", "http://localhost", 200},
		} {
			r := httptest.NewRequest("POST", "http://localhost"+path, nil)
			r.Header.Set("Cookie", "__Host-refresh=rw1.a.b")
			r.Header.Set(tt.name, tt.value)
			w := httptest.NewRecorder()
			ring.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s with %s: %s is %d, want %d", path, tt.name, tt.value, w.Code, tt.want)
			}
		}
	}
}

// A policy that keeps accounts is not enforced by a ring that has none to serve,
// and the other way round.
func TestBuiltinMustBeThere(t *testing.T) {
	p := builtinPolicy()
	delete(p.App.Limits, "auth")
	if _, err := app.New(p, builtinSays("api"), app.Deps{Builtin: builtinSays("ringwall")}); err == nil || !strings.Contains(err.Error(), "class auth") {
		t.Errorf("without a class auth: %v", err)
	}
	p = builtinPolicy()
	if _, err := app.New(p, builtinSays("api"), app.Deps{}); err == nil || !strings.Contains(err.Error(), "identity.registration") {
		t.Errorf("without a handler: %v", err)
	}
	for _, off := range []string{"", "off"} {
		p.Identity.Registration = off
		if _, err := app.New(p, builtinSays("api"), app.Deps{Builtin: builtinSays("ringwall")}); err == nil {
			t.Errorf("registration %q: a handler that is never asked is taken", off)
		}
	}
}
