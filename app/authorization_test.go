package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
)

func TestAuthorization(t *testing.T) {
	s := answerStart(t, authPolicy(), http.HandlerFunc(authWho), app.Deps{Verifier: authTokens{}}, false)
	for _, tt := range []struct {
		method, path, token string
		status              int
	}{
		{"GET", "/public/", "", 200}, {"GET", "/public/", "alice", 200}, {"GET", "/public", "", 200},
		{"GET", "/admin/", "", 401}, {"GET", "/admin/", "alice", 403}, {"GET", "/admin/", "root", 200},
		{"GET", "/admin", "alice", 403}, {"GET", "/admin/users/7", "alice", 403}, {"HEAD", "/admin/", "alice", 403},
		{"DELETE", "/admin/users/7", "alice", 403},
		{"GET", "/admin/?x=/public/", "", 401}, {"GET", "/admin/x?/public/y", "alice", 403}, // TRAPS: public-route match sees the query
		{"GET", "/ADMIN/", "alice", 404}, {"GET", "/Admin/", "root", 404},
		{"GET", "/notes/", "alice", 200}, {"POST", "/notes/", "alice", 403}, {"POST", "/notes/", "root", 200},
		{"GET", "/staff/", "root", 200}, {"GET", "/staff/", "alice", 403},
		{"GET", "/", "", 401}, {"GET", "/anything/else", "", 401}, {"GET", "/anything/else", "alice", 200},
	} {
		var kv []string
		if tt.token != "" {
			kv = []string{"Authorization", "Bearer " + tt.token}
		}
		before := len(s.events.of(audit.AccessDenied))
		res, body, err := s.do(t, tt.method, tt.path, nil, kv...)
		if err != nil || res.StatusCode != tt.status {
			t.Errorf("%s %s as %q: got %v %q, %v, want %d", tt.method, tt.path, tt.token, res.StatusCode, body, err, tt.status)
			continue
		}
		challenge := ""
		if tt.status == 401 {
			challenge = "-"
		}
		authChallenge(t, res, challenge)
		denied := s.events.of(audit.AccessDenied)
		if (len(denied) > before) != (tt.status == 403) {
			t.Errorf("%s %s as %q: %d events", tt.method, tt.path, tt.token, len(denied)-before)
		} else if tt.status == 403 && denied[len(denied)-1].Subject != tt.token {
			t.Errorf("the event is about %q", denied[len(denied)-1].Subject)
		}
		if strings.Contains(body, "notes:write") {
			t.Errorf("the answer tells what is needed: %s", body)
		}
	}
}

func TestRequire(t *testing.T) {
	mux := http.NewServeMux()
	for path, allow := range map[string][]string{
		"/role": {"admin"}, "/permission": {"notes:read"}, "/wildcard": {"audit:export"}, "/either": {"auditor", "user"},
		"/signed-in": {"signed-in"}, "/none": nil, "/unknown": {"superuser"}, "/anyone": {"anyone"},
	} {
		mux.Handle(path, app.Require(http.HandlerFunc(authWho), allow...))
	}
	p := authPolicy()
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	s := answerStart(t, p, mux, app.Deps{Verifier: authTokens{}}, false)
	for _, tt := range []struct {
		path, token string
		status      int
	}{
		{"/role", "", 401}, {"/role", "alice", 403}, {"/role", "root", 200},
		{"/permission", "", 401}, {"/permission", "alice", 200}, {"/permission", "root", 200},
		{"/wildcard", "alice", 403}, {"/wildcard", "root", 200},
		{"/either", "alice", 200}, {"/either", "root", 403},
		{"/signed-in", "alice", 200}, {"/signed-in", "", 401},
		{"/none", "root", 403}, {"/none", "", 401}, {"/unknown", "root", 403}, {"/anyone", "", 401}, {"/anyone", "root", 403},
	} {
		var kv []string
		if tt.token != "" {
			kv = []string{"Authorization", "Bearer " + tt.token}
		}
		if res, body, err := s.do(t, "GET", tt.path, nil, kv...); err != nil || res.StatusCode != tt.status {
			t.Errorf("%s as %q: got %v %q, %v, want %d", tt.path, tt.token, res.StatusCode, body, err, tt.status)
		}
	}
	rec := httptest.NewRecorder() // not through a ring
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/signed-in", nil))
	if rec.Code != 403 {
		t.Errorf("outside a ring: %d", rec.Code)
	}
}
