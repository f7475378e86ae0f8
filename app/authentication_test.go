package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// authTokens is a verifier of fixed tokens.
type authTokens struct{ seen *[]string }

func (a authTokens) Verify(_ context.Context, token string) (*app.Caller, error) {
	if a.seen != nil {
		*a.seen = append(*a.seen, token)
	}
	switch token {
	case "alice":
		return &app.Caller{Subject: "alice", Session: "s-alice", Roles: []string{"user"}}, nil
	case "root":
		return &app.Caller{Subject: "root", Roles: []string{"admin"}}, nil
	case "nobody":
		return nil, nil
	case "old":
		return nil, fmt.Errorf("wrapped: %w", bearer.ErrExpired)
	case "ended":
		return nil, fmt.Errorf("wrapped: %w", bearer.ErrRevoked)
	case "down":
		return nil, fmt.Errorf("dial 10.0.0.9: %w", bearer.ErrUnavailable)
	}
	return nil, errors.New("the signature is wrong")
}

// authPolicy has a route for anyone, one for admins, one for a permission, and
// leaves the rest to the default.
func authPolicy() *policy.Policy {
	p := answerPolicy()
	p.App.Routes = []policy.Route{
		{Path: "/public/", Allow: []string{"anyone"}},
		{Path: "/admin/", Allow: []string{"admin"}},
		{Path: "/notes/", Methods: []string{"POST"}, Allow: []string{"notes:write"}},
		{Path: "/notes/", Allow: []string{"notes:read"}},
		{Path: "/staff/", Allow: []string{"auditor", "admin"}},
	}
	p.Identity.Roles = map[string][]string{"admin": {"*"}, "user": {"notes:read"}, "auditor": {"audit:*"}}
	return p
}

func authWho(w http.ResponseWriter, r *http.Request) {
	if c := app.CallerFrom(r.Context()); c != nil {
		io.WriteString(w, c.Subject)
		return
	}
	io.WriteString(w, "-")
}

func TestAuthenticationHeader(t *testing.T) {
	for name, tt := range map[string]struct {
		headers []string
		status  int
		who     string
		error   string // of WWW-Authenticate; "-": a challenge without one
		kind    audit.Kind
	}{
		"none":                    {nil, 200, "-", "", ""},
		"empty":                   {[]string{""}, 200, "-", "", ""},
		"good":                    {[]string{"Bearer alice"}, 200, "alice", "", ""},
		"lower case":              {[]string{"bearer alice"}, 200, "alice", "", ""},
		"upper case, many blanks": {[]string{"BEARER   alice"}, 200, "alice", "", ""},
		"bad token":               {[]string{"Bearer mallory"}, 401, "", "invalid_token", audit.AuthFailed},
		"a signed form":           {[]string{"Bearer eyJhbGciOiJub25lIn0.e30."}, 401, "", "invalid_token", audit.TokenForged},
		"undefined":               {[]string{"Bearer undefined"}, 401, "", "invalid_token", audit.AuthFailed},
		"known to nobody":         {[]string{"Bearer nobody"}, 401, "", "invalid_token", audit.AuthFailed},
		"expired":                 {[]string{"Bearer old"}, 401, "", "invalid_token", audit.AuthExpired},
		"of an ended session":     {[]string{"Bearer ended"}, 401, "", "invalid_token", audit.AuthExpired},
		"no token":                {[]string{"Bearer"}, 401, "", "invalid_token", audit.AuthFailed},
		"two tokens":              {[]string{"Bearer alice alice"}, 401, "", "invalid_token", audit.AuthFailed},
		"comma":                   {[]string{"Bearer alice,Bearer root"}, 401, "", "invalid_token", audit.AuthFailed},
		"parameter":               {[]string{`Bearer realm="x"`}, 401, "", "invalid_token", audit.AuthFailed},
		"UTF-8":                   {[]string{"Bearer älice"}, 401, "", "invalid_token", audit.AuthFailed},
		"equals signs alone":      {[]string{"Bearer =="}, 401, "", "invalid_token", audit.AuthFailed},
		"8 kB":                    {[]string{"Bearer " + strings.Repeat("a", 8<<10)}, 401, "", "invalid_token", audit.AuthFailed},
		"longer than 8 kB":        {[]string{"Bearer " + strings.Repeat("a", 8<<10+1)}, 401, "", "invalid_token", audit.AuthFailed},
		"token alone":             {[]string{"alice"}, 401, "", "-", audit.AuthFailed},
		"basic":                   {[]string{"Basic YWxpY2U6eA=="}, 401, "", "-", audit.AuthFailed},
		"no blank":                {[]string{"Beareralice"}, 401, "", "-", audit.AuthFailed},
		"a tab":                   {[]string{"Bearer\talice"}, 401, "", "-", audit.AuthFailed},
	} {
		for _, path := range []string{"/public/x", "/x"} { // a bad token is told on public routes too
			t.Run(name+path, func(t *testing.T) {
				var seen []string
				s := answerStart(t, authPolicy(), http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{&seen}}, false)
				var kv []string
				for _, h := range tt.headers {
					kv = append(kv, "Authorization", h)
				}
				res, body, err := s.do(t, "GET", path, nil, kv...)
				if err != nil {
					t.Fatal(err)
				}
				want, wantError, who := tt.status, tt.error, tt.who
				if tt.who == "-" && path == "/x" {
					want, wantError = 401, "-" // by app/authorization
				}
				if tt.kind == audit.AuthExpired && path == "/public/x" {
					want, wantError, who = 200, "", "-" // nobody, so that it can be refreshed
				}
				if res.StatusCode != want || want == 200 && body != who {
					t.Errorf("got %d %q, want %d", res.StatusCode, body, want)
				}
				authChallenge(t, res, wantError)
				var kinds []string
				for _, k := range []audit.Kind{audit.AuthFailed, audit.TokenForged, audit.AuthExpired, audit.AccessDenied} {
					for range s.events.of(k) {
						kinds = append(kinds, string(k))
					}
				}
				if strings.Join(kinds, " ") != string(tt.kind) {
					t.Errorf("events %q, want %q", kinds, tt.kind)
				}
				for _, token := range seen {
					if len(token) > bearer.MaxToken {
						t.Errorf("the verifier was shown %d bytes", len(token))
					}
				}
				for _, h := range tt.headers {
					if _, token, ok := strings.Cut(h, " "); ok && len(token) > 5 && strings.Contains(body+s.log.String(), token) {
						t.Error("the token is in the answer or the log")
					}
				}
			})
		}
	}
}

