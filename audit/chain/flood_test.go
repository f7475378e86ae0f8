package chain_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
)

func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)})
}

// A million refusals of every kind that strangers can cause, from many
// addresses with as large fields as they can send, while a thousand acts that
// matter go on: memory stays flat, the table stays small, each act is there,
// and every event is either stored or counted.
func TestFlood(t *testing.T) {
	st, _ := openSQLite(t)
	s := chain.New(st, slog.New(slog.DiscardHandler))
	flooding := []audit.Kind{audit.RateBlocked, audit.AuthFailed, audit.ProtocolRefused, audit.AccessDenied, audit.InputRefused,
		audit.HeaderForged, audit.ResetRequested, audit.AttemptDelayed}
	large := strings.Repeat("\x1b", 8000)
	const attackers, each, acts = 4, 250_000, 1000
	before := heap()
	most := before
	var wg sync.WaitGroup
	for a := range attackers {
		wg.Go(func() {
			for i := range each {
				s.Record(audit.Event{Kind: flooding[i%len(flooding)], Outcome: audit.Failure, Client: address(a<<20 | i), Path: large, Detail: large, Subject: large})
			}
		})
	}
	for i := range acts {
		kind := []audit.Kind{audit.SignedIn, audit.TokenReused, audit.RolesChanged, audit.PasswordChanged}[i%4]
		s.Record(audit.Event{Kind: kind, Subject: fmt.Sprint("u", i), Client: address(i)})
		if i%100 == 0 {
			most = max(most, heap())
		}
	}
	wg.Wait()
	most = max(most, heap())
	closeSink(t, s)
	if grown := most - before; grown > 16<<20 {
		t.Errorf("the heap grew by %d kB", grown>>10)
	}
	all := read(t, st)
	if len(all) > acts+len(flooding)*(300+20) {
		t.Errorf("%d rows", len(all))
	}
	stored, counted, kept := 0, 0, map[string]bool{}
	for _, r := range all {
		switch r.Kind {
		case audit.SignedIn, audit.TokenReused, audit.RolesChanged, audit.PasswordChanged:
			kept[r.Subject] = true
		case audit.AuditSummarised, audit.AuditLost:
			counted += int(r.Count)
			if r.Count > 8 && !strings.Contains(r.Detail, " and others") {
				t.Errorf("%d events of %s are %s", r.Count, r.Of, r.Detail)
			}
		default:
			stored++
		}
	}
	if len(kept) != acts {
		t.Errorf("%d of %d acts are in the chain", len(kept), acts)
	}
	if stored+counted != attackers*each {
		t.Errorf("%d stored and %d counted, of %d", stored, counted, attackers*each)
	}
	t.Logf("%d rows, %d stored, %d counted", len(all), stored, counted)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// With the store out the same flood waits in bounded memory, and takes no room
// from the acts.
func TestFloodDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{out: errOut}
		s := chain.New(m, slog.New(slog.DiscardHandler))
		before := heap()
		large := strings.Repeat("x", 8000)
		for hour := range 20 {
			for i := range 2000 {
				s.Record(audit.Event{Kind: audit.AuthFailed, Client: address(i), Path: large, Detail: large})
				s.Record(audit.Event{Kind: audit.RateBlocked, Client: address(i), Path: large, Detail: large})
			}
			s.Record(audit.Event{Kind: audit.AccountLocked, Subject: fmt.Sprint("u", hour)})
			time.Sleep(time.Hour)
		}
		if grown := int64(heap() - before); grown > 8<<20 {
			t.Errorf("the heap grew by %d kB", grown>>10)
		}
		m.set(func() { m.out = nil })
		closeSink(t, s)
		n, total := map[audit.Kind]int{}, 0
		for _, r := range read(t, m) {
			n[r.Kind]++
			total += 1 + max(0, int(r.Count)-1)
		}
		if n[audit.AccountLocked] != 20 || n[audit.AuditLost] != 2 || n[audit.AuditSummarised] != 2 {
			t.Errorf("got %v", n)
		}
		if want := 20*4001 + n[audit.StoreFailed]; total != want {
			t.Errorf("%d events are stored or counted, of %d", total, want)
		}
	})
}

