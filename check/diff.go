package check

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
)

// A Change is what differs between two reports of one control.
type Change struct {
	Meta
	Before, After *Finding // nil: not in that report
}

// Worse reports whether something that was good, or was not looked at, is not.
func (c Change) Worse() bool {
	good := func(f *Finding) bool { return f == nil || f.Verdict == Pass || f.Verdict == Waived }
	switch {
	case c.After == nil: // what is not looked at any more is not proved any more
		return c.Before.Verdict == Pass
	case good(c.After):
		return false
	}
	return good(c.Before) || c.Before.Verdict == Unknown && c.After.Verdict == Fail
}

// Compare lists the controls whose verdict differs, in the order of after, then
// those that are in before alone. What was seen changes from run to run and is
// no difference.
func Compare(before, after Report) (changes []Change) {
	old := map[string]*Finding{}
	for i := range before.Results {
		old[before.Results[i].ID] = &before.Results[i].Finding
	}
	seen := map[string]bool{}
	for i := range after.Results {
		r := &after.Results[i]
		seen[r.ID] = true
		if was := old[r.ID]; was == nil || was.Verdict != r.Verdict {
			changes = append(changes, Change{r.Meta, was, &r.Finding})
		}
	}
	for i := range before.Results {
		if r := &before.Results[i]; !seen[r.ID] {
			changes = append(changes, Change{r.Meta, &r.Finding, nil})
		}
	}
	return changes
}

// WriteChanges writes changes for people, the worse ones first.
func WriteChanges(w io.Writer, changes []Change, how Text) error {
	t := &textWriter{Writer: bufio.NewWriter(w), Text: how}
	word := func(f *Finding) string {
		if f == nil {
			return "not checked"
		}
		return f.Verdict.String()
	}
	for _, worse := range []bool{true, false} {
		for _, c := range changes {
			if c.Worse() != worse {
				continue
			}
			c.Meta.clean()
			v, mark := Pass, "better"
			if worse {
				v, mark = Fail, "worse"
			} else if c.Before == nil || c.After == nil || c.After.Verdict == Waived {
				v, mark = Waived, "changed"
			}
			t.row(v, mark, c.ID, c.Title)
			t.labelled("", word(c.Before)+" -> "+word(c.After))
			if f := cmp.Or(c.After, c.Before); f == c.After && f.Verdict != Pass {
				t.labelled("got   ", clean(f.Got))
				t.labelled("fix   ", clean(f.Fix))
			}
		}
	}
	if len(changes) == 0 {
		fmt.Fprintln(t, "The verdicts are the same.")
	}
	return t.Flush()
}

// String is a change in one line, for logs and events.
func (c Change) String() string {
	before, after := "not checked", "not checked"
	if c.Before != nil {
		before = c.Before.Verdict.String()
	}
	s := ""
	if c.After != nil {
		after = c.After.Verdict.String()
		s = clean(c.After.Got)
	}
	return strings.TrimSuffix(clean(c.ID)+": "+before+" -> "+after+": "+s, ": ")
}
