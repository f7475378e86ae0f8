package pgstore_test

import (
	"os"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/postgrestest"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/pgstore"
	"github.com/ringwall/ringwall/store/storetest"
)

var shared = sync.OnceValues(postgrestest.Start)

func TestMain(m *testing.M) {
	code := m.Run()
	if started {
		if s, err := shared(); err == nil {
			s.Stop()
		}
	}
	os.Exit(code)
}

var started bool

// server is the one that most tests share.
func server(t testing.TB) *postgrestest.Server {
	t.Helper()
	postgrestest.Skip(t)
	started = true
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, srv *postgrestest.Server, database string) *pgstore.Store {
	t.Helper()
	s, err := pgstore.Open(t.Context(), srv.URL(database), srv.Password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var (
	start   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	account = store.Account{ID: "a", Email: "a@example.com", Created: start, Updated: start}
	session = store.Session{ID: "s", AccountID: "a", Created: start, Expires: start.Add(time.Hour), Generation: 1, Current: []byte("sum")}
)

// seeded is a store with an account and a session.
func seeded(t testing.TB, srv *postgrestest.Server) (s *pgstore.Store, database string) {
	t.Helper()
	database = srv.Database(t)
	s = open(t, srv, database)
	if err := s.CreateAccount(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if err := s.CreateSession(t.Context(), session, 0, nil); err != nil {
		t.Fatal(err)
	}
	return s, database
}

func TestConformance(t *testing.T) {
	srv := server(t)
	storetest.Run(t, func(t testing.TB) store.Store { return open(t, srv, srv.Database(t)) })
}

func BenchmarkUpdateSession(b *testing.B) {
	s, _ := seeded(b, server(b))
	for b.Loop() {
		if err := s.UpdateSession(b.Context(), "s", func(n *store.Session, _ store.Account) error {
			n.Generation++
			n.Previous, n.Current = n.Current, make([]byte, 32)
			n.Successor = make([]byte, 90)
			return nil
		}); err != nil {
			b.Fatal(err)
		}
	}
}
