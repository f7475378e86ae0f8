package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/examples/notes/api"
)

type note struct {
	ID                 int64
	Owner, Title, Text string
}

type page struct {
	Notes []note
	Next  int64
}

// server serves the notes of a file as an upstream does, on a real listener.
func server(t *testing.T, file string) (base string, stop func()) {
	t.Helper()
	a, err := api.Open(file, api.FromHeader)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a)
	stop = sync.OnceFunc(func() {
		s.Close()
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s.URL, stop
}

// call sends a request as who and decodes the answer into out, unless out is nil.
func call(t testing.TB, who, method, target string, body, out any) int {
	t.Helper()
	var r io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequest(method, target, r)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if who != "" {
		req.Header.Set("X-Ringwall-User", who)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if out != nil && res.StatusCode < 300 {
		if err := json.Unmarshal(b, out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, target, err, b)
		}
	}
	return res.StatusCode
}

type content map[string]string

func TestNoteFromCradleToGrave(t *testing.T) {
	base, _ := server(t, filepath.Join(t.TempDir(), "notes.db"))
	var n note
	if status := call(t, "alice", "POST", base+"/api/notes", content{"title": "a", "text": "b"}, &n); status != 201 {
		t.Fatalf("create: %d", status)
	}
	if n.Owner != "alice" || n.Title != "a" || n.Text != "b" || n.ID == 0 {
		t.Errorf("created %+v", n)
	}
	one := fmt.Sprint(base, "/api/notes/", n.ID)
	if status := call(t, "alice", "PUT", one, content{"title": "A", "text": "B"}, &n); status != 200 || n.Title != "A" {
		t.Errorf("change: %d, %+v", status, n)
	}
	var got note
	if status := call(t, "alice", "GET", one, nil, &got); status != 200 || got != n {
		t.Errorf("get: %d, %+v", status, got)
	}
	if status := call(t, "alice", "DELETE", one, nil, nil); status != 204 {
		t.Errorf("delete: %d", status)
	}
	for _, method := range []string{"GET", "DELETE"} {
		if status := call(t, "alice", method, one, nil, nil); status != 404 {
			t.Errorf("%s after the end: %d", method, status)
		}
	}
}

func TestRestartKeepsNotes(t *testing.T) {
	// Characters that a database URI would read in its own way.
	dir := filepath.Join(t.TempDir(), "a b?c#d%41&e")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "notes.db")
	base, stop := server(t, file)
	var n note
	call(t, "alice", "POST", base+"/api/notes", content{"title": "kept", "text": ""}, &n)
	stop()
	base, _ = server(t, file)
	var got note
	if status := call(t, "alice", "GET", fmt.Sprint(base, "/api/notes/", n.ID), nil, &got); status != 200 || got != n {
		t.Errorf("after a restart: %d, %+v, want %+v", status, got, n)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if info, err := f.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v, want 0600", f.Name(), info.Mode(), err)
		}
	}
}

