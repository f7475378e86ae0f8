package ringwall_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/policy"
)

// fakeAccounts stands for identity.Service: it knows one token.
type fakeAccounts struct {
	mu       sync.Mutex
	reloaded []*policy.Policy
	refuse   error // of Reload
	down     error // of Ready
	started  chan struct{}
	broke    chan error
	over     bool
}

func newFakeAccounts() *fakeAccounts {
	return &fakeAccounts{started: make(chan struct{}), broke: make(chan error)}
}

func (f *fakeAccounts) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if c := ringwall.CallerFrom(r.Context()); c != nil {
			who = c.Subject
		}
		_, _ = io.WriteString(w, "accounts "+who)
	})
}

func (f *fakeAccounts) Verifier() bearer.Verifier { return f }

func (f *fakeAccounts) Assert(c bearer.Caller) (string, error) {
	return "assertion-of-" + c.Subject, nil
}

func (f *fakeAccounts) Verify(_ context.Context, token string) (*bearer.Caller, error) {
	if token != "of-alice" {
		return nil, errors.New("no such token")
	}
	return &bearer.Caller{Subject: "alice", Roles: []string{"user"}}, nil
}

func (f *fakeAccounts) Reload(p *policy.Policy) error {
	f.reloaded = append(f.reloaded, p)
	return f.refuse
}

func (f *fakeAccounts) Ready(context.Context) error { return f.down }

func (f *fakeAccounts) Run(ctx context.Context) error {
	close(f.started)
	defer func() {
		f.mu.Lock()
		f.over = true
		f.mu.Unlock()
	}()
	select {
	case <-ctx.Done():
		return nil
	case err := <-f.broke:
		return err
	}
}

const accountRules = `
site: localhost
identity:
  registration: open
  verify_email: false
  roles: {admin: ["*"], user: []}
`

func TestAccountsAreServed(t *testing.T) {
	p := newSite(t).policy(t, accountRules)
	deps, _ := quiet()
	deps.Identity = newFakeAccounts()
	srv, err := ringwall.New(p, hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path, token, body string
		status            int
	}{
		{"/api/auth/login", "", "accounts nobody", 200},
		{"/api/me", "", "", 401},
		{"/api/me", "of-alice", "accounts alice", 200},
		{"/api/me", "forged", "", 401},
		{"/api/admin/users", "of-alice", "", 403},
		{"/api/other", "of-alice", "hello alice", 200},
	} {
		if w := get(t, srv.Handler(), tt.path, tt.token); w.Code != tt.status || tt.body != "" && w.Body.String() != tt.body {
			t.Errorf("GET %s: %d %q, want %d %q", tt.path, w.Code, w.Body, tt.status, tt.body)
		}
	}
}

func TestAccountsAndPolicyMustAgree(t *testing.T) {
	s := newSite(t)
	for name, tt := range map[string]struct {
		yaml     string
		identity ringwall.Identity
		verifier bearer.Verifier
		want     string
	}{
		"on, and nothing keeps them":   {accountRules, nil, nil, "identity.registration"},
		"on, and a verifier of tokens": {accountRules, nil, newFakeAccounts(), "identity.registration"},
		"off, and something there":     {rules, newFakeAccounts(), nil, "identity.registration"},
		"two that say who calls":       {accountRules, newFakeAccounts(), newFakeAccounts(), "give one"},
	} {
		deps, _ := quiet()
		deps.Identity, deps.Verifier = tt.identity, tt.verifier
		if _, err := ringwall.New(s.policy(t, tt.yaml), hello, deps); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want an error of %s", name, err, tt.want)
		}
	}
}

