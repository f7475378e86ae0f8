package check_test

import (
	"testing"

	"github.com/ringwall/ringwall/check"
)

// TestJoin: a port is closed only if both sides say so.
func TestJoin(t *testing.T) {
	const none = check.Verdict(9)
	report := func(pairs ...any) (r check.Report) {
		for i := 0; i < len(pairs); i += 2 {
			if v := pairs[i+1].(check.Verdict); v != none {
				r.Results = append(r.Results, check.Result{Meta: check.Meta{ID: pairs[i].(string)}, Finding: check.Finding{Verdict: v, Got: "x"}})
			}
		}
		return r
	}
	for _, tt := range []struct{ listeners, firewall, outside, want check.Verdict }{
		{check.Pass, check.Pass, check.Pass, check.Pass},
		{check.Pass, none, check.Pass, check.Pass},
		{check.Pass, check.Unknown, check.Pass, check.Unknown},
		{check.Unknown, check.Pass, check.Pass, check.Unknown},
		{check.Fail, check.Pass, check.Pass, check.Fail},
		{check.Pass, check.Fail, check.Pass, check.Fail},
		{check.Pass, check.Pass, check.Fail, check.Fail},
		{check.Pass, check.Pass, check.Unknown, check.Unknown},
		{check.Pass, check.Pass, check.Waived, check.Unknown},
		{check.Pass, check.Pass, none, check.Unknown},
		{none, none, check.Pass, check.Unknown},
		{none, none, none, check.Unknown},
	} {
		joined := check.Join(report("inside/listeners", tt.listeners, "host/firewall", tt.firewall), report("outside/ports", tt.outside, "app/hsts", check.Pass))
		got := none
		for _, r := range joined.Results {
			if r.ID == "both/ports" {
				got = r.Verdict
			}
		}
		if got != tt.want {
			t.Errorf("%v, %v and from outside %v: %v, want %v", tt.listeners, tt.firewall, tt.outside, got, tt.want)
		}
	}
	in := check.Report{Inside: []check.Inside{{Meta: check.Meta{ID: "outside/ports"}}, {Meta: check.Meta{ID: "app/access-log"}}}}
	if j := check.Join(in, report("outside/ports", check.Pass)); len(j.Inside) != 1 || j.Inside[0].ID != "app/access-log" {
		t.Errorf("%+v", j.Inside)
	}
}
