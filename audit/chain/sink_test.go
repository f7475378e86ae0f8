package chain_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
)

// kindsInSource are the constants of type audit.Kind.
func kindsInSource(t *testing.T) (all []audit.Kind) {
	f, err := parser.ParseFile(token.NewFileSet(), "../audit.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if v, ok := n.(*ast.ValueSpec); ok && len(v.Values) == 1 {
			if id, ok := v.Type.(*ast.Ident); ok && id.Name == "Kind" {
				k, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, audit.Kind(k))
			}
		}
		return true
	})
	return all
}

func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := &memory{}, &logged{}
		s := chain.New(m, log.logger())
		s.Record(numbered(0))
		time.Sleep(time.Second)
		m.set(func() { m.out = errOut })
		for i := 1; i < 100; i++ {
			s.Record(numbered(i))
		}
		time.Sleep(2 * time.Hour)
		m.set(func() {
			if n := m.appends; n < 100 || n > 300 {
				t.Errorf("the store was tried %d times in two hours", n)
			}
		})
		if log.count("the disk is gone") != 1 || log.count("store.failed") != 1 {
			t.Errorf("one line for an outage is wanted, got %s", log)
		}
		m.set(func() { m.out = nil })
		time.Sleep(time.Minute)
		if log.count("is written again") != 1 {
			t.Errorf("one line for its end is wanted, got %s", log)
		}
		closeSink(t, s)
		all := read(t, m)
		for i := range 100 {
			if all[i].Subject != fmt.Sprint("u", i) {
				t.Fatalf("entry %d is of %q", i+1, all[i].Subject)
			}
		}
		if n := kinds(all); len(all) != 101 || n[audit.StoreFailed] != 1 {
			t.Errorf("got %v", n)
		}
	})
}

// What finds no room is counted, and the count is stored.
func TestLossIsRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := &memory{out: errOut}, &logged{}
		s := chain.New(m, log.logger())
		const sent = 20_000
		for i := range sent {
			s.Record(numbered(i))
		}
		time.Sleep(time.Hour)
		m.set(func() { m.out = nil })
		time.Sleep(2 * time.Minute)
		s.Record(audit.Event{Kind: audit.ServerStopped})
		closeSink(t, s)
		all := read(t, m)
		kept := kinds(all)[audit.AccountLocked]
		i := slices.IndexFunc(all, func(r chain.Record) bool { return r.Kind == audit.AuditLost })
		if i < 0 || kinds(all)[audit.AuditLost] != 1 {
			t.Fatalf("got %v", kinds(all))
		}
		lost := all[i]
		if kept < 1000 || kept+int(lost.Count) != sent || lost.Of != audit.AccountLocked {
			t.Errorf("%d kept, %d %s lost, of %d", kept, lost.Count, lost.Of, sent)
		}
		if !lost.Since.Equal(numbered(kept).Time) || !lost.Time.Equal(numbered(sent-1).Time) {
			t.Errorf("lost from %v to %v", lost.Since, lost.Time)
		}
		if want := fmt.Sprintf("lacks %d events", lost.Count); log.count(want) != 1 || log.count("audit.lost") != 1 {
			t.Errorf("the log does not say %q: %s", want, log)
		}
		if last := all[len(all)-1]; last.Kind != audit.ServerStopped {
			t.Errorf("the chain ends with %s", last.Kind)
		}
	})
}

// A store that hangs must not hold up a request.
func TestRecordNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := chain.New(m, (&logged{}).logger())
		hang := make(chan struct{})
		m.before = func() bool { <-hang; return false }
		s.Record(numbered(0))
		time.Sleep(time.Second) // the sink hangs in Append
		for i := range 50_000 {
			s.Record(numbered(i + 1)) // would deadlock the bubble
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); err == nil || !strings.Contains(err.Error(), "events are not stored") {
			t.Errorf("Close over a store that hangs: %v", err)
		}
		close(hang)
		closeSink(t, s) // a second Close waits too
	})
}

func TestCloseDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{out: errOut}
		s := chain.New(m, (&logged{}).logger())
		s.Record(numbered(0))
		time.Sleep(time.Hour) // the next try may be 30 s away
		time.AfterFunc(2*time.Second, func() { m.set(func() { m.out = nil }) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
		if all := read(t, m); len(all) != 2 {
			t.Errorf("got %v", all)
		}
	})
}

