package check_test

import (
	"strings"
	"testing"
	"time"

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
	joined := func(in, out check.Report, id string) check.Verdict {
		in.Host, out.Target = &check.Host{Name: "vm", Site: "api.example.com"}, "https://API.example.com:8443/v1"
		j, err := check.Join(in, out)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range j.Results {
			if r.ID == id {
				return r.Verdict
			}
		}
		return none
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
		if got := joined(report("inside/listeners", tt.listeners, "host/firewall", tt.firewall), report("outside/ports", tt.outside, "app/hsts", check.Pass), "both/ports"); got != tt.want {
			t.Errorf("%v, %v and from outside %v: %v, want %v", tt.listeners, tt.firewall, tt.outside, got, tt.want)
		}
	}
	for _, tt := range []struct{ inside, outside, want check.Verdict }{
		{check.Pass, check.Pass, check.Pass},
		{check.Fail, check.Pass, check.Fail},
		{check.Pass, check.Fail, check.Fail},
		{check.Unknown, check.Pass, check.Unknown},
		{check.Pass, check.Unknown, check.Unknown},
		{check.Pass, none, check.Unknown},
		{none, check.Pass, check.Unknown},
	} {
		if got := joined(report("host/ssh", tt.inside), report("outside/ssh", tt.outside, "app/hsts", check.Pass), "both/ssh"); got != tt.want {
			t.Errorf("SSH, %v and from outside %v: %v, want %v", tt.inside, tt.outside, got, tt.want)
		}
	}
	in := check.Report{Host: &check.Host{Name: "vm"}, Inside: []check.Inside{{Meta: check.Meta{ID: "host/firewall"}}}}
	out := report("outside/ports", check.Pass)
	out.Target, out.Inside = "https://vm", []check.Inside{{Meta: check.Meta{ID: "app/access-log"}}}
	if j, err := check.Join(in, out); err != nil || len(j.Inside) != 2 || j.Inside[1].ID != "app/access-log" {
		t.Errorf("%+v, %v", j.Inside, err)
	}
}

// TestJoinOfOneServerOnly: two reports are joined when something says that they are
// of the same server, are from both sides, and were made within a day; in either
// order.
func TestJoinOfOneServerOnly(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	passed := func(ids ...string) (out []check.Result) {
		for _, id := range ids {
			out = append(out, check.Result{Meta: check.Meta{ID: id}, Finding: check.Finding{Verdict: check.Pass, Got: "x", Addresses: []string{"203.0.113.7"}}})
		}
		return out
	}
	for name, tt := range map[string]struct {
		spoil func(in, out *check.Report)
		err   string
		want  check.Verdict
	}{
		"by the site":           {want: check.Pass},
		"by the server's name":  {spoil: func(in, out *check.Report) { in.Host.Site, out.Target = "", "https://vm:8443" }, want: check.Pass},
		"by an address":         {spoil: func(in, out *check.Report) { in.Host.Site, in.Host.Addresses = "", []string{"203.0.113.7"} }, want: check.Pass},
		"somebody else's":       {spoil: func(_, out *check.Report) { out.Target = "https://somebody-else.example.net" }, err: "is at https://somebody-else.example.net"},
		"a name that begins so": {spoil: func(_, out *check.Report) { out.Target = "https://api.example.com.evil.example" }, err: "nothing says"},
		"another's loopback":    {spoil: func(in, out *check.Report) { in.Host.Name, out.Target = "localhost", "https://localhost:8443" }, err: "nothing says"},
		"of nobody":             {spoil: func(_, out *check.Report) { out.Target = "" }, err: "nothing says"},
		"no server named":       {spoil: func(in, _ *check.Report) { in.Host = nil }, err: "does not say of which server"},
		"twice from outside":    {spoil: func(in, out *check.Report) { *in = *out }, err: "both reports are looks from outside"},
		"twice from inside":     {spoil: func(in, out *check.Report) { *out = *in }, err: "both reports are looks from inside"},
		"joined already":        {spoil: func(_, out *check.Report) { out.Results = append(out.Results, passed("both/ports")...) }, err: "cannot be joined once more"},
		"one of both sides":     {spoil: func(_, out *check.Report) { out.Results = append(out.Results, passed("host/ssh")...) }, err: "cannot be joined once more"},
		"empty":                 {spoil: func(_, out *check.Report) { out.Results = nil }, err: "proves nothing"},
		"of the day before":     {spoil: func(_, out *check.Report) { out.Time = now.Add(-23 * time.Hour) }, want: check.Pass},
		"of 2020":               {spoil: func(_, out *check.Report) { out.Time = now.AddDate(-6, 0, 0) }},
		"of 2020, by address": {spoil: func(in, out *check.Report) {
			out.Time, in.Host.Site, in.Host.Addresses = now.AddDate(-6, 0, 0), "", []string{"203.0.113.7"}
		}},
		"of times to come": {spoil: func(_, out *check.Report) { out.Time = now.AddDate(0, 0, 2) }},
		"of no time":       {spoil: func(_, out *check.Report) { out.Time = time.Time{} }},
	} {
		for _, turned := range []bool{false, true} {
			in := check.Report{Time: now, Target: "vm, from inside", Host: &check.Host{Name: "vm", Site: "api.example.com"}, Results: passed("inside/listeners", "host/ssh")}
			out := check.Report{Time: now, Target: "https://api.example.com", Results: passed("outside/ports", "outside/ssh")}
			if tt.spoil != nil {
				tt.spoil(&in, &out)
			}
			var joined check.Report
			var err error
			if turned { // the look from inside is the one in the file
				in.Time, out.Time = out.Time, in.Time
				joined, err = check.Join(out, in)
			} else {
				joined, err = check.Join(in, out)
			}
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%s, turned %v: %v, want %q", name, turned, err, tt.err)
				}
				continue
			}
			if err != nil || !joined.Time.Equal(now) {
				t.Errorf("%s, turned %v: %v at %v", name, turned, err, joined.Time)
				continue
			}
			stale := map[bool]string{false: "outside/", true: "inside/"}[turned]
			for _, r := range joined.Results {
				if seen := strings.HasPrefix(r.ID, "both/") || strings.HasPrefix(r.ID, stale); seen && r.Verdict != tt.want {
					t.Errorf("%s, turned %v: %s: %v %q, want %v", name, turned, r.ID, r.Verdict, r.Got, tt.want)
				}
			}
		}
	}
}