func TestOwnersAreApart(t *testing.T) {
	base, _ := server(t, filepath.Join(t.TempDir(), "notes.db"))
	var n note
	call(t, "alice", "POST", base+"/api/notes", content{"title": "secret", "text": "of alice"}, &n)
	one := fmt.Sprint(base, "/api/notes/", n.ID)
	for _, tt := range []struct {
		who, method string
		body        any
		want        int
	}{
		{"bob", "GET", nil, 404}, {"bob", "PUT", content{"title": "x", "text": "y"}, 404}, {"bob", "DELETE", nil, 404},
		{"Alice", "GET", nil, 404}, {"alice ", "GET", nil, 200}, // HTTP trims the header's value
		{"", "GET", nil, 401}, {"", "DELETE", nil, 401},
	} {
		if status := call(t, tt.who, tt.method, one, tt.body, nil); status != tt.want {
			t.Errorf("%q %s: %d, want %d", tt.who, tt.method, status, tt.want)
		}
	}
	var p page
	if call(t, "bob", "GET", base+"/api/notes?q=secret", nil, &p); len(p.Notes) != 0 {
		t.Errorf("bob's list holds %+v", p.Notes)
	}
	for _, target := range []string{"/api/notes", "/api/admin/notes"} {
		if status := call(t, "", "GET", base+target, nil, nil); status != 401 {
			t.Errorf("nobody gets %s: %d", target, status)
		}
	}
	if status := call(t, "", "POST", base+"/api/notes", content{"title": "x", "text": "y"}, nil); status != 401 {
		t.Errorf("nobody may write: %d", status)
	}
	if status := call(t, "", "GET", base+"/api/public/status", nil, nil); status != 200 {
		t.Errorf("public status: %d", status)
	}
	if call(t, "root", "GET", base+"/api/admin/notes", nil, &p); len(p.Notes) != 1 || p.Notes[0].Owner != "alice" {
		t.Errorf("everyone's notes: %+v", p.Notes)
	}
	// The caller says what, never whose.
	if status := call(t, "bob", "POST", base+"/api/notes", content{"title": "x", "text": "y", "owner": "alice"}, nil); status != 400 {
		t.Errorf("a note with an owner: %d, want 400", status)
	}
}

// TestTrapInjection: what looks like SQL is text, in every place that text goes.
func TestTrapInjection(t *testing.T) {
	base, _ := server(t, filepath.Join(t.TempDir(), "notes.db"))
	call(t, "victim", "POST", base+"/api/notes", content{"title": "secret", "text": ""}, nil)
	hostile := []string{
		`' OR '1'='1`, `'; DROP TABLE notes; --`, `" OR 1=1 --`, `%`, `_`, `\`, `') UNION SELECT 1, 'x', sql, 'y' FROM sqlite_master --`,
		`?1`, `:a`, `$where`, `{"$gt":""}`, "a\nb", "\u2028", `*`, `[a-z]`, `0x00`,
	}
	for _, s := range hostile {
		var n note
		if status := call(t, s0(s), "POST", base+"/api/notes", content{"title": s, "text": s}, &n); status != 201 || n.Title != s {
			t.Errorf("%q as a title: %d, %q", s, status, n.Title)
			continue
		}
		var p page
		if status := call(t, s0(s), "GET", base+"/api/notes?q="+url.QueryEscape(s), nil, &p); status != 200 || len(p.Notes) != 1 || p.Notes[0] != n {
			t.Errorf("search for %q: %d, %+v", s, status, p.Notes)
		}
		for _, query := range []string{"limit=", "cursor="} {
			if status := call(t, "mallory", "GET", base+"/api/notes?"+query+url.QueryEscape(s), nil, nil); status != 400 {
				t.Errorf("%s%q: %d, want 400", query, s, status)
			}
		}
		if status := call(t, "mallory", "GET", base+"/api/notes/"+url.PathEscape(s), nil, nil); status != 400 && status != 404 {
			t.Errorf("id %q: %d", s, status)
		}
	}
	var p page
	if call(t, "victim", "GET", base+"/api/notes", nil, &p); len(p.Notes) != 1 {
		t.Errorf("the victim has %d notes, want 1", len(p.Notes))
	}
}

// s0 makes a header value of s: the owner's name is hostile too.
func s0(s string) string { return strings.Map(func(r rune) rune { return max(r, ' ') }, "m"+s) }