// A commit whose answer is lost must not give the same events twice, also not
// when another process appended since.
func TestUnknownCommit(t *testing.T) {
	for name, other := range map[string]bool{"alone": false, "another process appends": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, log := &memory{}, &logged{}
				s := chain.New(m, log.logger())
				s.Record(numbered(0))
				time.Sleep(time.Second)
				m.set(func() { m.torn = 1 })
				s.Record(numbered(1))
				s.Record(numbered(2))
				time.Sleep(100 * time.Millisecond)
				want := []string{"u0", "u1", "u2"}
				if other {
					fill(t, m, 1)
					want = append(want, "u0")
				}
				time.Sleep(time.Minute)
				s.Record(numbered(3))
				closeSink(t, s)
				var got []string
				for _, r := range read(t, m) {
					if r.Subject != "" {
						got = append(got, r.Subject)
					}
				}
				if want = append(want, "u3"); !slices.Equal(got, want) || log.count("audit.broken") > 0 {
					t.Errorf("got %v, want %v; %s", got, want, log)
				}
			})
		})
	}
}

// The other way round: it was not carried out, and another process took the
// numbers meanwhile.
func TestFailedCommitAndAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := chain.New(m, (&logged{}).logger())
		fail := true
		m.before = func() bool { return fail }
		s.Record(numbered(1))
		time.Sleep(100 * time.Millisecond)
		m.set(func() { fail = false })
		fill(t, m, 1)
		closeSink(t, s)
		all := read(t, m)
		if len(all) != 3 || all[0].Subject != "u0" || all[1].Subject != "u1" {
			t.Errorf("got %v", all)
		}
	})
}

// While it runs, the Sink notices that the chain was cut or rewritten.
func TestBrokenWhileItRuns(t *testing.T) {
	for name, tamper := range map[string]func(*memory){
		"cut":      func(m *memory) { m.entries = m.entries[:1] },
		"emptied":  func(m *memory) { m.entries = nil },
		"replaced": func(m *memory) { e := &m.entries[2]; e.Event = []byte(`{"v":1}`); e.Hash = chain.Sum(*e) },
	} {
		for _, idle := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				m, log := &memory{}, &logged{}
				s := chain.New(m, log.logger())
				for i := range 3 {
					s.Record(numbered(i))
				}
				time.Sleep(time.Second)
				head, _ := m.LastEntry(t.Context())
				m.set(func() { tamper(m) })
				if !idle {
					s.Record(numbered(3))
				}
				time.Sleep(time.Minute)
				s.Record(numbered(4))
				closeSink(t, s)
				n := kinds(read(t, m)) // by itself it verifies: there is no key
				if n[audit.AuditBroken] != 1 || log.count(fmt.Sprintf("3:%x", head.Hash)) != 1 || log.count("audit.broken") != 1 {
					t.Errorf("%s, idle %v: got %v, %s", name, idle, n, log)
				}
			})
		}
	}
}

// anchors returns those that a log holds.
func anchors(t *testing.T, log *logged) (all []chain.Anchor) {
	t.Helper()
	told, err := chain.ReadLog(strings.NewReader(log.String()))
	all = told.Anchors
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheLogGetsAnchors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := &memory{}, &logged{}
		s := chain.New(m, log.logger())
		s.Record(numbered(0))
		time.Sleep(10 * time.Minute)
		if a := anchors(t, log); len(a) != 1 || a[0].Seq != 1 {
			t.Fatalf("after the first minutes: %v", a)
		}
		for i := range 10 {
			s.Record(numbered(i))
			time.Sleep(time.Second)
		}
		closeSink(t, s)
		a := anchors(t, log)
		last, _ := m.LastEntry(t.Context())
		if n := len(a); n > 3 || a[n-1].Seq != 11 || !bytes.Equal(a[n-1].Hash[:], last.Hash) {
			t.Fatalf("at the end: %v", a)
		}
		if r, err := chain.Verify(t.Context(), m, a...); err != nil || r.Break != nil {
			t.Errorf("%v, %v", r.Break, err)
		}
		m.entries = m.entries[:10] // the newest is cut off
		if r, err := chain.Verify(t.Context(), m, a...); err != nil || r.Break == nil || r.Break.Seq != 11 {
			t.Errorf("%v, %v", r.Break, err)
		}
	})
}

// What another process wrote last is told too.
func TestAnchorsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := &memory{}, &logged{}
		s := chain.New(m, log.logger())
		defer closeSink(t, s)
		fill(t, m, 3)
		time.Sleep(time.Hour)
		if a := anchors(t, log); len(a) != 1 || a[0].Seq != 3 {
			t.Errorf("got %v", a)
		}
	})
}

// Two processes that take turns see no break in what the other wrote.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, log := &memory{}, &logged{}
		a, b := chain.New(m, log.logger()), chain.New(m, log.logger())
		for i := range 20 {
			a.Record(numbered(2 * i))
			time.Sleep(time.Second)
			b.Record(numbered(2*i + 1))
			time.Sleep(time.Second)
		}
		closeSink(t, a)
		closeSink(t, b)
		all := read(t, m)
		if len(all) != 40 || all[39].Subject != "u39" || log.count("audit.broken") > 0 {
			t.Errorf("%d entries, %s", len(all), log)
		}
	})
}

var _ store.Chain = (*memory)(nil)