// TRAPS: 401s of an expired token counted as an attack. A client that sends its
// token always is nobody where anyone may call, to the handler too, and must
// learn elsewhere that it has expired.
func TestTrapExpiredTokenOnPublicRoute(t *testing.T) {
	s := answerStart(t, authPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.Header.Get("Authorization"))
		authWho(w, r)
	}), app.Deps{Verifier: authTokens{}}, false)
	for _, tt := range []struct {
		path, token, body string
		status, events    int
	}{
		{"/public/refresh", "old", "-", 200, 1},
		{"/public/refresh", "ended", "-", 200, 1},
		{"/public/refresh", "mallory", "", 401, 0},
		{"/public/refresh", "down", "", 503, 0},
		{"/admin/", "old", "", 401, 1},
		{"/admin/", "ended", "", 401, 1},
		{"/nowhere", "old", "", 401, 1},
	} {
		before := len(s.events.of(audit.AuthExpired))
		res, body, err := s.do(t, "POST", tt.path, nil, "Authorization", "Bearer "+tt.token)
		if err != nil || res.StatusCode != tt.status || tt.status == 200 && body != tt.body {
			t.Errorf("%s on %s: got %v %q, %v", tt.token, tt.path, res, body, err)
		}
		if n := len(s.events.of(audit.AuthExpired)) - before; n != tt.events {
			t.Errorf("%s on %s: %d events of an expiry, want %d", tt.token, tt.path, n, tt.events)
		}
	}
}

// authChallenge reads WWW-Authenticate by the grammar of RFC 9110, 11.6.1.
func authChallenge(t *testing.T, res *http.Response, want string) {
	t.Helper()
	got := res.Header.Values("Www-Authenticate")
	if want == "" {
		if len(got) > 0 {
			t.Errorf("WWW-Authenticate is %q", got)
		}
		return
	}
	if len(got) != 1 || !regexp.MustCompile(`^Bearer realm="localhost"(, [a-z_]+="[^"\\]*")*$`).MatchString(got[0]) {
		t.Fatalf("WWW-Authenticate is %q", got)
	}
	if has := strings.Contains(got[0], "error="); want == "-" && has || want != "-" && !strings.Contains(got[0], `error="`+want+`"`) {
		t.Errorf("WWW-Authenticate is %q, want error %s", got[0], want)
	}
	if res.StatusCode != 401 && res.StatusCode != 400 {
		t.Errorf("a challenge with %d", res.StatusCode)
	}
}

func TestAuthenticationTwice(t *testing.T) {
	s := answerStart(t, authPolicy(), http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{}}, false)
	res, body, err := s.do(t, "GET", "/public/", nil, "Authorization", "Bearer alice", "Authorization", "Bearer root")
	if err != nil || res.StatusCode != 400 || !strings.Contains(body, "twice") && !strings.Contains(body, "more than one") {
		t.Errorf("got %v %q, %v", res, body, err)
	}
}

// Without app/header-names before it the control refuses by itself.
func TestAuthenticationTwiceAlone(t *testing.T) {
	ring, err := app.NewWithout(authPolicy(), http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{}}, "app/header-names")
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", "http://localhost/public/", nil)
	req.Header["Authorization"] = []string{"Bearer alice", "Bearer root"}
	rec := httptest.NewRecorder()
	ring.ServeHTTP(rec, req)
	if rec.Code != 400 || !strings.Contains(rec.Header().Get("WWW-Authenticate"), `error="invalid_request"`) {
		t.Errorf("got %d %v", rec.Code, rec.Header())
	}
}

