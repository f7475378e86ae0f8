package chain_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
)

// chained is a good chain of n entries.
func chained(t testing.TB, n int) *memory {
	m := &memory{}
	fill(t, m, n)
	return m
}

// relink makes the chain good again from i on, as an attacker would.
func relink(all []store.Entry, i int) {
	for ; i < len(all); i++ {
		all[i].Previous = nil
		if i > 0 {
			all[i].Previous = all[i-1].Hash
		}
		all[i].Hash = chain.Sum(all[i])
	}
}

func TestVerify(t *testing.T) {
	long := chained(t, 2500).entries // three pages
	at := func(i int) chain.Anchor {
		a, err := chain.ParseAnchor(fmt.Sprintf("%d:%x", i, long[i-1].Hash))
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	for _, c := range []struct {
		name    string
		tamper  func([]store.Entry) []store.Entry
		anchors []chain.Anchor
		seq     int64 // of the break; 0: good
		why     string
	}{
		{"nothing", func(all []store.Entry) []store.Entry { return all }, nil, 0, ""},
		{"nothing, with anchors", func(all []store.Entry) []store.Entry { return all }, []chain.Anchor{at(2500), at(1), at(1000), at(1000)}, 0, ""},
		{"event", func(all []store.Entry) []store.Entry {
			all[1499].Event = bytes.Replace(all[1499].Event, []byte("success"), []byte("failure"), 1)
			return all
		}, nil, 1500, "changed"},
		{"time", func(all []store.Entry) []store.Entry { all[9].Time = all[9].Time.Add(1000); return all }, nil, 10, "changed"},
		{"hash", func(all []store.Entry) []store.Entry { all[9].Hash = all[8].Hash; return all }, nil, 10, "changed"},
		{"no hash", func(all []store.Entry) []store.Entry { all[9].Hash = nil; return all }, nil, 10, "changed"},
		{"previous", func(all []store.Entry) []store.Entry { all[9].Previous = nil; return all }, nil, 10, "changed"},
		{"first missing", func(all []store.Entry) []store.Entry { return all[1:] }, nil, 1, "missing"},
		{"head cut off", func(all []store.Entry) []store.Entry { return all[1200:] }, nil, 1, "missing: the next one is entry 1201"},
		{"one missing", func(all []store.Entry) []store.Entry { return slices.Delete(all, 999, 1000) }, nil, 1000, "missing"},
		{"a page missing", func(all []store.Entry) []store.Entry { return slices.Delete(all, 1000, 2000) }, nil, 1001, "missing"},
		{"one missing, numbers closed up", func(all []store.Entry) []store.Entry {
			all = slices.Delete(all, 9, 10)
			for i := range all {
				all[i].Seq = int64(i + 1)
			}
			return all
		}, nil, 10, "changed"},
		{"swapped", func(all []store.Entry) []store.Entry {
			all[9].Event, all[10].Event = all[10].Event, all[9].Event
			return all
		}, nil, 10, "changed"},
		{"swapped whole", func(all []store.Entry) []store.Entry {
			all[9], all[10] = all[10], all[9]
			all[9].Seq, all[10].Seq = 10, 11
			return all
		}, nil, 10, "changed"},
		{"before the first", func(all []store.Entry) []store.Entry {
			return slices.Insert(all, 0, store.Entry{Seq: 0, Time: all[0].Time, Event: []byte("{}")})
		}, nil, 1, "entry 0 stands"},
		{"inserted at the end", func(all []store.Entry) []store.Entry {
			e := all[len(all)-1]
			e.Seq++
			e.Hash = chain.Sum(e)
			return append(all, e)
		}, nil, 2501, "does not follow"},
		{"one written anew", func(all []store.Entry) []store.Entry {
			all[9].Event = []byte(`{"v":1}`)
			all[9].Hash = chain.Sum(all[9])
			return all
		}, nil, 11, "does not follow"},
		{"all written anew", func(all []store.Entry) []store.Entry { all[9].Event = []byte(`{"v":1}`); relink(all, 9); return all },
			nil, 0, ""}, // there is no key
		{"all written anew, anchor", func(all []store.Entry) []store.Entry { all[9].Event = []byte(`{"v":1}`); relink(all, 9); return all },
			[]chain.Anchor{at(2000), at(9)}, 2000, "written anew"},
		{"tail cut off", func(all []store.Entry) []store.Entry { return all[:2400] }, nil, 0, ""},
		{"tail cut off, anchor", func(all []store.Entry) []store.Entry { return all[:2400] }, []chain.Anchor{at(2401), at(2500)}, 2401, "names entry 2500"},
		{"emptied, anchor", func([]store.Entry) []store.Entry { return nil }, []chain.Anchor{at(7)}, 1, "names entry 7"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &memory{entries: c.tamper(slices.Clone(long))}
			r, err := chain.Verify(t.Context(), m, c.anchors...)
			switch {
			case err != nil:
				t.Fatal(err)
			case c.seq == 0 && r.Break != nil:
				t.Errorf("a good chain is broken: %s", r.Break)
			case c.seq != 0 && (r.Break == nil || r.Break.Seq != c.seq || !strings.Contains(r.Break.Why, c.why)):
				t.Errorf("got %v, want entry %d: …%s…", r.Break, c.seq, c.why)
			}
		})
	}
}

