package check

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A Report is the outcome of one run, in the order of its checks.
type Report struct {
	Target  string    // what was looked at, as the user wrote it
	Version string    // of the program that looked
	Time    time.Time // when the run began, UTC
	Results []Result
	Inside  []Inside // what only a look on the server can show; not judged
}

// Inside is a control that this run could not see whatever the target does.
type Inside struct {
	ID    string `json:"id"`
	Title string `json:"title"`
	How   string `json:"how"` // to see it on the server
}

// Summary counts the results.
func (r Report) Summary() (s Summary) {
	for i := range r.Results {
		switch r.Results[i].Verdict {
		case Pass:
			s.Pass++
		case Fail:
			s.Fail++
		case Waived:
			s.Waived++
		default:
			s.Unknown++
		}
	}
	return s
}

// ExitCode is the process's: 1 when something failed, else 2 when something
// is unknown or nothing was checked at all, else 0.
func (r Report) ExitCode() int {
	switch s := r.Summary(); {
	case s.Fail > 0:
		return 1
	case s.Unknown > 0 || len(r.Results) == 0:
		return 2
	}
	return 0
}

// MarshalJSON gives {"target","version","time","results":[...],"inside":[...],
// "summary":{...}}. Results is an array even when it is empty.
func (r Report) MarshalJSON() ([]byte, error) {
	results := r.Results
	if results == nil {
		results = []Result{}
	}
	return json.Marshal(struct {
		Target  string    `json:"target,omitempty"`
		Version string    `json:"version,omitempty"`
		Time    time.Time `json:"time,omitzero"`
		Results []Result  `json:"results"`
		Inside  []Inside  `json:"inside,omitempty"`
		Summary Summary   `json:"summary"`
	}{clean(r.Target), clean(r.Version), r.Time, results, r.Inside, r.Summary()})
}

type resultJSON struct {
	ID      string  `json:"id"`
	Title   string  `json:"title"`
	Verdict Verdict `json:"verdict"`
	Got     string  `json:"got"`
	Want    string  `json:"want"`
	Fix     string  `json:"fix"`
	Ref     string  `json:"ref"`
}

// MarshalJSON gives {"id","title","verdict","got","want","fix","ref"}, every
// member always there.
func (r Result) MarshalJSON() ([]byte, error) {
	r.clean()
	return json.Marshal(resultJSON{r.ID, r.Title, r.Verdict, r.Got, r.Want, r.Fix, r.Ref})
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (r *Result) UnmarshalJSON(b []byte) error {
	var j resultJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	r.ID, r.Title, r.Ref = j.ID, j.Title, j.Ref
	r.Finding = Finding{Verdict: j.Verdict, Got: j.Got, Want: j.Want, Fix: j.Fix}
	return nil
}

// WriteJSON writes the report indented, with a line break at its end.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

const columns = 80

// WriteText writes the report for people, at most 80 columns wide where words
// allow: a line with verdict, ID and claim for each control, its evidence
// below, and what to do about all that did not pass. The caller decides
// colour, by whether w is a terminal.
func (r Report) WriteText(w io.Writer, color bool) error {
	b := bufio.NewWriter(w)
	width := 0
	for i := range r.Results {
		width = max(width, utf8.RuneCountInString(r.Results[i].ID))
	}
	for i := range r.Inside {
		width = max(width, utf8.RuneCountInString(r.Inside[i].ID))
	}
	if r.Target != "" {
		fmt.Fprintf(b, "%s\n\n", clean(r.Target))
	}
	row := func(v Verdict, word, id, title string) {
		word = fmt.Sprintf("%-7s", strings.ToUpper(word))
		if color {
			word = paint[min(v, Waived)] + word + "\x1b[0m"
		}
		head := fmt.Sprintf("%-*s  ", width, id)
		fmt.Fprintf(b, "%s  %s", word, head)
		indent := 9 + utf8.RuneCountInString(head)
		if columns-indent < 20 { // an ID that long leaves no room beside it
			fmt.Fprintf(b, "\n%9s", "")
			indent = 9
		}
		fold(b, indent, title)
	}
	for _, res := range r.Results {
		res.clean()
		row(res.Verdict, res.Verdict.String(), res.ID, res.Title)
		if res.Verdict == Pass || res.Verdict == Waived {
			labelled(b, "", res.Got)
			continue
		}
		labelled(b, "got   ", res.Got)
		labelled(b, "want  ", res.Want)
		labelled(b, "fix   ", res.Fix)
		labelled(b, "see   ", res.Ref)
	}
	for _, in := range r.Inside {
		row(Waived, "inside", clean(in.ID), clean(in.Title))
		labelled(b, "see   ", clean(in.How))
	}
	if len(r.Results) == 0 {
		fmt.Fprintln(b, "Nothing was checked, so nothing is proved.")
	} else {
		fmt.Fprintf(b, "\n%s\n", r.Summary())
	}
	return b.Flush()
}

// paint is the colour of each verdict: yellow, green, red, blue.
var paint = [...]string{"\x1b[33m", "\x1b[32m", "\x1b[31m", "\x1b[34m"}

func labelled(b *bufio.Writer, label, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(b, "%9s%s", "", label)
	fold(b, 9+len(label), text)
}

// fold writes words from column indent on, breaks lines before column 80, and
// indents the lines after the first. A word longer than a line keeps it.
func fold(b *bufio.Writer, indent int, text string) {
	col := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case col+1+n > columns:
			fmt.Fprintf(b, "\n%*s", indent, "")
			col = indent
		default:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	b.WriteByte('\n')
}

// maxText is the longest text of a finding, in characters.
const maxText = 400

func (r *Result) clean() {
	for _, s := range []*string{&r.ID, &r.Title, &r.Why, &r.Ref, &r.Got, &r.Want, &r.Fix} {
		*s = clean(*s)
	}
}

// clean makes text that may hold a hostile target's bytes safe to print and to
// store: one line, at most 400 characters, valid UTF-8. Control characters
// (terminal escapes among them), and characters that are invisible or turn the
// direction of writing, are shown as \xNN or \uNNNN.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	for n, i := 0, 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		shown := string(r)
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			shown = " "
		case r == utf8.RuneError && size == 1, r < ' ', 0x7f <= r && r < 0xa0:
			shown = fmt.Sprintf(`\x%02x`, s[i+size-1])
		case !unicode.IsPrint(r):
			shown = fmt.Sprintf(`\u%04x`, r)
		}
		if n += utf8.RuneCountInString(shown); n > maxText {
			b.WriteString("…")
			break
		}
		b.WriteString(shown)
		i += size
	}
	return b.String()
}

func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxText
}
