package identity_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/audit"
)

func TestFromRegistrationToDeletion(t *testing.T) {
	s := openSite(t, false)
	b := s.browse("127.0.0.1")
	if r := b.register(" Ada@Example.ORG "); !maps.Equal(r.json, map[string]any{"next": "login"}) {
		t.Errorf("register: %v", r)
	}
	r := b.login("ADA@example.org", password)
	if r.status != 200 || r.json["token_type"] != "Bearer" || r.json["expires_in"] != 600.0 || len(r.json) != 3 {
		t.Fatalf("login: %v", r)
	}
	for name, age := range map[string]int{"__Host-refresh": 30 * 86400, "__Host-device": 400 * 86400} {
		c := r.cookieNamed(name)
		if c == nil || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.MaxAge > age || c.MaxAge < age-5 {
			t.Errorf("the cookie %s is %+v", name, c)
		}
	}
	b.token = r.json["access_token"].(string)
	me := b.must(200, "GET", "/api/me", nil)
	if me.json["email"] != ada || me.json["name"] != "Ada Lovelace" || fmt.Sprint(me.json["roles"], me.json["permissions"]) != "[user] [notes:read notes:write]" || me.json["verified"] != nil {
		t.Errorf("me: %v", me)
	}
	if got := b.must(200, "GET", "/notes", nil); got.body != me.json["id"] {
		t.Errorf("the API was told %v", got)
	}
	b.token = ""
	r = b.must(200, "POST", "/api/auth/refresh", nil) // the cookie alone
	if r.json["token_type"] != "Bearer" || r.json["refresh_token"] != nil || r.cookieNamed("__Host-refresh") == nil {
		t.Errorf("refresh: %v", r)
	}
	b.token = r.json["access_token"].(string)
	b.must(400, "DELETE", "/api/me", fields{"password": "wrong"})
	r = b.must(204, "DELETE", "/api/me", fields{"password": password})
	if c := r.cookieNamed("__Host-refresh"); c == nil || c.MaxAge >= 0 {
		t.Errorf("the cookie is %+v", c)
	}
	b.must(401, "GET", "/api/me", nil)
	b.token = ""
	b.must(401, "POST", "/api/auth/refresh", nil)
	if r := b.login(ada, password); r.status != 401 {
		t.Errorf("the deleted account: %v", r)
	}
	for _, kind := range []audit.Kind{audit.AccountCreated, audit.SignedIn, audit.TokenRefreshed, audit.AccountDeleted} {
		if s.recorded(kind, audit.Success) != 1 {
			t.Errorf("%d events %s", s.recorded(kind, audit.Success), kind)
		}
	}
}

func TestBodyDelivery(t *testing.T) {
	s := openSite(t, false)
	b := s.browse("127.0.0.1")
	b.register(ada)
	r := b.must(200, "POST", "/api/auth/login", fields{"email": ada, "password": password, "token_delivery": "body"})
	first, _ := r.json["refresh_token"].(string)
	if !strings.HasPrefix(first, "rw1.") || r.cookieNamed("__Host-refresh") != nil {
		t.Fatalf("login: %v, %v", r, r.header["Set-Cookie"])
	}
	r = b.must(200, "POST", "/api/auth/refresh", fields{"refresh_token": first})
	second, _ := r.json["refresh_token"].(string)
	if second == first || second == "" || r.cookieNamed("__Host-refresh") != nil {
		t.Fatalf("refresh: %v", r)
	}
	b.must(204, "POST", "/api/auth/logout", fields{"refresh_token": second})
	r = b.must(401, "POST", "/api/auth/refresh", fields{"refresh_token": second})
	if r.header.Get("Www-Authenticate") != `Bearer realm="example.com"` {
		t.Errorf("the challenge is %q", r.header.Get("Www-Authenticate"))
	}
	for _, bad := range []any{"x", 7, nil, strings.Repeat("a", 201)} {
		if r := b.ask("POST", "/api/auth/refresh", fields{"refresh_token": bad}); r.status != 401 && r.status != 400 {
			t.Errorf("refresh of %v: %v", bad, r)
		}
	}
	b.must(400, "POST", "/api/auth/login", fields{"email": ada, "password": password, "token_delivery": "header"})
}