// Kinds that a program adds have their bound together.
func TestManyKindsDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{out: errOut}
		s := chain.New(m, slog.New(slog.DiscardHandler))
		before := heap()
		const kinds, each = 40, 1000
		for i := range each {
			for k := range kinds {
				s.Record(audit.Event{Kind: audit.Kind(fmt.Sprint("own.", k)), Detail: fmt.Sprint(i, strings.Repeat("x", 400))})
			}
		}
		if grown := int64(heap() - before); grown > 10<<20 {
			t.Errorf("the heap grew by %d kB", grown>>10)
		}
		time.Sleep(time.Minute)
		m.set(func() { m.out = nil })
		closeSink(t, s)
		total := 0
		for _, r := range read(t, m) {
			if r.Kind != audit.StoreFailed {
				total += 1 + max(0, int(r.Count)-1)
			}
		}
		if total != kinds*each {
			t.Errorf("%d events are stored or counted, of %d", total, kinds*each)
		}
	})
}

// One address, or one account, cannot use up what its kind has for all.
func TestOneCallerDoesNotCoverAnother(t *testing.T) {
	for _, c := range []struct {
		name        string
		flood, mine audit.Event
		most        int // rows of the flood in a minute
	}{
		{"address", audit.Event{Kind: audit.AuthFailed, Client: address(1)}, audit.Event{Kind: audit.AuthFailed, Client: address(2)}, 5},
		{"network", audit.Event{Kind: audit.AuthFailed, Client: netip.MustParseAddr("2001:db8::1")}, audit.Event{Kind: audit.AuthFailed, Client: netip.MustParseAddr("2001:db8:0:1::1")}, 5},
		{"guessed accounts", audit.Event{Kind: audit.AuthFailed, Client: address(1), Subject: "victim"}, audit.Event{Kind: audit.AuthFailed, Client: address(2), Subject: "victim"}, 5},
		{"account", audit.Event{Kind: audit.TokenRefreshed, Client: address(1), Subject: "a"}, audit.Event{Kind: audit.TokenRefreshed, Client: address(1), Subject: "b"}, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{}
				s := chain.New(m, slog.New(slog.DiscardHandler))
				for i := range 24 * 60 {
					for n := range 100 {
						e := c.flood
						e.Detail = "flood"
						if e.Client.Is6() { // each from another address of one network
							a := e.Client.As16()
							a[15], a[14] = byte(n), byte(n>>8)
							e.Client = netip.AddrFrom16(a)
						}
						s.Record(e)
					}
					if i%10 == 0 {
						s.Record(c.mine)
					}
					time.Sleep(time.Minute)
				}
				closeSink(t, s)
				mine, flood, counted := 0, 0, 0
				for _, r := range read(t, m) {
					switch {
					case r.Kind != c.mine.Kind:
						counted += int(r.Count)
					case r.Detail == "flood":
						flood++
					default:
						mine++
					}
				}
				if total := mine + flood + counted; total != 24*60*100+144 {
					t.Errorf("%d events are stored or counted", total)
				}
				if mine != 144 {
					t.Errorf("%d of 144 are in the chain", mine)
				}
				if flood > 24*60*c.most || flood < 24*60*5 {
					t.Errorf("%d rows of the flood", flood)
				}
			})
		})
	}
}

// What operators do on the server comes from no address and is never counted
// as one caller's.
func TestOperatorsAreNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &memory{}
		s := chain.New(m, slog.New(slog.DiscardHandler))
		for range 500 {
			s.Record(audit.Event{Kind: audit.SignedOut})
			s.Record(audit.Event{Kind: audit.RolesChanged, Subject: "admin", Client: address(1)})
		}
		closeSink(t, s)
		if n := kinds(read(t, m)); n[audit.SignedOut] != 500 || n[audit.RolesChanged] != 500 {
			t.Errorf("got %v", n)
		}
	})
}

func BenchmarkRecordFlood(b *testing.B) {
	s := chain.New(&memory{}, slog.New(slog.DiscardHandler))
	defer closeSink(b, s)
	e := audit.Event{Time: time.Now(), Kind: audit.RateBlocked, Outcome: audit.Failure, Client: address(1), Path: "/api/notes", Status: 429}
	b.ReportAllocs()
	for b.Loop() {
		s.Record(e)
	}
}
