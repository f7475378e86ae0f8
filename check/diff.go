package check

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A Change is what differs between two reports of one control.
type Change struct {
	Meta
	Before, After *Finding // nil: not in that report
}

// Worse reports whether something that was good, or was not looked at, is not. A
// check that was not made for want of points or requests has seen nothing worse.
func (c Change) Worse() bool {
	good := func(f *Finding) bool { return f == nil || f.Verdict == Pass || f.Verdict == Waived }
	switch {
	case c.unmade():
		return false
	case c.After == nil: // what is not looked at any more is not proved any more
		return c.Before.Verdict == Pass
	case good(c.After):
		return false
	}
	return good(c.Before) || c.Before.Verdict == Unknown && c.After.Verdict == Fail
}

func (c Change) unmade() bool { return c.After != nil && c.After.Verdict == Unknown && c.After.Unmade }

// MostMissed is in how many runs in a row a check may not be made before its last
// verdict is not believed any more.
const MostMissed = 8

// Carry is the report that the next one is compared with: of the checks that the
// run left out it has the findings of the last report, with their dates. One that
// was left out MostMissed times in a row is unknown, which is worse than a pass.
func Carry(last *Report, now Report) Report {
	old := map[string]*Result{}
	if last != nil {
		for i := range last.Results {
			old[last.Results[i].ID] = &last.Results[i]
		}
	}
	now.Results = slices.Clone(now.Results)
	for i := range now.Results {
		r := &now.Results[i]
		if r.Verdict != Unknown || !r.Unmade {
			continue
		}
		r.Missed = 1
		was := old[r.ID]
		if was == nil {
			continue
		}
		r.Missed += was.Missed
		if was.Verdict == Unknown && was.Unmade {
			continue
		}
		f, missed := was.Finding, r.Missed
		if f.Seen.IsZero() {
			f.Seen = last.Time
		}
		if f.Verdict != Unknown && missed >= MostMissed {
			f = Finding{Got: fmt.Sprintf("not made in %d runs; %s on %s; %s", missed, f.Verdict, f.Seen.Format(time.DateOnly), r.Got), Seen: f.Seen}
		}
		f.Missed = missed
		r.Finding = f
	}
	return now
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
		if f.Verdict == Unknown && f.Unmade {
			return "not made"
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
			switch {
			case worse:
				v, mark = Fail, "worse"
			case c.unmade():
				v, mark = Unknown, "unmade"
			case c.Before == nil || c.After == nil || c.After.Verdict == Waived || c.Before.Unmade:
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
