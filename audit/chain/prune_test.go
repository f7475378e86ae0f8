package chain_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// aged is a good chain of n entries, an hour apart.
func aged(n int) *memory {
	m := &memory{}
	for i := range n {
		e := store.Entry{Seq: int64(i + 1), Time: began.Add(time.Duration(i) * time.Hour), Event: fmt.Appendf(nil, `{"v":1,"kind":"server.started","detail":"%d"}`, i)}
		m.entries = append(m.entries, e)
	}
	relink(m.entries, 0)
	return m
}

var began = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func anchorAt(t testing.TB, e store.Entry) chain.Anchor {
	t.Helper()
	a, err := chain.ParseAnchor(fmt.Sprintf("%d:%x", e.Seq, e.Hash))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func prune(t testing.TB, st store.Chain, before time.Time, events ...audit.Sink) chain.Anchor {
	t.Helper()
	_, cut, err := chain.Prune(context.Background(), st, before, "os:root", audit.Tee(events...))
	if err != nil {
		t.Fatal(err)
	}
	return cut
}

func TestPrune(t *testing.T) {
	m := aged(2500)
	all := slices.Clone(m.entries)
	log := &logged{}
	if cut := prune(t, m, began); cut.Seq != 0 || len(m.entries) != 2500 {
		t.Fatalf("nothing was old, and the cut is %v, %d left", cut, len(m.entries))
	}
	cut := prune(t, m, began.Add(1500*time.Hour), audit.NewLog(log.logger()))
	if cut != anchorAt(t, all[1499]) || len(m.entries) != 1001 || m.entries[0].Seq != 1501 {
		t.Fatalf("cut %v, %d left, from %d", cut, len(m.entries), m.entries[0].Seq)
	}
	told, err := chain.ReadLog(strings.NewReader(log.String()))
	if err != nil || !slices.Equal(told.Cuts, []chain.Anchor{cut}) {
		t.Errorf("the log tells %v, %v", told, err)
	}
	if r, err := chain.Decode(m.entries[1000]); err != nil || r.Kind != audit.AuditPruned || r.Subject != "os:root" || r.Detail != cut.String() {
		t.Errorf("the chain tells %+v, %v", r, err)
	}
	r, err := chain.Verify(t.Context(), m, anchorAt(t, all[9]), anchorAt(t, all[1499]), anchorAt(t, all[2000]))
	if err != nil || r.Break != nil || r.Entries != 1001 || r.Base != cut || r.Unseen != 1 || r.Head.Seq != 2501 || r.Pruned.IsZero() {
		t.Errorf("%+v, %v", r, err)
	}
	// Once more, and all at last but the end.
	prune(t, m, began.Add(2000*time.Hour))
	prune(t, m, time.Now().Add(time.Hour))
	if len(m.entries) != 1 {
		t.Errorf("%d left", len(m.entries))
	}
	fill(t, m, 3)
	if r, err := chain.Verify(t.Context(), m); err != nil || r.Break != nil || r.Entries != 4 {
		t.Errorf("%+v, %v", r, err)
	}
}

// What is found in a chain that has its beginning is found in one that was
// pruned, and that it was pruned is no excuse for another beginning.
func TestTrapPrunedChainHidesNothing(t *testing.T) {
	whole := aged(60)
	for i, e := range whole.entries {
		whole.entries[i].Hash = slices.Clone(e.Hash)
	}
	old := slices.Clone(whole.entries)
	prune(t, whole, began.Add(20*time.Hour))
	good := whole.entries // 21 to 60, and that it was pruned
	zero := chain.Log{}
	logOf := func(cuts ...chain.Anchor) chain.Log { // that goes back to before the cut
		return chain.Log{Anchors: []chain.Anchor{anchorAt(t, old[29]), anchorAt(t, old[59])}, Cuts: cuts}
	}
	cut := anchorAt(t, old[19])
	forge := func(all []store.Entry, at int) []store.Entry { // pruned once more, by who has the database
		last := all[len(all)-1]
		e := store.Entry{Seq: last.Seq + 1, Time: last.Time, Previous: last.Hash,
			Event: fmt.Appendf(nil, `{"v":1,"kind":"audit.pruned","outcome":"success","detail":"%s"}`, anchorAt(t, all[at]))}
		e.Hash = chain.Sum(e)
		return append(all[at+1:], e)
	}
	for _, c := range []struct {
		name    string
		tamper  func([]store.Entry) []store.Entry
		log     chain.Log
		anchors []chain.Anchor
		seq     int64
		why     string
	}{
		{"nothing", func(all []store.Entry) []store.Entry { return all }, zero, nil, 0, ""},
		{"nothing, with the log", func(all []store.Entry) []store.Entry { return all }, logOf(cut), nil, 0, ""},
		{"nothing, with a cut that was kept by hand", func(all []store.Entry) []store.Entry { return all }, logOf(), []chain.Anchor{cut}, 0, ""},
		{"nothing, with a log that begins later", func(all []store.Entry) []store.Entry { return all }, chain.Log{Anchors: []chain.Anchor{anchorAt(t, good[40])}}, nil, 0, ""},
		{"not all is removed yet", func(all []store.Entry) []store.Entry { return append(slices.Clone(old[12:20]), all...) }, logOf(cut), nil, 0, ""},
		{"what is to be removed was changed", func(all []store.Entry) []store.Entry {
			part := append(slices.Clone(old[12:20]), all...)
			part[2].Event = []byte("{}")
			return part
		}, zero, nil, 15, "changed"},
		{"and written anew", func(all []store.Entry) []store.Entry {
			part := append(slices.Clone(old[12:20]), all...)
			part[2].Event = []byte("{}")
			relinkPart(part[:8], 2)
			return part
		}, zero, nil, 20, "anchor"},
		{"changed", func(all []store.Entry) []store.Entry { all[5].Event = []byte("{}"); return all }, zero, nil, 26, "changed"},
		{"missing", func(all []store.Entry) []store.Entry { return slices.Delete(all, 5, 6) }, zero, nil, 26, "missing"},
		{"first missing", func(all []store.Entry) []store.Entry { return all[1:] }, zero, nil, 1, "no audit.pruned event tells of it"},
		{"first changed", func(all []store.Entry) []store.Entry { all[0].Event = []byte("{}"); return all }, zero, nil, 21, "changed"},
		{"first follows another", func(all []store.Entry) []store.Entry {
			all[0].Previous = slices.Repeat([]byte{7}, 32)
			relinkPart(all, 0)
			return all
		}, zero, nil, 21, "anchor"},
		{"the word of the cut is missing", func(all []store.Entry) []store.Entry { return all[:40] }, zero, nil, 1, "no audit.pruned event"},
		{"the word of the cut is the detail of another event", func(all []store.Entry) []store.Entry {
			all[40].Event = []byte(strings.Replace(string(all[40].Event), `"kind":"audit.pruned"`, `"kind":"auth.failed","path":"audit.pruned"`, 1))
			relinkPart(all, 40)
			return all
		}, zero, nil, 1, "no audit.pruned event"},
		{"cut by a stranger: by itself it verifies", func(all []store.Entry) []store.Entry { return forge(all, 30) }, zero, nil, 0, ""},
		{"but the log knows better", func(all []store.Entry) []store.Entry { return forge(all, 30) }, logOf(cut), nil, 1, "the log of that time does not"},
		{"an anchor of the base", func(all []store.Entry) []store.Entry { return all }, zero, []chain.Anchor{anchorAt(t, store.Entry{Seq: 20, Hash: make([]byte, 32)})}, 21, "written anew"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{entries: c.tamper(slices.Clone(good))}
			r, err := chain.VerifyLog(t.Context(), m, c.log, c.anchors...)
			switch {
			case err != nil:
				t.Error(err)
			case c.seq == 0 && r.Break != nil:
				t.Error(r.Break)
			case c.seq != 0 && (r.Break == nil || r.Break.Seq != c.seq || !strings.Contains(r.Break.Why, c.why)):
				t.Errorf("%v, want one at %d: %s", r.Break, c.seq, c.why)
			}
		})
	}
}

