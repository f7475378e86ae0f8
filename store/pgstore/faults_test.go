package pgstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/postgrestest"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/pgstore"
	"github.com/ringwall/ringwall/store/storetest"
)

func next(s *store.Session, _ store.Account) error {
	s.Generation++
	return nil
}

func generation(t *testing.T, s store.Store) int64 {
	t.Helper()
	one, err := s.Session(t.Context(), "s")
	if err != nil {
		t.Fatal(err)
	}
	return one.Generation
}

// TestServerOut: every call says so, quickly; when the server is back all works
// without a new start.
func TestServerOut(t *testing.T) {
	postgrestest.Skip(t)
	srv, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Stop()
	s, _ := seeded(t, srv)
	for range 2 {
		srv.Halt()
		began := time.Now()
		storetest.Out(t, s)
		if d := time.Since(began); d > 30*time.Second {
			t.Errorf("to find that out took %v", d)
		}
		if err := srv.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		before := generation(t, s)
		if err := s.UpdateSession(t.Context(), "s", next); err != nil || generation(t, s) != before+1 {
			t.Error(err)
		}
	}
}

// TestConnectionLostInside kills the server's side of the transaction while the
// change function runs.
func TestConnectionLostInside(t *testing.T) {
	srv := server(t)
	s, database := seeded(t, srv)
	kill := func() {
		srv.SQL(t, "postgres", "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '"+database+"'")
	}
	calls := 0
	err := s.UpdateSession(t.Context(), "s", func(v *store.Session, a store.Account) error {
		if calls++; calls == 1 {
			kill()
		}
		return next(v, a)
	})
	if err != nil || calls != 2 || generation(t, s) != 2 {
		t.Errorf("lost once: %v after %d calls, generation %d", err, calls, generation(t, s))
	}

	calls = 0
	err = s.UpdateSession(t.Context(), "s", func(v *store.Session, a store.Account) error {
		calls++
		kill()
		return next(v, a)
	})
	if err == nil || errors.Is(err, store.ErrUnknown) || calls > 10 || generation(t, s) != 2 {
		t.Errorf("lost again and again: %v after %d calls, generation %d", err, calls, generation(t, s))
	}
	_, err = s.UpdateAccount(t.Context(), "a", start, func(a *store.Account) (store.End, error) {
		kill()
		a.Locked = start
		return store.End{Reason: "locked"}, nil
	})
	if one, _ := s.Session(t.Context(), "s"); err == nil || !one.Ended.IsZero() {
		t.Errorf("a lock that was lost: %v, %+v", err, one)
	}

	kill() // idle connections
	if err := s.UpdateSession(t.Context(), "s", next); err != nil || generation(t, s) != 3 {
		t.Errorf("after idle connections were lost: %v", err)
	}
}