func TestLimits(t *testing.T) {
	base, _ := server(t, filepath.Join(t.TempDir(), "notes.db"))
	for target, want := range map[string]int{
		"?limit=1": 200, "?limit=100": 200, "?limit=0": 400, "?limit=101": 400, "?limit=-1": 400, "?limit=1e2": 400, "?limit=99999999999999999999": 400,
		"?cursor=0": 400, "?cursor=1": 200, "?cursor=x": 400, "?q=": 200, "?q=" + strings.Repeat("x", 201): 400, "?page=2": 400, "?q=a&q=b": 400,
	} {
		if status := call(t, "alice", "GET", base+"/api/notes"+target, nil, nil); status != want {
			t.Errorf("%s: %d, want %d", target, status, want)
		}
	}
	for _, tt := range []struct {
		body any
		want int
	}{
		{content{"title": "a", "text": ""}, 201}, {content{"title": "", "text": "a"}, 400}, {content{"text": "a"}, 400}, {content{"title": "a"}, 400},
		{content{"title": strings.Repeat("é", 200), "text": strings.Repeat("é", 10000)}, 201},
		{content{"title": strings.Repeat("é", 201), "text": ""}, 400}, {content{"title": "a", "text": strings.Repeat("é", 10001)}, 400},
		{content{"Title": "a", "text": ""}, 400}, {map[string]any{"title": 1, "text": ""}, 400}, {[]string{}, 400}, {nil, 400},
	} {
		if status := call(t, "alice", "POST", base+"/api/notes", tt.body, nil); status != tt.want {
			t.Errorf("%.60v: %d, want %d", tt.body, status, tt.want)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	base, _ := server(t, filepath.Join(t.TempDir(), "notes.db"))
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			who := "user" + strconv.Itoa(i%5)
			if status := call(t, who, "POST", base+"/api/notes", content{"title": "a", "text": "b"}, nil); status != 201 {
				t.Errorf("%d", status)
			}
			if status := call(t, who, "GET", base+"/api/notes", nil, nil); status != 200 {
				t.Errorf("%d", status)
			}
		})
	}
	all.Wait()
	var p page
	if call(t, "root", "GET", base+"/api/admin/notes?limit=100", nil, &p); len(p.Notes) != 50 {
		t.Errorf("%d notes, want 50", len(p.Notes))
	}
}

// TestPagesAreTheList: however a list is cut into pages, together they are
// exactly what a plain model of it holds, newest first.
func TestPagesAreTheList(t *testing.T) {
	base, _ := server(t, filepath.Join(t.TempDir(), "notes.db"))
	var model []note
	owners := []string{"alice", "bob"}
	words := []string{"", "a", "ab", "B", "%", "é"}
	rapid.Check(t, func(rt *rapid.T) {
		for range rapid.IntRange(0, 3).Draw(rt, "new") {
			var n note
			call(t, rapid.SampledFrom(owners).Draw(rt, "owner"), "POST", base+"/api/notes",
				content{"title": "t" + rapid.SampledFrom(words).Draw(rt, "title"), "text": rapid.SampledFrom(words).Draw(rt, "text")}, &n)
			model = append([]note{n}, model...)
		}
		who, list := rapid.SampledFrom(owners).Draw(rt, "who"), "/api/notes"
		everyone := rapid.Bool().Draw(rt, "everyone")
		if everyone {
			list = "/api/admin/notes"
		}
		q := rapid.SampledFrom(words).Draw(rt, "q")
		limit := rapid.IntRange(1, 100).Draw(rt, "limit")
		var want []note
		for _, n := range model {
			if (everyone || n.Owner == who) && strings.Contains(strings.ToLower(n.Title+"\n"+n.Text), strings.ToLower(q)) {
				want = append(want, n)
			}
		}
		query := url.Values{"q": {q}, "limit": {strconv.Itoa(limit)}}
		for {
			var p page
			if status := call(t, who, "GET", base+list+"?"+query.Encode(), nil, &p); status != 200 {
				rt.Fatalf("%s?%s: %d", list, query.Encode(), status)
			}
			if len(p.Notes) > limit || len(p.Notes) > len(want) {
				rt.Fatalf("%d notes with limit %d, %d are left", len(p.Notes), limit, len(want))
			}
			for i, n := range p.Notes {
				if n != want[i] {
					rt.Fatalf("got %+v, want %+v", n, want[i])
				}
			}
			if want = want[len(p.Notes):]; p.Next == 0 {
				break
			}
			query.Set("cursor", strconv.FormatInt(p.Next, 10))
		}
		if len(want) > 0 {
			rt.Fatalf("%d notes are on no page", len(want))
		}
	})
}