// relinkPart makes a part of a chain good again from i on; what comes before it
// stays as it is named.
func relinkPart(all []store.Entry, i int) {
	for ; i < len(all); i++ {
		if i > 0 {
			all[i].Previous = all[i-1].Hash
		}
		all[i].Hash = chain.Sum(all[i])
	}
}

// Evidence is not removed.
func TestPruneLeavesWhatIsBroken(t *testing.T) {
	m := aged(50)
	m.entries[10].Event = []byte("{}")
	_, _, err := chain.Prune(t.Context(), m, began.Add(30*time.Hour), "", audit.Discard)
	if !errors.Is(err, chain.ErrBroken) || !strings.Contains(err.Error(), "entry 11") || len(m.entries) != 50 {
		t.Errorf("%v, %d left", err, len(m.entries))
	}
	if cut := prune(t, m, began.Add(10*time.Hour)); cut.Seq != 10 { // what is good can go
		t.Errorf("cut %v", cut)
	}
	m.out = errOut
	if _, _, err := chain.Prune(t.Context(), m, began.Add(30*time.Hour), "", audit.Discard); !errors.Is(err, errOut) {
		t.Errorf("with the store out: %v", err)
	}
}

// Whatever is pruned when, with a crash anywhere: the chain verifies, and any
// one changed bit is found.
func TestPruneProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := aged(rapid.IntRange(1, 40).Draw(t, "entries"))
		var gone int64
		for range rapid.IntRange(1, 4).Draw(t, "times") {
			before := began.Add(time.Duration(rapid.IntRange(-1, 50).Draw(t, "before")) * time.Hour)
			had := slices.Clone(m.entries)
			_, cut, err := chain.Prune(context.Background(), m, before, "", audit.Discard)
			if err != nil {
				t.Fatal(err)
			}
			gone = max(gone, cut.Seq)
			if removed := len(had) + 1 - len(m.entries); removed > 0 && had[0].Seq != m.entries[0].Seq { // a crash left some of them
				back := rapid.IntRange(0, removed).Draw(t, "not removed")
				m.entries = append(slices.Clone(had[removed-back:removed]), m.entries...)
			}
			if r, err := chain.Verify(context.Background(), m); err != nil || r.Break != nil {
				t.Fatal(r.Break, err)
			}
		}
		head, err := chain.Verify(context.Background(), m)
		if err != nil {
			t.Fatal(err)
		}
		i := rapid.IntRange(0, len(m.entries)-1).Draw(t, "tampered")
		e := &m.entries[i]
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			e.Event = append(slices.Clone(e.Event), ' ')
		case 1:
			e.Time = e.Time.Add(time.Microsecond)
		case 2:
			if i == 0 && e.Seq <= gone {
				return // it was to be removed
			}
			m.entries = slices.Delete(m.entries, i, i+1)
		}
		if r, err := chain.Verify(context.Background(), m, head.Head); err == nil && r.Break == nil {
			t.Fatal("not found")
		}
	})
}

