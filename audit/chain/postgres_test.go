package chain_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/internal/postgrestest"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/pgstore"
)

func last(st store.Chain) int64 {
	e, _ := st.LastEntry(context.Background())
	return e.Seq
}

// Two servers append to one PostgreSQL, which crashes three times meanwhile:
// nothing is lost, nothing is there twice, each one's order is kept. What is then
// changed behind their back is found.
func TestPostgresCrashes(t *testing.T) {
	postgrestest.Skip(t)
	pg, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pg.Stop)
	db := pg.Database(t)
	const rounds, each = 4, 700
	log := &logged{}
	var stores [2]*pgstore.Store
	var sinks [2]*chain.Sink
	for i := range stores {
		if stores[i], err = pgstore.Open(t.Context(), pg.URL(db), pg.Password); err != nil {
			t.Fatal(err)
		}
		defer stores[i].Close()
		sinks[i] = chain.New(stores[i], log.logger())
	}
	for round := range rounds {
		for n := range each {
			for i, s := range sinks {
				s.Record(audit.Event{Kind: audit.AccountLocked, Subject: fmt.Sprint(i, "-", round*each+n)})
			}
		}
		if round == 0 {
			continue
		}
		for before := last(stores[0]); last(stores[0]) == before; {
			runtime.Gosched() // until the first batch of several is there
		}
		pg.Halt()
		if err := pg.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range sinks {
		closeSink(t, s)
	}
	next := map[string]int{}
	for _, r := range read(t, stores[0]) {
		if r.Kind != audit.AccountLocked {
			continue
		}
		who, n, _ := strings.Cut(r.Subject, "-")
		if n != fmt.Sprint(next[who]) {
			t.Fatalf("%s comes where %d is due", r.Subject, next[who])
		}
		next[who]++
	}
	if next["0"] != rounds*each || next["1"] != rounds*each || log.count("audit.broken") > 0 {
		t.Errorf("%v, %s", next, log)
	}
	if log.count("store.failed") == 0 {
		t.Error("no crash was noticed")
	}
	pg.SQL(t, db, "UPDATE entries SET at = at + 1 WHERE seq = 1500")
	if r, err := chain.Verify(t.Context(), stores[1]); err != nil || r.Break == nil || r.Break.Seq != 1500 {
		t.Errorf("%v, %v", r.Break, err)
	}
}