func TestLogout(t *testing.T) {
	s := openSite(t, false)
	b := s.member("127.0.0.1", ada)
	other := s.browse("127.0.0.1")
	other.enter(ada, password)
	r := b.must(204, "POST", "/api/auth/logout", nil)
	if c := r.cookieNamed("__Host-refresh"); c == nil || c.MaxAge >= 0 {
		t.Errorf("the cookie is %+v", c)
	}
	b.must(401, "GET", "/api/me", nil) // at once
	other.must(200, "GET", "/api/me", nil)
	b.must(204, "POST", "/api/auth/logout", nil) // again, with the token that has ended
	b.enter(ada, password)                       // and so to the next sign-in
	b.must(204, "POST", "/api/auth/logout", nil)
	b.token = ""
	b.must(204, "POST", "/api/auth/logout", nil)
	s.browse("127.0.0.1").must(204, "POST", "/api/auth/logout", nil)

	// Without the cookie, the access token says which session it is.
	bare := s.browse("127.0.0.1")
	bare.token = other.token
	bare.must(204, "POST", "/api/auth/logout", nil)
	other.must(401, "GET", "/api/me", nil)
	other.token = ""
	other.must(401, "POST", "/api/auth/refresh", nil)
}

func TestSessions(t *testing.T) {
	s := openSite(t, false)
	a := s.member("127.0.0.1", ada)
	b, c := s.browse("127.0.0.2"), s.browse("127.0.0.3")
	b.enter(ada, password)
	c.enter(ada, password)
	stranger := s.member("127.0.0.4", "eve@example.org")
	r := a.must(200, "GET", "/api/auth/sessions", nil)
	list := r.json["sessions"].([]any)
	if len(list) != 3 {
		t.Fatalf("sessions: %v", r)
	}
	ids := map[string]string{} // by user agent
	for _, v := range list {
		m := v.(map[string]any)
		ids[m["user_agent"].(string)] = m["id"].(string)
		if m["current"] != (m["user_agent"] == "Browser of 127.0.0.1") || m["created"] == nil || m["last_used"] == nil || "Browser of "+m["address"].(string) != m["user_agent"] {
			t.Errorf("a session: %v", m)
		}
	}
	if strings.Contains(r.body, "rw1.") || strings.Contains(r.body, "token") {
		t.Errorf("the list tells tokens: %v", r)
	}
	stranger.must(404, "DELETE", "/api/auth/sessions/"+ids["Browser of 127.0.0.2"], nil)
	b.must(200, "GET", "/api/me", nil)
	a.must(204, "DELETE", "/api/auth/sessions/"+ids["Browser of 127.0.0.2"], nil)
	b.must(401, "GET", "/api/me", nil)
	a.must(404, "DELETE", "/api/auth/sessions/"+ids["Browser of 127.0.0.2"], nil)
	a.must(404, "DELETE", "/api/auth/sessions/nonsense", nil)
	a.must(204, "DELETE", "/api/auth/sessions", nil)
	c.must(401, "GET", "/api/me", nil)
	a.must(200, "GET", "/api/me", nil)
	stranger.must(200, "GET", "/api/me", nil)
	nobody := s.browse("127.0.0.1")
	for _, method := range []string{"GET", "DELETE"} {
		if r := nobody.must(401, method, "/api/auth/sessions", nil); r.header.Get("Www-Authenticate") == "" {
			t.Errorf("%s without a challenge", method)
		}
	}
}

func TestPasswordChange(t *testing.T) {
	s := openSite(t, false)
	a := s.member("127.0.0.1", ada)
	b := s.browse("127.0.0.2")
	b.enter(ada, password)
	for _, tt := range []struct {
		old, new string
		want     string
	}{
		{"wrong", another, "/password wrong"},
		{password, password, "/new_password same"},
		{password, "short", "/new_password too_short"},
		{password, "password1234", "/new_password common"},
	} {
		r := a.must(400, "POST", "/api/auth/password", fields{"password": tt.old, "new_password": tt.new})
		if got := strings.Join(r.codes(), ", "); got != tt.want {
			t.Errorf("%s for %s: %s, want %s", tt.new, tt.old, got, tt.want)
		}
	}
	s.browse("127.0.0.1").must(401, "POST", "/api/auth/password", fields{"password": password, "new_password": another})
	a.must(204, "POST", "/api/auth/password", fields{"password": password, "new_password": another})
	a.must(200, "GET", "/api/me", nil) // its own session goes on
	b.must(401, "GET", "/api/me", nil) // the others have ended, at once
	b.token = ""
	b.must(401, "POST", "/api/auth/refresh", nil)
	s.mailed(ada, "Your password was changed")
	if r := b.login(ada, password); r.status != 401 {
		t.Errorf("the old password: %v", r)
	}
	b.enter(ada, another)
}

func TestTicketsAreOfOneKind(t *testing.T) {
	// A ticket of one kind is none of another.
	s := openSite(t, true)
	b := s.browse("127.0.0.1")
	b.register(ada)
	verify := s.secret(ada, "Confirm your address")
	r := b.must(400, "POST", "/api/auth/password/reset", fields{"token": verify, "password": another})
	if !slices.Equal(r.codes(), []string{"/token invalid"}) {
		t.Errorf("reset with a verify ticket: %v", r)
	}
	b.must(204, "POST", "/api/auth/verify-email", fields{"token": verify, "password": password})
	b.enter(ada, password)
}