// The server prunes by itself, and tells the log; Verify that reads meanwhile is
// not misled.
func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		log := &logged{}
		s := chain.New(m, log.logger())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Keep(ctx, func() time.Duration { return 7 * 24 * time.Hour }); close(done) }()
		for range 30 {
			s.Record(audit.Event{Kind: audit.ServerStarted})
			time.Sleep(24 * time.Hour)
		}
		m.mu.Lock()
		first := m.entries[0]
		m.mu.Unlock()
		if age := time.Since(first.Time); age < 7*24*time.Hour || age > 9*24*time.Hour+time.Hour {
			t.Errorf("the first is %v old", age)
		}
		r, err := chain.Verify(t.Context(), m)
		if err != nil || r.Break != nil || r.Base.Seq == 0 {
			t.Errorf("%+v, %v", r, err)
		}
		told, err := chain.ReadLog(strings.NewReader(log.String()))
		if err != nil || len(told.Cuts) < 10 || len(told.Cuts) > 25 {
			t.Errorf("%d cuts in the log, %v", len(told.Cuts), err)
		}
		if r, err := chain.VerifyLog(t.Context(), m, told); err != nil || r.Break != nil {
			t.Errorf("with the log: %+v, %v", r, err)
		}
		m.mu.Lock()
		m.entries[1].Event = []byte("{}")
		m.mu.Unlock()
		time.Sleep(10 * 24 * time.Hour)
		if !strings.Contains(log.String(), string(audit.AuditBroken)) {
			t.Error("that it is broken was not told")
		}
		stop()
		<-done
		closeSink(t, s)
	})
}

// prunedMeanwhile prunes between two pages.
type prunedMeanwhile struct {
	*memory
	when func()
}

func (p *prunedMeanwhile) Entries(ctx context.Context, after int64, limit int) ([]store.Entry, error) {
	if after > 0 && p.when != nil {
		when := p.when
		p.when = nil
		when()
	}
	return p.memory.Entries(ctx, after, limit)
}

func TestVerifyWhileItIsPruned(t *testing.T) {
	m := aged(4000)
	p := &prunedMeanwhile{memory: m, when: func() { prune(t, m, began.Add(2500*time.Hour)) }}
	if r, err := chain.Verify(t.Context(), p); err != nil || r.Break != nil || r.Base.Seq != 2500 || r.Entries != 1501 {
		t.Errorf("%+v, %v", r, err)
	}
}

// On a real store, beside a sink that writes.
func TestPruneSQLite(t *testing.T) {
	st, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "s.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	fill(t, st, 1200)
	log := &logged{}
	s := chain.New(st, slog.New(slog.DiscardHandler), audit.NewLog(log.logger()))
	s.Record(numbered(1200))
	if n, _, err := chain.Prune(t.Context(), st, time.Unix(1_900_000_000, 0), "", audit.Discard); err != nil || n < 1199 {
		t.Errorf("%d pruned, %v", n, err)
	}
	for i := range 300 {
		s.Record(numbered(i))
	}
	closeSink(t, s)
	if strings.Contains(log.String(), string(audit.AuditBroken)) {
		t.Errorf("the sink takes it for tampered with: %s", log)
	}
	if r, err := chain.Verify(t.Context(), st); err != nil || r.Break != nil || r.Entries < 300 {
		t.Errorf("%+v, %v", r, err)
	}
}
