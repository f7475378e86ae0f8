package nginx_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/examples/notes/api"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// A whole is the notes API with its accounts, behind one of the engines.
type whole struct {
	*site
	tokens  map[string]string
	account probe.Account
}

func caller(r *http.Request) string {
	if c := ringwall.CallerFrom(r.Context()); c != nil {
		return c.Subject
	}
	return ""
}

// startWhole starts everything that the notes policy needs; engine is builtin or
// nginx.
func startWhole(t *testing.T, engine string) *whole {
	t.Helper()
	_, rest, _ := strings.Cut(string(api.Policy), "\napp:")
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/openapi.yaml", api.Schema, 0o600); err != nil {
		t.Fatal(err)
	}
	rest = strings.Replace(rest, "schema: openapi.yaml", "schema: "+dir+"/openapi.yaml", 1)
	rest = strings.Replace(rest, "identity:\n", "identity:\n  keys: "+dir+"/keys.json\n", 1)
	s := newSite(t, "app:"+rest)
	w := &whole{site: s, tokens: map[string]string{}, account: probe.Account{Email: "check@example.com", Password: "a long one, of a check 7"}}
	if s.policy.Edge.Engine = engine; engine == "nginx" {
		nginxBinary(t)
		s.write(t, nil)
		s.startNginx(t)
	}
	store, err := sqlitestore.Open(t.Context(), filepath.Join(dir, "accounts.db"))
	if err != nil {
		t.Fatal(err)
	}
	notes, err := api.Open(filepath.Join(dir, "notes.db"), caller)
	if err != nil {
		t.Fatal(err)
	}
	bans := edge.NewBans(edge.BansConfig{})
	sink := audit.Tee(s, bans)
	service, err := identity.New(s.policy, identity.Deps{Store: store, Audit: sink})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := ringwall.New(s.policy, notes, ringwall.Deps{Log: slog.New(slog.DiscardHandler), Audit: s, Bans: bans, Identity: service})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if engine == "nginx" {
		events, err := nginx.ListenEvents(s.policy, nil, sink, nil)
		if err != nil {
			t.Fatal(err)
		}
		go events.Run(ctx)
	}
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		notes.Close()
		store.Close()
	})
	select {
	case <-srv.Listening():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	by := identity.Actor{ID: "os:test", Operator: true}
	keys, err := identity.OpenKeyRing(s.policy.File(s.policy.Identity.Keys), nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, roles := range map[string][]string{"": nil, "user": {"user"}, "admin": {"admin"}} {
		email := w.account.Email
		if name != "" {
			email = name + "@example.com"
		}
		if _, err := service.Accounts().Create(t.Context(), by, identity.NewAccount{Email: email, Name: "check " + name, Password: w.account.Password, Roles: roles}); err != nil {
			t.Fatal(err)
		}
		acc, err := service.Accounts().Find(t.Context(), email)
		if err != nil {
			t.Fatal(err)
		}
		if w.tokens[name], err = keys.Keys().Mint(identity.Claims{Issuer: s.policy.Issuer(), Audience: s.policy.Audience(),
			Subject: acc.ID, Session: "check-" + name, Roles: roles}, 10*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// report runs the whole outside suite, as ringwall check does.
func (w *whole) report(t *testing.T) map[string]check.Result {
	t.Helper()
	c, err := probe.New(w.url(), probe.Options{TLS: &tls.Config{RootCAs: w.roots}, Tokens: w.tokens, Account: w.account, MaxRequests: 2000, Timeout: 20 * time.Second,
		Pace: probe.Pace{Burst: 10, Every: 110 * time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]check.Result{}
	checks := slices.Concat(app.Checks(w.policy, c, time.Now()), edge.Checks(w.policy, c, time.Now()), identity.Checks(w.policy, c, time.Now()))
	r := check.Run(t.Context(), checks, check.Options{PerCheck: 50 * time.Second})
	for _, res := range r.Results {
		out[res.ID] = res
	}
	return out
}

// TestNginxIsAsGreenAsTheBuiltInEdge runs the whole outside suite against both,
// with the same policy and API behind, and compares what docs/nginx.md shows.
func TestNginxIsAsGreenAsTheBuiltInEdge(t *testing.T) {
	nginxBinary(t) // or skip, before the other edge is looked at
	reports := map[string]map[string]check.Result{}
	for _, engine := range []string{"builtin", "nginx"} {
		w := startWhole(t, engine)
		reports[engine] = w.report(t)
		if log, err := os.ReadFile(w.dir + "/error.log"); err == nil {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("nginx says: %s", lastOf(string(log), "upstream:", 20))
				}
			})
		}
	}
	v, err := installed()
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| control | built in | nginx |\n|---|---|---|\n")
	for _, id := range inOrder(reports["builtin"]) {
		own, there := reports["builtin"][id], reports["nginx"][id]
		verdict := there.Verdict
		if own.Verdict != check.Pass {
			t.Errorf("%s with the built-in edge: %v %s", id, own.Verdict, own.Got)
		}
		note := map[string]string{"edge/key-exchange": "OpenSSL 3.5", "edge/framing": "nginx 1.21.1"}[id]
		can := map[string]bool{"edge/key-exchange": v.Hybrid(), "edge/framing": v.StrictFraming()}[id]
		switch {
		case note != "" && (verdict == check.Pass) == can:
			fmt.Fprintf(&table, "| %s | pass | pass with %s or newer, else **fail** |\n", id, note)
			continue
		case verdict != own.Verdict:
			t.Errorf("%s: %v with the built-in edge, %v with nginx: %s; want %s", id, own.Verdict, verdict, there.Got, there.Want)
		}
		fmt.Fprintf(&table, "| %s | %v | %v |\n", id, own.Verdict, verdict)
	}
	if len(reports["nginx"]) != len(reports["builtin"]) {
		t.Errorf("%d checks with nginx, %d with the built-in edge", len(reports["nginx"]), len(reports["builtin"]))
	}
	compareTable(t, "suite", table.String())
}

// lastOf is the last lines that have a word.
func lastOf(text, word string, most int) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return !strings.Contains(l, word) })
	return strings.Join(lines[max(0, len(lines)-most):], "\n")
}

func inOrder(r map[string]check.Result) []string {
	var ids []string
	for id := range r {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// compareTable holds a table of docs/nginx.md, between its two marks, against
// what was seen.
func compareTable(t *testing.T, name, table string) {
	t.Helper()
	const file = "../../docs/nginx.md"
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": written by go test ./edge/nginx -update -->\n", "<!-- end of "+name+" -->"
	before, rest, ok := strings.Cut(string(b), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for %s", file, name)
	}
	if old == table {
		return
	}
	if !*update {
		t.Errorf("%s: the table %s is another one; -update, and look at the difference:\n%s", file, name, table)
		return
	}
	if err := os.WriteFile(file, []byte(before+begin+table+end+after), 0o666); err != nil {
		t.Fatal(err)
	}
}
