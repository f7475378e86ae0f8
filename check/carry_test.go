package check_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
)

// TestWhatWasNotMadeIsNoDrift: a check that the run left out is unknown in its own
// report, and to the next comparison as good or as bad as the last look at it.
func TestWhatWasNotMadeIsNoDrift(t *testing.T) {
	day := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		reason error
		unmade bool
	}{
		"for want of points":        {check.Spent("it earns 60 points"), true},
		"a target that hides":       {errors.New("the target does not answer"), false},
		"a reason around a reason":  {errors.Join(check.Spent("it earns 60 points")), true},
		"a target that is too busy": {context.Canceled, false},
	} {
		c := named("app/a", gives(check.Passed("seen")))
		c.Ready = func(context.Context) error { return tt.reason }
		now := check.Run(t.Context(), []check.Check{c}, check.Options{})
		if got := now.Results[0]; got.Verdict != check.Unknown || got.Unmade != tt.unmade || now.ExitCode() != 2 {
			t.Errorf("%s: %v, unmade %v, exit %d", name, got.Verdict, got.Unmade, now.ExitCode())
		}
		var read check.Report
		if b, err := json.Marshal(now); err != nil || json.Unmarshal(b, &read) != nil || read.Results[0].Unmade != tt.unmade {
			t.Errorf("%s: read as %+v, %v", name, read, err)
		}
		before := check.Report{Time: day, Results: []check.Result{{Meta: check.Meta{ID: "app/a"}, Finding: check.Passed("there")}}}
		changes := check.Compare(before, read)
		if len(changes) != 1 || changes[0].Worse() == tt.unmade {
			t.Errorf("%s: %v", name, changes)
		}
		var b strings.Builder
		if err := check.WriteChanges(&b, changes, check.Text{}); err != nil || strings.Contains(b.String(), "UNMADE   app/a") != tt.unmade {
			t.Errorf("%s: %v\n%s", name, err, b.String())
		}
	}
}

// TestCarry: the last look at a check stands while it is not made, with its day, but
// not for ever, and never as if the report had seen it itself.
func TestCarry(t *testing.T) {
	report := func(day int, f check.Finding) check.Report {
		return check.Report{Time: time.Date(2026, 11, day, 0, 0, 0, 0, time.UTC), Results: []check.Result{{Meta: check.Meta{ID: "outside/ports"}, Finding: f}}}
	}
	left := check.Finding{Unmade: true, Got: "not made: it earns 60 points"}
	drifted := func(before, after check.Report) bool {
		for _, c := range check.Compare(before, after) {
			if c.Worse() {
				return true
			}
		}
		return false
	}
	last := check.Carry(nil, report(1, check.Passed("closed")))
	for day := 2; day < 1+check.MostMissed; day++ {
		next := check.Carry(&last, report(day, left))
		got := next.Results[0]
		if got.Verdict != check.Pass || got.Missed != day-1 || got.Seen.Day() != 1 || drifted(last, next) {
			t.Fatalf("day %d: %+v, drift %v", day, got.Finding, drifted(last, next))
		}
		if f := check.Carry(&last, report(day, check.Failed("open", "closed", ""))); !drifted(last, f) || f.Results[0].Missed != 0 {
			t.Errorf("day %d: a failure is no drift: %+v", day, f.Results[0].Finding)
		}
		b, err := json.Marshal(next)
		if err != nil {
			t.Fatal(err)
		}
		last = check.Report{}
		if err := json.Unmarshal(b, &last); err != nil {
			t.Fatal(err)
		}
		last.Target = "https://api.example.com"
		joined, err := check.Join(check.Report{Time: last.Time, Host: &check.Host{Site: "api.example.com"}}, last)
		if err != nil || joined.Results[0].Verdict != check.Unknown {
			t.Errorf("day %d: joined as %+v, %v", day, joined.Results, err)
		}
	}
	old := check.Carry(&last, report(20, left))
	if got := old.Results[0]; got.Verdict != check.Unknown || !drifted(last, old) || !strings.Contains(got.Got, "pass on 2026-11-01") {
		t.Errorf("after %d runs: %+v", check.MostMissed, got.Finding)
	}
	older := check.Carry(&old, report(21, left))
	if drifted(old, older) || older.Results[0].Missed != check.MostMissed+1 || older.Results[0].Got != old.Results[0].Got {
		t.Errorf("the same is told twice: %+v", older.Results[0].Finding)
	}
	if back := check.Carry(&older, report(22, check.Passed("closed"))); drifted(older, back) || back.Results[0].Missed != 0 {
		t.Errorf("made again: %+v", back.Results[0].Finding)
	}
	// What was never made has no verdict to keep.
	first := check.Carry(nil, report(1, left))
	if got := check.Carry(&first, report(2, left)).Results[0]; got.Verdict != check.Unknown || got.Missed != 2 || !got.Unmade {
		t.Errorf("never made: %+v", got.Finding)
	}
}
