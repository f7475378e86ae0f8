package chain_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
)

var zero time.Time

func micro(n int64) time.Time { return time.UnixMicro(n).UTC() }

const hostile = "x from 192.0.2.1\r\n{\"v\":9}\x1b[2J\x9b31m\x7f\x00\u009b\u2028\u202e\xff\U000e0001\\"

// odd are events that attackers shape.
var odd = []audit.Event{
	{Kind: audit.TokenReused, Subject: hostile, Path: hostile, Detail: hostile, Method: hostile, RequestID: hostile},
	{Kind: audit.TokenReused, Subject: "=HYPERLINK(\"http://evil.example/\",\"x\")", Path: "+1", Detail: "@SUM(1)", Method: "-1", RequestID: "\t=1", Session: "\r=1", Route: "＝1"},
	{Kind: audit.TokenReused, Client: netip.MustParseAddr("2001:db8::1"), Detail: "a,b;\"c\"\n=1"},
	{Kind: audit.TokenReused, Subject: "Jürgen 𝄞", Detail: strings.Repeat("\x00", 600)},
	{Time: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), Kind: audit.TokenReused},
	{Time: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC), Kind: audit.TokenReused},
}

func oddChain(t *testing.T) *memory {
	m := &memory{}
	s := chain.New(m, (&logged{}).logger())
	for _, e := range odd {
		s.Record(e)
	}
	closeSink(t, s)
	// A document that nobody of ours wrote.
	m.entries = append(m.entries, store.Entry{Seq: int64(len(odd) + 1), Time: micro(0), Event: []byte("=1\x1b[2J" + hostile)})
	return m
}

func printable(t *testing.T, what, s string) {
	t.Helper()
	if i := strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 || !utf8.ValidString(s) {
		t.Errorf("%s is not printable from %d on: %q", what, i, s)
	}
}

// TRAPS: log injection, on the terminal.
func TestTrapTextIsPrintable(t *testing.T) {
	for _, e := range oddChain(t).entries {
		printable(t, "the line", chain.Text(e))
	}
	e := oddChain(t).entries
	if line := chain.Text(e[1]); !strings.Contains(line, ` token.reused subject="=HYPERLINK(\"http://evil.example/\",\"x\")" `) {
		t.Error(line)
	}
	if line := chain.Text(e[2]); !strings.Contains(line, ` client=2001:db8::1 detail="a,b;\"c\"\n=1"`) {
		t.Error(line)
	}
	if line := chain.Text(e[len(e)-1]); !strings.Contains(line, "7 1970-01-01T00:00:00.000000Z unreadable detail=") {
		t.Error(line)
	}
}

// TRAPS: log injection, in a spreadsheet (CWE-1236). Another reader takes the
// table apart.
func TestTrapCSVInjection(t *testing.T) {
	m := oddChain(t)
	var out bytes.Buffer
	if _, err := chain.ExportCSV(t.Context(), m, zero, zero, &out); err != nil {
		t.Fatal(err)
	}
	printable(t, "the table", strings.ReplaceAll(out.String(), "\n", ""))
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil || len(rows) != len(odd)+2 {
		t.Fatal(len(rows), err)
	}
	for _, row := range rows {
		for _, c := range row {
			if r, _ := utf8.DecodeRuneInString(c); strings.ContainsRune("=+-@\t\r＝＋－＠", r) {
				t.Errorf("a cell is %q", c)
			}
		}
	}
	at := func(row int, column string) string { return rows[row+1][slices.Index(rows[0], column)] }
	for column, want := range map[string]string{"subject": `'=HYPERLINK("http://evil.example/","x")`, "request_id": `\t=1`, "path": "'+1", "method": "'-1", "route": "'＝1"} {
		if got := at(1, column); got != want {
			t.Errorf("%s is %q, want %q", column, got, want)
		}
	}
	if at(2, "client") != "2001:db8::1" || at(3, "subject") != "Jürgen 𝄞" || at(len(odd), "kind") != "unreadable" {
		t.Errorf("got %q", rows)
	}
}

