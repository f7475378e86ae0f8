package app_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/policy"
)

// requireTokens are callers whose token names their roles.
type requireTokens struct{}

func (requireTokens) Verify(_ context.Context, token string) (*bearer.Caller, error) {
	return &bearer.Caller{Subject: "alice", Roles: strings.Split(token, ".")}, nil
}

func requirePolicy() *policy.Policy {
	p := policy.Default()
	p.Site = "example.com"
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	p.Identity.Roles = map[string][]string{"admin": {"*"}, "editor": {"notes:*"}, "reader": {"notes:read"}, "empty": nil}
	return p
}

func TestRequireRoleAndPermission(t *testing.T) {
	h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	mux.Handle("/role", app.RequireRole("editor", h))
	mux.Handle("/unknown", app.RequireRole("king", h))
	mux.Handle("/permission", app.RequirePermission("notes:write", h))
	ring, err := app.New(requirePolicy(), mux, app.Deps{Verifier: requireTokens{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, roles string
		status      int
	}{
		{"/role", "", 401}, {"/role", "editor", 200}, {"/role", "empty.editor", 200}, {"/role", "reader", 403},
		{"/role", "admin", 403}, // * grants permissions, it is not every role
		{"/unknown", "king", 403}, {"/unknown", "admin", 403},
		{"/permission", "", 401}, {"/permission", "editor", 200}, {"/permission", "admin", 200},
		{"/permission", "reader", 403}, {"/permission", "empty", 403},
	} {
		r := httptest.NewRequest("GET", "https://example.com"+tt.path, nil)
		if tt.roles != "" {
			r.Header.Set("Authorization", "Bearer "+tt.roles)
		}
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s for %q: %d, want %d", tt.path, tt.roles, w.Code, tt.status)
		}
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/permission", nil))
	if w.Code != 403 {
		t.Errorf("outside a ring: %d", w.Code)
	}
}

func TestRequireWrongUse(t *testing.T) {
	for name, use := range map[string]func(string, http.Handler) http.Handler{"role": app.RequireRole, "permission": app.RequirePermission} {
		bad := []string{"", "anyone", "signed-in", "*", "notes:*", ":", "notes:", ":write"}
		if name == "role" {
			bad = append(bad, "notes:write")
		} else {
			bad = append(bad, "admin")
		}
		for _, s := range bad {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s %q was taken", name, s)
					}
				}()
				use(s, http.NotFoundHandler())
			}()
		}
	}
}

func ExampleRequirePermission() {
	mux := http.NewServeMux()
	mux.Handle("DELETE /notes/{id}", app.RequirePermission("notes:write", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "deleted for ", app.CallerFrom(r.Context()).Subject)
	})))
	ring, err := app.New(requirePolicy(), mux, app.Deps{Verifier: requireTokens{}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, role := range []string{"reader", "editor"} {
		r := httptest.NewRequest("DELETE", "https://example.com/notes/7", nil)
		r.Header.Set("Authorization", "Bearer "+role)
		w := httptest.NewRecorder()
		ring.ServeHTTP(w, r)
		fmt.Println(role, w.Code)
	}
	// Output:
	// reader 403
	// editor 200
}