func TestAuthenticationUnavailable(t *testing.T) {
	s := answerStart(t, authPolicy(), http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{}}, false)
	res, body, err := s.do(t, "GET", "/public/", nil, "Authorization", "Bearer down")
	if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || strings.Contains(body, "10.0.0.9") {
		t.Errorf("got %v %q, %v", res, body, err)
	}
	if n := len(s.events.of(audit.AuthFailed)); n != 0 {
		t.Errorf("%d events against the client", n)
	}
	if !strings.Contains(s.log.String(), "10.0.0.9") {
		t.Errorf("the operator is not told why: %s", s.log)
	}
}

// TRAPS: 401s of an expired token counted as an attack; identity header kept
// when authentication adds none. And RFC 6750, 2.2 and 2.3 are not obeyed.
func TestTrapNobodyIsMadeByOtherMeans(t *testing.T) {
	var saw http.Header
	s := answerStart(t, authPolicy(), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		saw = r.Header
		authWho(w, r)
	}), app.Deps{Verifier: authTokens{}}, false)
	for _, kv := range [][]string{
		{"X-Ringwall-User", "root"}, {"X_Ringwall_User", "root"}, {"X.Ringwall.User", "root"}, {"Remote-User", "root"}, {"X-Auth-User", "root"},
		{"Cookie", "access_token=root; token=root"}, {"Proxy-Authorization", "Bearer root"}, {"X-Authorization", "Bearer root"},
	} {
		res, body, err := s.do(t, "GET", "/public/?access_token=root&token=root", nil, kv...)
		if err != nil || res.StatusCode != 200 || body != "-" {
			t.Errorf("%q: got %v %q, %v", kv, res, body, err)
		}
		for name := range saw {
			if strings.Contains(strings.ToLower(name), "ringwall") {
				t.Errorf("%q reached the handler as %s", kv, name)
			}
		}
	}
	res, _, err := s.do(t, "POST", "/admin/", strings.NewReader("access_token=root"), "Content-Type", "application/x-www-form-urlencoded")
	if err != nil || res.StatusCode != 401 {
		t.Errorf("a token in a form: %v, %v", res, err)
	}
}

// A ring without a verifier fails closed.
func TestAuthenticationWithoutVerifier(t *testing.T) {
	s := answerStart(t, authPolicy(), http.HandlerFunc(authWho), app.Deps{}, false)
	if res, _, _ := s.do(t, "GET", "/public/", nil, "Authorization", "Bearer alice"); res.StatusCode != 401 {
		t.Errorf("got %d", res.StatusCode)
	}
}

func FuzzAuthorization(f *testing.F) {
	var seen []string
	ring, err := app.New(authPolicy(), http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{&seen}})
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"Bearer alice", "bearer  a.b-c_d~e+f/g==", "Basic x", "Bearer ", "Bearer a b", "\tBearer x", "Bearer old"} {
		f.Add(s)
	}
	b64token := regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`) // RFC 6750, 2.1
	f.Fuzz(func(t *testing.T, value string) {
		seen = seen[:0]
		req := httptest.NewRequest("GET", "http://localhost/public/", nil)
		req.Header["Authorization"] = []string{value}
		rec := httptest.NewRecorder()
		ring.ServeHTTP(rec, req)
		if len(seen) > 1 || len(seen) == 1 && (!b64token.MatchString(seen[0]) || len(seen[0]) > bearer.MaxToken) {
			t.Fatalf("%q: the verifier was shown %q", value, seen)
		}
		if rec.Code == 429 {
			t.Skip("the rate limit is spent")
		}
		anonymous := strings.Trim(value, " \t") == "" || len(seen) == 1 && seen[0] == "old"
		if ok := rec.Code == 200; ok != (anonymous || len(seen) == 1 && (seen[0] == "alice" || seen[0] == "root")) {
			t.Fatalf("%q: got %d, the verifier was shown %q", value, rec.Code, seen)
		}
	})
}

// TestATokenThatMustBeRefusedIsTried: one that has expired, or is another
// audience's, only its owner can make, and gives to the check.
func TestATokenThatMustBeRefusedIsTried(t *testing.T) {
	i := slices.IndexFunc(app.Controls(), func(c app.Control) bool { return c.ID == "app/authentication" })
	p := policy.Default()
	ring, err := app.New(p, http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{}})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(ring)
	defer s.Close()
	for token, want := range map[string]check.Verdict{"old": check.Pass, "root": check.Fail} {
		c, err := probe.New(s.URL, probe.Options{Tokens: map[string]string{"": "alice"}, Refused: []string{token}})
		if err != nil {
			t.Fatal(err)
		}
		if f := app.Controls()[i].Verify(t.Context(), p, c); f.Verdict != want {
			t.Errorf("with %s: %v, %s", token, f.Verdict, f.Got)
		}
	}
}
