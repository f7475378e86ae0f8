package check

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Text says how a report is written for people.
type Text struct {
	Color bool // the caller decides, by whether it writes to a terminal
	By    View // the zero value: in the order of the run
	Long  bool // with requests, answers, and what passed in a view too
}

const columns = 80

// WriteText writes the report for people, at most 80 columns wide where words
// allow: verdict, ID and claim of each control, its evidence below, and why it
// matters and what to do about all that did not pass.
func (r Report) WriteText(w io.Writer, how Text) error {
	t := &textWriter{Writer: bufio.NewWriter(w), Text: how, told: map[string]bool{}}
	if r.Target != "" {
		at := r.Addresses()
		t.several = len(at) > 1
		where := ""
		if len(at) > 0 {
			where = ", at " + strings.Join(at, " and ")
		}
		fmt.Fprintf(t, "%s%s\n\n", clean(r.Target), where)
	}
	// Of a target that is down each check says the same: why it matters waits.
	t.silent = len(r.Results) > 1 && !slices.ContainsFunc(r.Results, func(res Result) bool { return res.Verdict != Unknown })
	if how.By != "" {
		t.sections(r.Sections(how.By))
	} else {
		for i := range r.Results {
			t.result(r.Results[i])
		}
		for _, in := range r.Inside {
			t.inside(in)
		}
	}
	if len(r.Results) == 0 {
		fmt.Fprintln(t, "Nothing was checked, so nothing is proved.")
	} else if t.silent {
		fmt.Fprintf(t, "\nNothing could be seen: does it run, and is it reached from here?\n%s\n", r.Summary())
	} else {
		fmt.Fprintf(t, "\n%s\n", r.Summary())
		t.failed(r)
	}
	return t.Flush()
}

// failed names what failed once more below a report that is longer than a screen.
func (t *textWriter) failed(r Report) {
	const screen = 10 // results
	ids := make([]string, 0, len(r.Results))
	for _, res := range r.Results {
		if res.Verdict == Fail {
			res.clean()
			ids = append(ids, res.ID)
		}
	}
	if len(r.Results) > screen && len(ids) > 0 {
		fmt.Fprint(t, "failed: ")
		t.fold(len("failed: "), strings.Join(ids, ", "))
	}
}

type textWriter struct {
	*bufio.Writer
	Text
	told map[string]bool // results that have been written in full

	unmade string // why the check before was not made; "": it was

	silent  bool // nothing was seen at all
	several bool // addresses of the target: each result says at which
}

func (t *textWriter) sections(sections []Section) {
	for i, s := range sections {
		if i > 0 {
			fmt.Fprintln(t)
		}
		t.unmade = ""
		t.row(s.Verdict(), s.Word(), s.ID, t.bold(s.Title))
		if s.Word() == "partly" {
			t.labelled("", "the rest is seen on the server: ringwall check --inside")
		}
		for _, res := range s.Results {
			switch res.clean(); {
			case t.Long && !t.told[res.ID], res.Verdict == Fail || res.Verdict == Unknown:
				t.result(res)
			default:
				t.unmade = ""
				t.row(res.Verdict, res.Verdict.String(), res.ID, res.Title)
			}
		}
		for _, in := range s.Inside {
			t.inside(in)
		}
	}
}

func (t *textWriter) result(res Result) {
	res.clean()
	t.row(res.Verdict, res.Verdict.String(), res.ID, res.Title)
	if t.told[res.ID] {
		t.labelled("", "see above")
		return
	}
	t.told[res.ID] = true
	again := res.Verdict == Unknown && res.Got == t.unmade && !t.Long
	if t.unmade = ""; res.Verdict == Unknown && strings.HasPrefix(res.Got, "not made: ") {
		t.unmade = res.Got
	}
	if again { // a dozen say it once
		t.labelled("got   ", "as above")
		return
	}
	if res.Verdict == Pass || res.Verdict == Waived {
		t.labelled("", res.Got)
	} else if t.silent && !t.Long {
		t.labelled("got   ", res.Got)
		t.labelled("fix   ", res.Fix)
	} else {
		t.labelled("got   ", res.Got)
		t.labelled("want  ", res.Want)
		t.labelled("why   ", res.Why)
		t.labelled("fix   ", res.Fix)
		t.labelled("see   ", res.Ref)
	}
	if len(res.Addresses) > 0 && (t.Long || t.several) {
		t.labelled("at    ", strings.Join(res.Addresses, " and "))
	}
	if !t.Long {
		return
	}
	for _, e := range res.Evidence {
		t.quoted("> ", e.Sent)
		t.quoted("< ", e.Received)
	}
}

func (t *textWriter) inside(in Inside) {
	in.clean()
	t.row(Waived, "look", in.ID, in.Title)
	if !t.told[in.ID] {
		t.labelled("see   ", in.How)
	}
	t.told[in.ID] = true
}

// paint is the colour of each verdict: yellow, green, red, blue.
var paint = [...]string{"\x1b[33m", "\x1b[32m", "\x1b[31m", "\x1b[34m"}

// row writes "VERDICT  id: claim".
func (t *textWriter) row(v Verdict, word, id, title string) {
	word = fmt.Sprintf("%-7s", strings.ToUpper(word))
	if t.Color {
		word = paint[min(v, Waived)] + word + "\x1b[0m"
	}
	fmt.Fprintf(t, "%s  ", word)
	t.fold(9, id+": "+title)
}

func (t *textWriter) bold(s string) string {
	if !t.Color {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

func (t *textWriter) labelled(label, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(t, "%9s%s", "", label)
	t.fold(9+len(label), text)
}

// quoted writes lines as they are, save that long ones are cut.
func (t *textWriter) quoted(mark, text string) {
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if utf8.RuneCountInString(line) > columns-9-len(mark) {
			line = string([]rune(line)[:columns-9-len(mark)-1]) + "…"
		}
		fmt.Fprintf(t, "%9s%s%s\n", "", mark, line)
	}
}

// fold writes words from column indent on, breaks lines before column 80, and
// indents the lines after the first. A word longer than a line keeps it.
func (t *textWriter) fold(indent int, text string) {
	col := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word) - 4*strings.Count(word, "\x1b[") // colour takes no room
		switch {
		case i == 0:
		case col+1+n > columns:
			fmt.Fprintf(t, "\n%*s", indent, "")
			col = indent
		default:
			t.WriteByte(' ')
			col++
		}
		t.WriteString(word)
		col += n
	}
	t.WriteByte('\n')
}
