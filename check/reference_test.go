package check_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
)

func TestReferences(t *testing.T) {
	m := check.Meta{ID: "edge/x", Ref: "RFC 9110, 7.2 and 7.4; OpenAPI 3.1; ASVS 5.0 V4.1.3, V12.2; OWASP API1 and API10 2023, CWE-22; CIS Controls v8 4.4; blueprint A1, E7, T11, checklist 1, checklist 10"}
	want := check.References{Blueprint: []string{"A1", "E7"}, Threats: []string{"T11"}, Checklist: []int{1, 10},
		ASVS: []string{"V4.1.3", "V12.2"}, API: []string{"API1:2023", "API10:2023"}, CIS: []string{"Controls v8 4.4"}, CWE: []string{"CWE-22"}}
	if got := m.References(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	for id, want := range map[string]string{"app/a": "app", "identity/a": "app", "watch/a": "app", "edge/a": "edge", "host/a": "host", "outside/a": "", "": ""} {
		if got := (check.Meta{ID: id}).Ring(); got != want {
			t.Errorf("%s: ring %q, want %q", id, got, want)
		}
	}
	if got := (check.Meta{ID: "outside/a", Layer: "host"}).Ring(); got != "host" {
		t.Errorf("layer: %q", got)
	}
}

// TestSections: the worst result speaks for a line, and a line that nobody looked
// at is not good.
func TestSections(t *testing.T) {
	res := func(id, ref string, v check.Verdict) check.Result {
		return check.Result{Meta: check.Meta{ID: id, Title: "Claim of " + id, Ref: ref}, Finding: check.Finding{Verdict: v, Got: "seen"}}
	}
	r := check.Report{Results: []check.Result{
		res("edge/a", "blueprint T1, checklist 1", check.Pass), res("edge/b", "blueprint T1, checklist 1, checklist 2", check.Unknown),
		res("outside/secret-files", "blueprint checklist 11", check.Pass), res("app/c", "blueprint checklist 3, checklist 10", check.Fail), res("app/d", "blueprint checklist 3", check.Unknown), res("app/e", "blueprint checklist 4", check.Waived),
	}}
	want := map[string]check.Verdict{"1": check.Unknown, "2": check.Unknown, "3": check.Fail, "4": check.Waived, "10": check.Fail, "5": check.Unknown}
	// What was not asked from inside is seen in part, however good the part is.
	words := map[string]string{"1": "unknown", "2": "unknown", "5": "unseen", "10": "fail", "11": "partly"}
	sections := r.Sections(check.ByChecklist)
	if len(sections) != 11 || len(r.Sections(check.ByThreat)) != 11 || len(r.Sections(check.ByRing)) != 3 {
		t.Fatalf("%d lines", len(sections))
	}
	for _, s := range sections {
		if v, ok := want[s.ID]; ok && s.Verdict() != v {
			t.Errorf("%s is %v, want %v", s.ID, s.Verdict(), v)
		}
		if w, ok := words[s.ID]; ok && s.Word() != w {
			t.Errorf("%s is called %s, want %s", s.ID, s.Word(), w)
		}
	}
	whole := check.Report{Results: append(r.Results, res("inside/tracked", "blueprint checklist 11", check.Pass))}
	if s := whole.Sections(check.ByChecklist)[10]; s.Verdict() != check.Pass || s.Word() != "pass" {
		t.Errorf("seen from both sides, line 11 is %v, %s", s.Verdict(), s.Word())
	}
	for _, v := range check.Views() {
		var b strings.Builder
		if err := r.WriteText(&b, check.Text{By: v, Long: true}); err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(b.String(), "got   seen"); v != check.ByThreat && n != 3 {
			t.Errorf("%s: %d findings told in full, want each that is not good once:\n%s", v, n, b.String())
		}
	}
}

func TestCompare(t *testing.T) {
	report := func(pairs ...any) (r check.Report) {
		for i := 0; i < len(pairs); i += 2 {
			r.Results = append(r.Results, check.Result{Meta: check.Meta{ID: pairs[i].(string), Title: "A claim"}, Finding: check.Finding{Verdict: pairs[i+1].(check.Verdict), Got: "x"}})
		}
		return r
	}
	before := report("a", check.Pass, "b", check.Fail, "c", check.Unknown, "d", check.Waived, "e", check.Pass, "f", check.Fail, "same", check.Fail)
	after := report("a", check.Fail, "b", check.Pass, "c", check.Fail, "d", check.Unknown, "new", check.Fail, "fine", check.Pass, "same", check.Fail)
	want := map[string]bool{"a": true, "b": false, "c": true, "d": true, "e": true, "f": false, "new": true, "fine": false}
	changes := check.Compare(before, after)
	if len(changes) != len(want) {
		t.Errorf("%d changes, want %d", len(changes), len(want))
	}
	for _, c := range changes {
		if worse, ok := want[c.ID]; !ok || c.Worse() != worse {
			t.Errorf("%v: worse %v", c, c.Worse())
		}
	}
	var b strings.Builder
	if err := check.WriteChanges(&b, changes, check.Text{}); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"WORSE    a: A claim\n         pass -> fail\n", "BETTER   b: A claim\n         fail -> pass\n", "WORSE    e: A claim\n         pass -> not checked\n", "CHANGED  f: A claim\n"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}
	if len(check.Compare(before, before)) != 0 {
		t.Error("a report differs from itself")
	}
}
