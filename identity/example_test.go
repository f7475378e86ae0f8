package identity_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// A Go program with accounts: the service is given to the server, which serves
// its endpoints beside the program's own, and knows who calls them.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "accounts")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	if err := serveNotes(dir); err != nil {
		fmt.Println(err)
	}
	// Output:
	// POST /api/auth/register 201
	// POST /api/auth/login 401
	// POST /api/auth/login 200
	// GET /notes 401
}

func serveNotes(dir string) error {
	p, err := policy.Parse("ringwall.yaml", []byte(`
site: api.example.com
identity:
  registration: open
  verify_email: false
  default_roles: [user]
  roles: {admin: ["*"], user: ["notes:read"]}
`), policy.LoadOptions{Environ: []string{}})
	if err != nil {
		return err
	}
	store, err := sqlitestore.Open(context.Background(), filepath.Join(dir, "accounts.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	keys, err := identity.OpenKeyRing(filepath.Join(dir, "secrets", "keys.json"), nil)
	if err != nil {
		return err
	}
	accounts, err := identity.New(p, identity.Deps{Store: store, Keys: keys})
	if err != nil {
		return err
	}
	notes := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "the notes of", ringwall.CallerFrom(r.Context()).Subject)
	})
	server, err := ringwall.New(p, notes, ringwall.Deps{Identity: accounts})
	if err != nil {
		return err
	}

	// server.Run(ctx) would listen, and run the accounts too.
	for _, ask := range [][3]string{
		{"POST", "/api/auth/register", `{"name":"Ada","email":"ada@example.com","password":"violet harbour tunnel 9"}`},
		{"POST", "/api/auth/login", `{"email":"ada@example.com","password":"a guess"}`},
		{"POST", "/api/auth/login", `{"email":"ada@example.com","password":"violet harbour tunnel 9"}`},
		{"GET", "/notes", ""},
	} {
		r := httptest.NewRequest(ask[0], "https://api.example.com"+ask[1], strings.NewReader(ask[2]))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		server.Handler().ServeHTTP(w, r)
		fmt.Println(ask[0], ask[1], w.Code)
	}
	return nil
}

// The accounts of a policy that keeps none: the program does not start.
func ExampleNew_mistake() {
	_, err := identity.New(policy.Default(), identity.Deps{})
	fmt.Println(err)
	// Output:
	// identity.registration: the policy keeps no accounts
	//   hint: write open, invite or closed
}