func TestVerifyReports(t *testing.T) {
	m := chained(t, 1500)
	r, err := chain.Verify(t.Context(), m)
	if err != nil || r.Entries != 1500 || r.Head.Seq != 1500 || !r.First.Equal(numbered(0).Time) || !r.Last.Equal(numbered(1499).Time) {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := chain.Verify(t.Context(), &memory{}); err != nil || r.Entries != 0 || r.Break != nil {
		t.Errorf("an empty chain: %+v, %v", r, err)
	}
	m.out = errOut
	if _, err := chain.Verify(t.Context(), m); !errors.Is(err, errOut) {
		t.Errorf("an outage is %v", err)
	}
}

// A program that shares no code with this one comes to the same verdict: the
// one in the documentation.
func TestSomebodyElseVerifies(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs python")
	}
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	page, err := os.ReadFile("../../docs/decisions/0011-a-chain-of-hashes.md")
	if err != nil {
		t.Fatal(err)
	}
	_, program, _ := strings.Cut(string(page), "```python\n")
	program, _, found := strings.Cut(program, "```")
	if !found {
		t.Fatal("the page holds no program")
	}
	st, _ := openSQLite(t)
	s := chain.New(st, (&logged{}).logger())
	for _, e := range odd {
		s.Record(e)
	}
	closeSink(t, s)
	fill(t, st, 1200)
	var out bytes.Buffer
	n, err := chain.ExportJSONL(t.Context(), st, zero, zero, &out)
	if err != nil || n != int64(1200+len(odd)) {
		t.Fatal(n, err)
	}
	verify := func(in string) (string, error) {
		cmd := exec.Command(python, "-c", program)
		cmd.Stdin = strings.NewReader(in)
		b, err := cmd.CombinedOutput()
		return strings.TrimSpace(string(b)), err
	}
	r, err := chain.Verify(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := verify(out.String()); err != nil || got != "good, head "+r.Head.String() {
		t.Errorf("%s, %v; want head %s", got, err, r.Head)
	}
	lines := strings.SplitAfter(out.String(), "\n")
	for name, bad := range map[string]string{
		"event":   strings.Replace(out.String(), `\"subject\":\"u7\"`, `\"subject\":\"u8\"`, 1),
		"time":    strings.Replace(out.String(), `:00.000007Z`, `:00.000009Z`, 1),
		"missing": strings.Join(slices.Delete(slices.Clone(lines), 20, 21), ""),
		"swapped": strings.Join(append([]string{lines[1], lines[0]}, lines[2:]...), ""),
	} {
		if got, err := verify(bad); bad == out.String() || err == nil || !strings.HasPrefix(got, "broken: entry ") {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if got, err := verify(strings.Join(lines[500:600], "")); err != nil { // a part by itself
		t.Errorf("%s, %v", got, err)
	}
}

// Any one change of what is stored is found: a row changed in any column,
// removed, inserted, or two swapped.
func TestAnyMutationIsFound(t *testing.T) {
	st, file := openSQLite(t)
	const rows = 40
	fill(t, st, rows)
	r, err := chain.Verify(t.Context(), st)
	if err != nil || r.Entries != rows {
		t.Fatal(r, err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(file))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rapid.Check(t, func(t *rapid.T) {
		tx, err := db.BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tx.Rollback()
		exec := func(q string, args ...any) {
			if _, err := tx.Exec(q, args...); err != nil {
				t.Fatalf("%s: %v", q, err)
			}
		}
		i := rapid.IntRange(1, rows).Draw(t, "row")
		blob := func(column string) {
			var old []byte
			if err := tx.QueryRow("SELECT "+column+" FROM entries WHERE seq = ?", i).Scan(&old); err != nil {
				t.Fatal(err)
			}
			b := slices.Clone(old)
			switch how := rapid.SampledFrom([]string{"flip", "cut", "grow", "other"}).Draw(t, "how"); {
			case how == "flip" && len(b) > 0:
				b[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			case how == "cut" && len(b) > 0:
				b = b[:rapid.IntRange(0, len(b)-1).Draw(t, "length")]
			case how == "grow":
				b = append(b, rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "more")...)
			default:
				b = rapid.SliceOfN(rapid.Byte(), 1, 80).Filter(func(v []byte) bool { return !bytes.Equal(v, old) }).Draw(t, "bytes")
			}
			exec("UPDATE entries SET "+column+" = ? WHERE seq = ?", b, i)
		}
		switch what := rapid.SampledFrom([]string{"event", "previous", "hash", "at", "seq", "delete", "insert", "swap"}).Draw(t, "what"); what {
		case "event", "previous", "hash":
			blob(what)
		case "at":
			exec("UPDATE entries SET at = at + ? WHERE seq = ?", rapid.Int64Range(-1<<50, 1<<50).Filter(func(d int64) bool { return d != 0 }).Draw(t, "by"), i)
		case "seq":
			exec("UPDATE entries SET seq = ? WHERE seq = ?", rapid.OneOf(rapid.Int64Range(rows+1, 1<<62), rapid.Int64Range(-1<<62, 0)).Draw(t, "to"), i)
		case "delete": // the last one takes an anchor
			exec("DELETE FROM entries WHERE seq = ?", i)
		case "insert":
			exec("INSERT INTO entries SELECT ?, at, event, previous, hash FROM entries WHERE seq = ?", rapid.OneOf(rapid.Int64Range(rows+1, rows+3), rapid.Int64Range(-3, 0)).Draw(t, "at"), i)
		case "swap":
			j := rapid.IntRange(1, rows).Filter(func(j int) bool { return j != i }).Draw(t, "with")
			columns := rapid.SampledFrom([]string{"event", "at", "hash", "event, at, previous, hash"}).Draw(t, "columns")
			exec(fmt.Sprintf("UPDATE entries SET (%s) = (SELECT %[1]s FROM entries AS o WHERE o.seq = ?1 + ?2 - entries.seq) WHERE seq IN (?1, ?2)", columns), i, j)
		}
		mutated := &rowsOf{tx}
		if r, err := chain.Verify(context.Background(), mutated, r.Head); err == nil && r.Break == nil {
			t.Fatal("it verifies")
		}
	})
}

// rowsOf reads the rows within the transaction that changed them.
type rowsOf struct{ tx *sql.Tx }

func (r *rowsOf) Entries(ctx context.Context, after int64, limit int) ([]store.Entry, error) {
	rows, err := r.tx.QueryContext(ctx, "SELECT seq, at, event, previous, hash FROM entries WHERE seq > ? ORDER BY seq LIMIT ?", after, limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var page []store.Entry
	for rows.Next() {
		var e store.Entry
		var at int64
		if err := rows.Scan(&e.Seq, &at, &e.Event, &e.Previous, &e.Hash); err != nil {
			return nil, err
		}
		e.Time = micro(at)
		page = append(page, e)
	}
	return page, rows.Err()
}

func (*rowsOf) PruneEntries(context.Context, int64) (int, error) { panic("not used") }

func (*rowsOf) Append(context.Context, func(store.Entry) ([]store.Entry, error)) error {
	return errors.ErrUnsupported
}
func (*rowsOf) LastEntry(context.Context) (store.Entry, error) {
	return store.Entry{}, errors.ErrUnsupported
}

// long is a chain that is made while it is read, in order.
type long struct {
	memory
	rows int64
	last store.Entry
}

func (l *long) Entries(_ context.Context, after int64, limit int) ([]store.Entry, error) {
	page := make([]store.Entry, 0, limit)
	if after <= 0 {
		l.last = store.Entry{} // from its beginning
	}
	for l.last.Seq < l.rows && len(page) < limit {
		e := store.Entry{Seq: l.last.Seq + 1, Time: micro(l.last.Seq), Event: bytes.Repeat([]byte("x"), 400), Previous: l.last.Hash}
		e.Hash = chain.Sum(e)
		l.last = e
		page = append(page, e)
	}
	return page, nil
}

// A long chain is read in pages: its length costs time and no memory.
func TestVerifyInFlatMemory(t *testing.T) {
	rows := int64(300_000)
	if testing.Short() {
		rows = 50_000
	}
	l := &long{rows: rows}
	before, most, n := heap(), uint64(0), 0
	watch := &watched{Chain: l, see: func() {
		if n++; n%100 == 0 {
			most = max(most, heap())
		}
	}}
	if r, err := chain.Verify(t.Context(), watch); err != nil || r.Break != nil || r.Entries != rows {
		t.Fatalf("%+v, %v", r, err)
	}
	if most > before+8<<20 {
		t.Errorf("the heap grew by %d kB", (most-before)>>10)
	}
}

type watched struct {
	store.Chain
	see func()
}

func (w *watched) Entries(ctx context.Context, after int64, limit int) ([]store.Entry, error) {
	w.see()
	return w.Chain.Entries(ctx, after, limit)
}