// TestDatabaseAsksForARetry: a trigger undoes the first transactions with the
// codes of a serialization failure and of a deadlock.
func TestDatabaseAsksForARetry(t *testing.T) {
	for _, code := range []string{"40001", "40P01"} {
		srv := server(t)
		s, database := seeded(t, srv)
		fail := func(times int) {
			srv.SQL(t, database, fmt.Sprintf(`SET search_path = ringwall;
				DROP SEQUENCE IF EXISTS tried; CREATE SEQUENCE tried;
				CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
					IF nextval('ringwall.tried') <= %d THEN RAISE EXCEPTION 'again' USING ERRCODE = '%s'; END IF; RETURN NEW; END $$;
				CREATE OR REPLACE TRIGGER fail BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION fail()`, times, code))
		}
		fail(3)
		calls := 0
		err := s.UpdateSession(t.Context(), "s", func(v *store.Session, a store.Account) error { calls++; return next(v, a) })
		if err != nil || calls != 4 || generation(t, s) != 2 {
			t.Errorf("%s three times: %v after %d calls", code, err, calls)
		}
		fail(1000)
		calls = 0
		err = s.UpdateSession(t.Context(), "s", func(v *store.Session, a store.Account) error { calls++; return next(v, a) })
		if err == nil || !strings.Contains(err.Error(), code) || calls != 8 || generation(t, s) != 2 {
			t.Errorf("%s always: %v after %d calls", code, err, calls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		calls = 0
		err = s.UpdateSession(ctx, "s", func(*store.Session, store.Account) error {
			if calls++; calls == 2 {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || calls != 2 {
			t.Errorf("given up: %v after %d calls", err, calls)
		}
	}
}

// TestDeadlock makes a real one, with a client that locks the other way round.
func TestDeadlock(t *testing.T) {
	srv := server(t)
	s, database := seeded(t, srv)
	if err := s.CreateAccount(t.Context(), store.Account{ID: "b", Email: "b@example.com"}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := s.UpdateAccount(t.Context(), "a", start, func(a *store.Account) (store.End, error) {
				a.Name += "x"
				return store.End{Reason: "locked"}, nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 5 { // the session first, then the account
		srv.SQL(t, database, `DO $$ BEGIN
			UPDATE ringwall.sessions SET generation = generation + 1; PERFORM pg_sleep(0.01); UPDATE ringwall.accounts SET roles = roles;
			EXCEPTION WHEN deadlock_detected THEN END $$`)
	}
	wg.Wait()
	if a, err := s.Account(t.Context(), "a"); err != nil || len(a.Name) != 20 {
		t.Errorf("%d of 20 changes are there, %v", len(a.Name), err)
	}
}

// TestReadersPassAHotRow: fifty wait for one session, and others go on.
func TestReadersPassAHotRow(t *testing.T) {
	s, _ := seeded(t, server(t))
	inside, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			err := s.UpdateSession(t.Context(), "s", func(v *store.Session, a store.Account) error {
				once.Do(func() { close(inside) })
				<-goOn
				return next(v, a)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	<-inside
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := s.Session(ctx, "s"); err != nil {
		t.Error(err)
	}
	if err := s.Ping(ctx); err != nil {
		t.Error(err)
	}
	close(goOn)
	wg.Wait()
	if g := generation(t, s); g != 51 {
		t.Errorf("generation %d", g)
	}
}

// TestCommitNotAnswered cuts the connection just before, or just after, the
// server gets a COMMIT: the store finds out what became of it.
func TestCommitNotAnswered(t *testing.T) {
	srv := server(t)
	_, database := seeded(t, srv)
	for name, tt := range map[string]struct {
		forward bool
		calls   int
	}{
		"lost before": {false, 2}, // it was undone, and is done again
		"lost after":  {true, 1},  // it was done, and is not done twice
	} {
		t.Run(name, func(t *testing.T) {
			p := newProxy(t, srv.Socket, tt.forward)
			s, err := pgstore.Open(t.Context(), "postgres://ringwall@/"+database+"?host="+p.dir, srv.Password)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			before, calls := generation(t, s), 0
			p.cuts.Store(1)
			err = s.UpdateSession(t.Context(), "s", func(v *store.Session, a store.Account) error { calls++; return next(v, a) })
			if err != nil || generation(t, s) != before+1 || calls != tt.calls {
				t.Errorf("%v after %d calls; generation %d, want %d", err, calls, generation(t, s), before+1)
			}
			if n := p.cuts.Load(); n > 0 {
				t.Error("no COMMIT was cut off")
			}
		})
	}
}

// TestCommitUnknown: nobody can say what became of it.
func TestCommitUnknown(t *testing.T) {
	if testing.Short() {
		t.Skip("waits five seconds")
	}
	srv := server(t)
	_, database := seeded(t, srv)
	p := newProxy(t, srv.Socket, true)
	s, err := pgstore.Open(t.Context(), "postgres://ringwall@/"+database+"?host="+p.dir, srv.Password)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p.cuts.Store(1)
	p.close.Store(true)
	if err := s.UpdateSession(t.Context(), "s", next); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// A proxy stands before the server's socket and cuts off COMMITs.
type proxy struct {
	dir   string
	cuts  atomic.Int64 // how many are to be cut off
	close atomic.Bool  // then it takes no connection any more
}

func newProxy(t *testing.T, socket string, forward bool) *proxy {
	p := &proxy{dir: t.TempDir()}
	l, err := net.Listen("unix", filepath.Join(p.dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("unix", filepath.Join(socket, ".s.PGSQL.5432"))
			if err != nil {
				client.Close()
				continue
			}
			var cut atomic.Bool
			go func() {
				defer client.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := server.Read(buf)
					if err != nil || cut.Load() {
						return
					}
					_, _ = client.Write(buf[:n])
				}
			}()
			go func() {
				defer server.Close()
				buf := make([]byte, 64<<10)
				for {
					n, err := client.Read(buf)
					if err != nil {
						return
					}
					if bytes.Contains(bytes.ToLower(buf[:n]), []byte("commit\x00")) && p.cuts.Add(-1) == 0 {
						if p.close.Load() {
							l.Close()
						}
						cut.Store(true)
						if !forward {
							client.Close()
							return
						}
						_, _ = server.Write(buf[:n])
						_, _ = io.Copy(io.Discard, client) // until the reader of answers has closed it
						return
					}
					_, _ = server.Write(buf[:n])
				}
			}()
		}
	}()
	return p
}