func TestReloadOfAccounts(t *testing.T) {
	s := newSite(t)
	deps, _ := quiet()
	accounts := newFakeAccounts()
	deps.Identity = accounts
	srv, err := ringwall.New(s.policy(t, accountRules), hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	off := strings.Replace(accountRules, "registration: open", "registration: off", 1)
	if err := srv.Reload(s.policy(t, off)); err == nil || !strings.Contains(err.Error(), "identity.registration: a reload cannot change this key") {
		t.Errorf("accounts off: %v", err)
	}
	if len(accounts.reloaded) != 0 {
		t.Error("a reload that was refused has reached the accounts")
	}
	next := s.policy(t, strings.Replace(accountRules, "user: []", `user: ["accounts:manage"]`, 1)+"  access_token: 5m\n")
	accounts.refuse = errors.New("not these")
	if err := srv.Reload(next); err == nil || srv.Policy() == next {
		t.Errorf("what the accounts refuse is in force: %v", err)
	}
	if w := get(t, srv.Handler(), "/api/admin/users", "of-alice"); w.Code != 403 {
		t.Errorf("the new roles hold after a reload that failed: %d", w.Code)
	}
	accounts.refuse = nil
	if err := srv.Reload(next); err != nil || srv.Policy() != next || accounts.reloaded[1] != next {
		t.Errorf("lifetimes and roles: %v", err)
	}
	if w := get(t, srv.Handler(), "/api/admin/users", "of-alice"); w.Code != 200 {
		t.Errorf("the new roles do not hold: %d", w.Code)
	}
}

// Where no accounts are kept, their keys are not used and may change.
func TestReloadWithoutAccounts(t *testing.T) {
	s := newSite(t)
	deps, _ := quiet()
	srv, err := ringwall.New(s.policy(t, rules), hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Reload(s.policy(t, rules+"\nstore: sqlite:other.db\n")); err != nil {
		t.Error(err)
	}
	if err := srv.Reload(s.policy(t, rules+"\nidentity: {registration: closed, verify_email: false}\n")); err == nil || !strings.Contains(err.Error(), "restart") {
		t.Errorf("accounts on: %v", err)
	}
}

func TestReadyAsksTheStore(t *testing.T) {
	deps, _ := quiet()
	accounts := newFakeAccounts()
	accounts.down = errors.New("dial 10.0.0.9: refused")
	deps.Identity = accounts
	deps.Ready = func(context.Context) error { return nil }
	srv, err := ringwall.New(newSite(t).policy(t, accountRules), hello, deps)
	if err != nil {
		t.Fatal(err)
	}
	w := get(t, srv.Handler(), "/readyz", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), `"Out: store."`) || strings.Contains(w.Body.String(), "10.0.0.9") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if got := get(t, srv.Handler(), "/healthz", "").Code; got != 200 {
		t.Errorf("healthz: %d", got)
	}
}

// The accounts run as long as the server, and end after its last request.
func TestAccountsRunWithTheServer(t *testing.T) {
	s := newSite(t)
	yaml := accountRules + "edge: {listen: \"127.0.0.1:0\", redirect: \"127.0.0.1:0\", tls: {cert: site.pem, key: site.key}}\n"
	for _, early := range []bool{false, true} {
		deps, _ := quiet()
		accounts := newFakeAccounts()
		deps.Identity = accounts
		srv, err := ringwall.New(s.policy(t, yaml), hello, deps)
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx) }()
		<-accounts.started
		if early {
			accounts.broke <- errors.New("the disk is gone")
			if err := <-done; err == nil || !strings.Contains(err.Error(), "the disk is gone") {
				t.Errorf("accounts that end early: %v", err)
			}
		} else {
			stop()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		stop()
		accounts.mu.Lock()
		if !accounts.over {
			t.Error("Run has returned before the accounts have")
		}
		accounts.mu.Unlock()
	}
}

// TestUpstreamGetsAnAssertion: of who signed in here, and of nobody else.
func TestUpstreamGetsAnAssertion(t *testing.T) {
	var got []string
	up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Values("X-Ringwall-Assertion") }))
	t.Cleanup(up.Close)
	deps, _ := quiet()
	deps.Identity = newFakeAccounts()
	srv, err := ringwall.New(newSite(t).policy(t, "upstream: "+up.URL+"\napp: {routes: [{path: /public/, allow: [anyone]}]}"+accountRules), nil, deps)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]string{"of-alice": "assertion-of-alice", "": ""} {
		got = nil
		r := httptest.NewRequest("GET", "https://localhost/public/x", nil)
		r.Header.Set("X-Ringwall-Assertion", "forged")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		srv.Handler().ServeHTTP(w, r)
		if w.Code != 200 || strings.Join(got, "|") != want {
			t.Errorf("token %q: %d, the upstream got %q, want %q", token, w.Code, got, want)
		}
	}
}
