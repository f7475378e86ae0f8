package check_test

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringwall/ringwall/check"
)

var update = flag.Bool("update", false, "write the golden files")

func sample() check.Report {
	meta := func(id, title string) check.Meta {
		return check.Meta{ID: id, Title: title, Ref: "RFC 6797; blueprint A1"}
	}
	return check.Report{Target: "https://localhost:8443", Version: "0.1.0", Time: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), Results: []check.Result{
		{Meta: meta("app/hsts", "Browsers come back over HTTPS only"), Finding: check.Passed("Strict-Transport-Security: max-age=31536000 on GET /")},
		{Meta: meta("app/permissions-policy", "Pages that this API might be framed into get no geolocation, microphone or camera"), Finding: check.Failed(
			"no Permissions-Policy on GET /", "geolocation=(), microphone=(), camera=()", "put the app ring in front of the API, or set the header in the proxy, in every location block that sets another")},
		{Meta: meta("app/rate", "Each client is held to its request rates"), Finding: check.Unseen("the answer to GET / did not come within 10s")},
		{Meta: meta("app/cors", "Only listed origins may read answers"), Finding: check.Finding{Verdict: check.Waived, Got: "until 2027-01-31: the gateway answers preflights"}},
	}}
}

func TestReportGolden(t *testing.T) {
	var text, painted, js strings.Builder
	r := sample()
	if err := errors.Join(r.WriteText(&text, check.Text{}), r.WriteText(&painted, check.Text{Color: true}), r.WriteJSON(&js)); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"report.txt": text.String(), "report.json": js.String()} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs (run with -update to accept):\n%s", name, got)
		}
	}
	for line := range strings.Lines(text.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if strings.Contains(text.String(), "\x1b") {
		t.Error("colour without being asked")
	}
	plain := painted.String()
	for _, code := range []string{"\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m", "\x1b[0m"} {
		if !strings.Contains(plain, code) {
			t.Errorf("no %q in the painted report", code)
		}
		plain = strings.ReplaceAll(plain, code, "")
	}
	if plain != text.String() {
		t.Error("the painted report says something else than the plain one")
	}
}

// TestReportJSON reads the output as another program would.
func TestReportJSON(t *testing.T) {
	var b strings.Builder
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Results []map[string]any
		Summary map[string]int
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	for _, res := range got.Results {
		for _, key := range []string{"id", "title", "verdict", "got", "want", "fix", "ref"} {
			if _, ok := res[key].(string); !ok {
				t.Errorf("%v: no %s", res["id"], key)
			}
		}
		if len(res) < 7 {
			t.Errorf("%v has %d members, want 7 or more", res["id"], len(res))
		}
	}
	if s := got.Summary; len(s) != 4 || s["pass"] != 1 || s["fail"] != 1 || s["unknown"] != 1 || s["waived"] != 1 {
		t.Errorf("summary %v", s)
	}
	var versioned struct{ Schema int }
	if err := json.Unmarshal([]byte(b.String()), &versioned); err != nil || versioned.Schema != check.Schema {
		t.Errorf("schema %d, %v", versioned.Schema, err)
	}
	var back check.Report
	if err := json.Unmarshal([]byte(b.String()), &back); err != nil {
		t.Fatal(err)
	}
	if back.ExitCode() != 1 || back.Results[0].ID != "app/hsts" || back.Results[0].Verdict != check.Pass {
		t.Errorf("read back: %+v", back)
	}
	empty, err := json.Marshal(check.Report{})
	if err != nil || !strings.Contains(string(empty), `"results":[]`) {
		t.Errorf("%s, %v", empty, err)
	}
}

// TestTrapTerminalEscapes: what a target answers must not reach a terminal or a
// file as anything but plain text.
func TestTrapTerminalEscapes(t *testing.T) {
	for name, hostile := range map[string]string{
		"ansi":        "\x1b[2J\x1b]0;owned\x07ok",
		"c1":          "\u009b31mred",
		"invalid":     "a\xff\xfe\xc0\xafb",
		"newline":     "x\nPASS     app/forged  All is well",
		"carriage":    "bad\rgood",
		"bidi":        "\u202e\u2066drowssap",
		"nul":         "a\x00b",
		"overlong":    strings.Repeat("A", 1<<20),
		"overlong-u":  strings.Repeat("é", 1<<20),
		"overlong-\\": strings.Repeat("\x1b", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			r := check.Run(t.Context(), []check.Check{named("a/b", gives(check.Failed(hostile, hostile, hostile)))}, check.Options{})
			r.Target = hostile
			for _, field := range []string{r.Results[0].Got, r.Results[0].Want, r.Results[0].Fix} {
				plainText(t, field)
				if n := utf8.RuneCountInString(field); n > 401 {
					t.Errorf("%d characters", n)
				}
			}
			var text, js strings.Builder
			if err := errors.Join(r.WriteText(&text, check.Text{}), r.WriteJSON(&js)); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(text.String()) {
				line = strings.TrimSuffix(line, "\n")
				plainText(t, line)
				if strings.HasPrefix(line, "PASS") {
					t.Errorf("a forged row: %q", line)
				}
			}
			var back check.Report
			if err := json.Unmarshal([]byte(js.String()), &back); err != nil {
				t.Fatal(err)
			}
			plainText(t, back.Results[0].Got)
			if back.Results[0].Got != r.Results[0].Got {
				t.Errorf("cleaned twice it is %q, once %q", back.Results[0].Got, r.Results[0].Got)
			}
		})
	}
}

