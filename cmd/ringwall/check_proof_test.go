package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/identity"
)

// proofs are where the checks of each kind are sabotaged: the control is taken
// away from a real target and the check must fail, the target is taken away and
// it must know nothing. Tests that run over a whole list cannot miss one; of the
// others the file must name the check.
var proofs = map[string]struct{ dir, removed, down string }{
	"app":      {"../../app", "TestEveryControlRemovedFails", "TestEveryControlUnseenIsUnknown"},
	"edge":     {"../../edge", "TestEveryEdgeControlRemovedFails", "TestEveryEdgeControlUnseenIsUnknown"},
	"identity": {"../../identity", "TestControlsFindBreaches", "TestControlsOfADeadTargetAreUnknown"},
	"outside":  {"../../check/outside", "TestEveryCheckFindsItsFault", "TestEveryCheckOfADeadServerIsUnknown"},
	"inside":   {"../../check/inside", "TestEveryCheck", "TestEveryCheck"},
	"both":     {"../../check", "TestJoin", "TestJoin"},
}

// TestEveryCheckIsSabotaged prints the table of all, and wants none missing.
func TestEveryCheckIsSabotaged(t *testing.T) {
	sources := map[string]string{}
	for kind, p := range proofs {
		files, err := filepath.Glob(p.dir + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no tests: %v", p.dir, err)
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			sources[kind] += string(b)
		}
		for _, name := range []string{p.removed, p.down} {
			if !strings.Contains(sources[kind], "func "+name+"(t *testing.T)") {
				t.Errorf("%s has no %s", p.dir, name)
			}
		}
	}
	// The tests of the edge name those that a waiver does not switch off, each
	// with the test that looks at a target without it.
	neverOff := map[string]string{}
	for _, m := range regexp.MustCompile(`"(edge/[a-z-]+)": +"(Test\w+)"`).FindAllStringSubmatch(sources["edge"], -1) {
		neverOff[m[1]] = m[2]
	}
	unprovable, onsite := map[string]bool{}, map[string]bool{}
	for _, c := range app.Controls() {
		unprovable[c.ID] = c.Verify == nil
	}
	for _, c := range edge.Controls() {
		onsite[c.ID] = c.Here != nil
		unprovable[c.ID] = c.Verify == nil
	}
	for _, c := range identity.Controls() {
		unprovable[c.ID] = c.Verify == nil
	}
	t.Logf("%-30s %-40s %s", "check", "control removed: fail", "target down: unknown")
	var rows []string
	for _, m := range everyCheck(t) {
		kind, _, _ := strings.Cut(m.ID, "/")
		p, ok := proofs[kind]
		switch {
		case unprovable[m.ID] || kind == "watch":
			rows = append(rows, fmt.Sprintf("%-30s not judged: a look on the server, listed apart", m.ID))
			continue
		case kind == "host":
			removed := hostFault(t, m.ID)
			if removed == "" {
				t.Errorf("%s is sabotaged neither on a server that boots nor in ../../host", m.ID)
			}
			rows = append(rows, fmt.Sprintf("%-30s %-40s %s", m.ID, removed, "TestWhatCannotBeSeenIsUnknown"))
			continue
		case !ok:
			t.Errorf("%s is sabotaged nowhere", m.ID)
			continue
		}
		removed := p.removed
		if name := neverOff[m.ID]; name != "" {
			removed = name
			if !strings.Contains(sources[kind], "func "+name+"(") {
				t.Errorf("%s: there is no %s", m.ID, name)
			}
		} else if kind != "app" && kind != "edge" && !strings.Contains(sources[kind], `"`+m.ID+`"`) {
			t.Errorf("%s has no fault in %s", m.ID, p.dir)
		}
		down := p.down
		if onsite[m.ID] {
			down = removed
		}
		rows = append(rows, fmt.Sprintf("%-30s %-40s %s", m.ID, removed, down))
	}
	slices.Sort(rows)
	for _, r := range rows {
		t.Log(r)
	}
}

// hostFault says where a control of the host is broken: on a real server that
// boots, or, where a container cannot be the judge of it, in the tests beside it.
func hostFault(t *testing.T, id string) string {
	for _, place := range []struct{ files, pattern, name string }{
		{"../../test/vps/system_test.go", `"%s": +["` + "`]" + `\w`, "TestSystem, on a server that boots"},
		{"../../test/vps/undone_test.go", `\{"%s", `, "TestSystem, on a server that boots"},
		{"../../test/vps/attackers_test.go", `\.fail\("%s"`, "TestAttackers, on such a server"},
		{"../../test/vps/security_test.go", `\.fail\("%s"`, "TestSecurityServices, on such a server"},
		{"../../test/vps/nginx_test.go", `"%s"\); got\.Verdict != check\.Fail`, "TestNginx, on such a server"},
		{"../../host/system_test.go", `"%s", .*check\.Fail`, "TestVerdictsOfTheKernel, of its files"},
	} {
		b, err := os.ReadFile(place.files)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(fmt.Sprintf(place.pattern, id)).Match(b) {
			return place.name
		}
	}
	return ""
}
