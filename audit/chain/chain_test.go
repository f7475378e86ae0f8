package chain_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// memory is a store.Chain for tests of time and of failures that no database
// gives on demand.
type memory struct {
	mu      sync.Mutex
	entries []store.Entry
	appends int
	out     error       // Append and Entries fail
	torn    int         // so many Appends are carried out and fail all the same
	before  func() bool // runs in Append before the link; true fails it
}

var errOut = errors.New("the disk is gone")

func (m *memory) Append(_ context.Context, link func(store.Entry) ([]store.Entry, error)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.appends++
	if m.out != nil {
		return m.out
	}
	var last store.Entry
	if n := len(m.entries); n > 0 {
		last = m.entries[n-1]
	}
	next, err := link(last)
	if err != nil {
		return fmt.Errorf("append: %w", err)
	}
	if m.before != nil && m.before() {
		return errOut
	}
	m.entries = append(m.entries, next...)
	if m.torn > 0 {
		m.torn--
		return errors.New("the connection broke during the commit")
	}
	return nil
}

func (m *memory) PruneEntries(_ context.Context, through int64) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil {
		return 0, m.out
	}
	for len(m.entries) > 1 && m.entries[0].Seq <= through {
		m.entries = m.entries[1:]
		n++
	}
	return n, nil
}

func (m *memory) Entries(_ context.Context, after int64, limit int) ([]store.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.out != nil {
		return nil, m.out
	}
	var page []store.Entry
	for _, e := range m.entries {
		if e.Seq > after && len(page) < limit {
			page = append(page, e)
		}
	}
	return page, nil
}

func (m *memory) LastEntry(context.Context) (store.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.entries) == 0 {
		return store.Entry{}, store.ErrNotFound
	}
	return m.entries[len(m.entries)-1], nil
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

func openSQLite(t testing.TB) (*sqlitestore.Store, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ringwall.db")
	s, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, file
}

// logged is a log that tests read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(audit.NewHandler(l, slog.LevelInfo)) }

func (l *logged) count(text string) int { return strings.Count(l.String(), text) }

// numbered is the i-th of events that are all stored.
func numbered(i int) audit.Event {
	return audit.Event{Time: time.Unix(1_800_000_000, int64(i)*1000), Kind: audit.AccountLocked, Outcome: audit.Success, Subject: fmt.Sprint("u", i)}
}

// read returns all records of a chain, after seeing that it verifies.
func read(t testing.TB, st store.Chain) []chain.Record {
	t.Helper()
	r, err := chain.Verify(context.Background(), st)
	if err != nil || r.Break != nil {
		t.Fatalf("the chain does not verify: %v, %v", r.Break, err)
	}
	var all []chain.Record
	for after := int64(0); ; {
		page, err := st.Entries(context.Background(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			if int64(len(all)) != r.Entries {
				t.Fatalf("%d records, Verify saw %d", len(all), r.Entries)
			}
			return all
		}
		for _, e := range page {
			rec, err := chain.Decode(e)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rec)
			after = e.Seq
		}
	}
}

func kinds(all []chain.Record) map[audit.Kind]int {
	n := map[audit.Kind]int{}
	for _, r := range all {
		n[r.Kind]++
	}
	return n
}

func fill(t testing.TB, st store.Chain, n int) {
	t.Helper()
	s := chain.New(st, slog.New(slog.DiscardHandler))
	for i := range n {
		s.Record(numbered(i))
		if i%1000 == 999 { // no more than waits at a time
			closeSink(t, s)
			s = chain.New(st, slog.New(slog.DiscardHandler))
		}
	}
	closeSink(t, s)
}

func closeSink(t testing.TB, s *chain.Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestEveryFieldIsKept(t *testing.T) {
	st, _ := openSQLite(t)
	want := audit.Event{Time: time.Date(2026, 7, 30, 12, 0, 0, 123456789, time.FixedZone("", 3600)), Kind: audit.TokenReused, Outcome: audit.Failure,
		Control: "app/authentication", Client: netip.MustParseAddr("2001:db8::1"), Subject: "u1", Session: "s1", RequestID: "r1", Method: "POST",
		Path: "/api/auth/refresh", Route: "/api/auth/", Status: 401, Detail: "who \"knows\"\r\n\x1b[2J \u202e \U0001f600"}
	s := chain.New(st, slog.New(slog.DiscardHandler))
	s.Record(want)
	s.Record(audit.Event{Kind: audit.ServerStarted})
	closeSink(t, s)
	s.Record(want) // too late
	all := read(t, st)
	want.Time = time.Date(2026, 7, 30, 11, 0, 0, 123456000, time.UTC)
	if len(all) != 2 || all[0] != (chain.Record{Event: want}) {
		t.Errorf("got %+v, want %+v", all[0], want)
	}
	if got := all[1]; time.Since(got.Time) > time.Minute || got.Status != 0 || got.Client.IsValid() {
		t.Errorf("an event without fields came back as %+v", got)
	}
}

func TestOrderIsKept(t *testing.T) {
	st, _ := openSQLite(t)
	fill(t, st, 2500)
	for i, r := range read(t, st) {
		if r.Subject != fmt.Sprint("u", i) {
			t.Fatalf("entry %d is of %s", i+1, r.Subject)
		}
	}
}

func TestAnchors(t *testing.T) {
	a, err := chain.ParseAnchor(" 12:" + strings.Repeat("0aF9", 16) + "\n")
	if err != nil || a.Seq != 12 || a.String() != "12:"+strings.Repeat("0af9", 16) {
		t.Errorf("got %v, %v", a, err)
	}
	for _, bad := range []string{"", ":", "12", "12:", "12:00", "0:" + a.String()[3:], "-1:" + a.String()[3:], "x:" + a.String()[3:], a.String() + "00"} {
		if _, err := chain.ParseAnchor(bad); err == nil {
			t.Errorf("%q is taken for an anchor", bad)
		}
	}
}

func TestReadLog(t *testing.T) {
	good := "3:" + strings.Repeat("ab", 32)
	line := func(detail string) string {
		return `{"level":"INFO","msg":"security event","event.name":"audit.anchored","ringwall.detail":"` + detail + `"}`
	}
	got, err := chain.ReadLog(strings.NewReader("-- Boot --\n" + line(good) + "\n{\"msg\":\"audit.anchored\"}\n{\"event.name\":\"auth.failed\",\"ringwall.detail\":\"" +
		good + " audit.anchored\"}\n" + line(good))) // the last line has no end
	if err != nil || len(got.Cuts) != 0 || len(got.Anchors) != 2 || got.Anchors[0].String() != good || got.Anchors[1] != got.Anchors[0] {
		t.Errorf("got %v, %v", got, err)
	}
	cut := strings.Replace(line(good), "anchored", "pruned", 1)
	if got, err := chain.ReadLog(strings.NewReader(cut)); err != nil || len(got.Anchors) != 0 || len(got.Cuts) != 1 || got.Cuts[0].String() != good {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := chain.ReadLog(strings.NewReader("\n" + line("3:ab"))); err == nil || !strings.Contains(err.Error(), "line 2: ") {
		t.Errorf("got %v", err)
	}
}

// A kind without a line would be judged by a guess.
func TestEveryKindHasAShare(t *testing.T) {
	all := kindsInSource(t)
	if len(all) < 30 || !slices.Contains(all, audit.TokenReused) {
		t.Fatalf("found only %v", all)
	}
	for _, k := range all {
		if !chain.HasShare(k) {
			t.Errorf("shares has no line for %s", k)
		}
	}
}
