package identity

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/ringwall/ringwall/internal/postgrestest"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/pgstore"
)

// What depends on the database's locks, on the one that has many writers at
// once: several nodes on one store.
func TestSessionsOnPostgres(t *testing.T) {
	postgrestest.Skip(t)
	srv, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Stop)
	database := srv.Database(t)
	open := func() store.Store {
		st, err := pgstore.Open(t.Context(), srv.URL(database), srv.Password)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { st.Close() })
		return st
	}
	nodes := []*sessionTest{newSessionTest(t, open()), newSessionTest(t, open())}
	e := nodes[0]

	t.Run("50 refreshes at once", func(t *testing.T) {
		first := e.signIn(e.account())
		got := make([]string, 50)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() {
				g, err := nodes[i%2].refresh(t.Context(), first.Refresh, origin{})
				if got[i] = g.Refresh; err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if slices.Sort(got); got[0] != got[49] || e.row(first.Session).Generation != 2 {
			t.Errorf("not one successor, or not one rotation: generation %d", e.row(first.Session).Generation)
		}
	})
	// A lock and refreshes at the same moment: no order leaves a living session.
	t.Run("locked meanwhile", func(t *testing.T) {
		for range 20 {
			a := e.account()
			g := e.signIn(a)
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					if _, err := nodes[i%2].refresh(t.Context(), g.Refresh, origin{}); err != nil && !errors.Is(err, errBadRefresh) {
						t.Error(err)
					}
				})
			}
			wg.Go(func() {
				_, err := nodes[1].store.UpdateAccount(t.Context(), a.ID, sessionStart, func(a *store.Account) (store.End, error) {
					a.Locked = sessionStart
					return store.End{Reason: "locked"}, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			wg.Wait()
			if f := e.row(g.Session); f.Ended.IsZero() {
				t.Fatal("the session outlives the lock")
			}
		}
	})
	t.Run("200 guesses at once", func(t *testing.T) {
		guards := []*guardTest{newGuardTest(t, nodes[0].store), newGuardTest(t, nodes[1].store)}
		var wg sync.WaitGroup
		var mu sync.Mutex
		looked := 0
		for i := range 200 {
			wg.Go(func() {
				_, wait, err := guards[i%2].look(t.Context(), secretKeys("ada@example.com", guardFrom(guardAddr(i), ""), false)...)
				if err != nil {
					t.Error(err)
				} else if wait == 0 {
					mu.Lock()
					looked++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if looked != 5 {
			t.Errorf("%d secrets were looked at, want 5", looked)
		}
	})
}