func TestJSONLIsPrintableASCII(t *testing.T) {
	m := oddChain(t)
	var out bytes.Buffer
	n, err := chain.ExportJSONL(t.Context(), m, zero, zero, &out)
	if err != nil || int(n) != len(m.entries) {
		t.Fatal(n, err)
	}
	for i, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%q", line)
		}
		var e struct {
			Seq   int64
			Event string
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Seq != int64(i+1) || e.Event != string([]rune(string(m.entries[i].Event))) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestExportRange(t *testing.T) {
	m := &memory{}
	s := chain.New(m, (&logged{}).logger())
	for _, minute := range []int64{10, 20, 15, 30, 25, 40} { // events of two processes are a little out of order
		s.Record(audit.Event{Time: time.Unix(minute*60, 0), Kind: audit.ServerStarted})
	}
	closeSink(t, s)
	for _, c := range []struct{ from, to, first, n int64 }{
		{0, 0, 1, 6}, {10, 0, 1, 6}, {11, 0, 2, 5}, {20, 30, 2, 4}, {16, 26, 2, 4}, {12, 20, 2, 2}, {50, 0, 0, 0}, {0, 5, 0, 0}, {30, 20, 0, 0}, {40, 41, 6, 1},
	} {
		var from, to time.Time
		if c.from > 0 {
			from = time.Unix(c.from*60, 0)
		}
		if c.to > 0 {
			to = time.Unix(c.to*60, 0)
		}
		var out bytes.Buffer
		n, err := chain.ExportJSONL(t.Context(), m, from, to, &out)
		if err != nil || n != c.n {
			t.Errorf("%d to %d: %d entries, %v", c.from, c.to, n, err)
			continue
		}
		var first struct{ Seq int64 }
		if c.n > 0 && (json.Unmarshal([]byte(strings.SplitN(out.String(), "\n", 2)[0]), &first) != nil || first.Seq != c.first) {
			t.Errorf("%d to %d begins with %d, want %d", c.from, c.to, first.Seq, c.first)
		}
	}
	m.out = errOut
	if _, err := chain.ExportCSV(t.Context(), m, zero, zero, &bytes.Buffer{}); err == nil {
		t.Error("an outage is silent")
	}
}

// The document of any event is JSON of bounded size in printable ASCII; the
// standard library reads the same out of it.
func FuzzDocument(f *testing.F) {
	f.Add(hostile, "u1", 401, int64(3))
	f.Add("\U0001f600\xed\xa0\x80\u2028", "", 0, int64(0))
	f.Add(strings.Repeat("\"", 600), strings.Repeat("𝄞", 300), -1, int64(-1))
	f.Fuzz(func(t *testing.T, text, subject string, status int, count int64) {
		r := chain.Record{Event: audit.Event{Kind: audit.AuthFailed, Control: text, Subject: subject, Session: text, RequestID: text, Method: text, Path: text,
			Route: text, Status: status, Detail: text}, Of: audit.Kind(subject), Count: count}
		doc := chain.Document(r)
		if len(doc) > 6500 || bytes.ContainsFunc(doc, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Fatalf("%d bytes: %q", len(doc), doc)
		}
		got, err := chain.Decode(store.Entry{Event: doc})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]string{{got.Detail, text}, {got.Path, text}, {got.Subject, subject}, {string(got.Of), subject}} {
			want := string([]rune(c[1]))
			if kept, cut := strings.CutSuffix(c[0], "…"); c[0] != want && (!cut || !strings.HasPrefix(want, kept) || len(c[1]) < 80) {
				t.Errorf("%q came back as %q", want, c[0])
			}
		}
		if got.Status != status || subject != "" && got.Count != count {
			t.Errorf("got %+v", got)
		}
	})
}

func TestDecodeRefuses(t *testing.T) {
	for _, doc := range []string{"", "null", "{}", `{"v":2,"kind":"auth.failed"}`, `{"v":1`, `{"v":1,"client":"nobody"}`, `[1]`} {
		if r, err := chain.Decode(store.Entry{Event: []byte(doc)}); err == nil {
			t.Errorf("%s is read as %+v", doc, r)
		}
	}
}

// Whatever stands in the table, the terminal and the spreadsheet get harmless
// text, one line for each entry.
func FuzzShown(f *testing.F) {
	for _, e := range odd {
		f.Add(chain.Document(chain.Record{Event: e}), int64(0))
	}
	f.Add([]byte(`{"v":1,"kind":"=1","detail":"\u009b\ud800","of":"\r=1","since":"9999-12-31T23:59:59Z"}`), int64(1)<<62)
	f.Fuzz(func(t *testing.T, doc []byte, at int64) {
		m := &memory{entries: []store.Entry{{Seq: 1, Time: micro(at), Event: doc, Hash: doc}}}
		printable(t, "the line", chain.Text(m.entries[0]))
		var out bytes.Buffer
		if _, err := chain.ExportCSV(t.Context(), m, zero, zero, &out); err != nil {
			t.Fatal(err)
		}
		printable(t, "the table", strings.ReplaceAll(out.String(), "\n", ""))
		rows, err := csv.NewReader(&out).ReadAll()
		if err != nil || len(rows) != 2 {
			t.Fatal(rows, err)
		}
		for _, c := range rows[1] {
			if r, _ := utf8.DecodeRuneInString(c); c != "" && strings.ContainsRune("=+-@\t\r＝＋－＠", r) {
				t.Errorf("a cell is %q", c)
			}
		}
		out.Reset()
		if _, err := chain.ExportJSONL(t.Context(), m, zero, zero, &out); err != nil || !json.Valid(out.Bytes()) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Errorf("%q, %v", out.String(), err)
		}
	})
}