func plainText(t *testing.T, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Errorf("invalid UTF-8 in %.80q", s)
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			t.Errorf("%U in %.80q", r, s)
			return
		}
	}
}

func FuzzReportIsPlain(f *testing.F) {
	f.Add("\x1b[31m", "\u202e", "\xff")
	f.Fuzz(func(t *testing.T, got, want, fix string) {
		r := check.Run(t.Context(), []check.Check{named("a/b", gives(check.Failed(got, want, fix)))}, check.Options{})
		var text strings.Builder
		if err := r.WriteText(&text, check.Text{}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(text.String()) {
			plainText(t, strings.TrimSuffix(line, "\n"))
		}
	})
}

// TestNobodyAnswers: a target that is down is told of once, and not why each of
// fifty controls would matter.
func TestNobodyAnswers(t *testing.T) {
	down := check.Result{Meta: check.Meta{ID: "app/a", Title: "A claim", Why: "It matters.", Ref: "RFC 9110"}, Finding: check.Unseen("connection refused")}
	for _, tt := range []struct {
		long bool
		also []check.Result
		why  int
	}{{why: 0}, {long: true, why: 2}, {also: []check.Result{{Meta: down.Meta, Finding: check.Passed("seen")}}, why: 1}} {
		other := down
		other.ID = "app/b"
		r := check.Report{Results: append([]check.Result{down, other}, tt.also...)}
		if tt.also != nil {
			r.Results = r.Results[1:]
		}
		var b strings.Builder
		if err := r.WriteText(&b, check.Text{Long: tt.long}); err != nil {
			t.Fatal(err)
		}
		out := b.String()
		if strings.Count(out, "It matters.") != tt.why || strings.Contains(out, "Nothing could be seen") != (tt.also == nil) || !strings.Contains(out, "connection refused") {
			t.Errorf("%+v:\n%s", tt, out)
		}
	}
}

// TestWhatFailedIsToldLast: below a report that is longer than a screen, what failed is
// named once more, and it comes first of what is to be done.
func TestWhatFailedIsToldLast(t *testing.T) {
	var r check.Report
	for i := range 12 {
		f := check.Passed("seen")
		switch i {
		case 2:
			f = check.Unseen("down")
		case 5, 9:
			f = check.Failed("open", "closed", "close it")
		}
		r.Results = append(r.Results, check.Result{Meta: check.Meta{ID: fmt.Sprintf("a/%d", i), Title: "It is closed"}, Finding: f})
	}
	var b strings.Builder
	if err := r.WriteText(&b, check.Text{}); err != nil || !strings.HasSuffix(b.String(), "\n9 pass, 2 fail, 1 unknown, 0 waived\nfailed: a/5, a/9\n") {
		t.Errorf("%v\n%s", err, b.String())
	}
	var ids []string
	for _, res := range r.ToDo() {
		ids = append(ids, res.ID)
	}
	if got := strings.Join(ids, " "); got != "a/5 a/9 a/2" {
		t.Errorf("to do: %s", got)
	}
	b.Reset()
	r.Results = r.Results[4:8]
	if err := r.WriteText(&b, check.Text{}); err != nil || strings.Contains(b.String(), "failed: ") {
		t.Errorf("a screen: %v\n%s", err, b.String())
	}
}

// TestTheSameIsToldOnce: of checks that could not be made for one reason each says it
// but once, unless something stands between, or all is asked for.
func TestTheSameIsToldOnce(t *testing.T) {
	var r check.Report
	for i, f := range []check.Finding{check.Unseen("not made: no"), check.Unseen("not made: no"), check.Passed("seen"), check.Unseen("not made: no"), check.Unseen("down"), check.Unseen("down")} {
		r.Results = append(r.Results, check.Result{Meta: check.Meta{ID: fmt.Sprintf("a/%d", i), Title: "It is closed", Why: "Of the reason.", Ref: "blueprint A1"}, Finding: f})
	}
	for _, tt := range []struct {
		how              check.Text
		said, above, why int
	}{{check.Text{}, 2, 1, 4}, {check.Text{Long: true}, 3, 0, 5}} {
		var b strings.Builder
		if err := r.WriteText(&b, tt.how); err != nil {
			t.Fatal(err)
		}
		if s := b.String(); strings.Count(s, "not made: no") != tt.said || strings.Count(s, "as above") != tt.above || strings.Count(s, "Of the reason.") != tt.why {
			t.Errorf("%+v:\n%s", tt.how, s)
		}
	}
}
