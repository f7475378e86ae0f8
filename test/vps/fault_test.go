//go:build linux

package vps_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/test/vps"
)

// whoever is how the owner may get in: as root before, as deploy after.
var whoever = []string{"deploy", "root"}

// steps are the titles of the changes that a plan has.
func steps(t *testing.T, o *vps.Owner) (titles []string) {
	t.Helper()
	var plan struct{ Changes []struct{ Title string } }
	out := o.MustSSH("root", ringwall+"plan --json 2>/dev/null")
	if err := json.Unmarshal([]byte(out), &plan); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range plan.Changes {
		titles = append(titles, c.Title)
	}
	return titles
}

// prepared boots a server with the packages of the door on it, and a policy
// about the door alone.
func prepared(t *testing.T, section string) (*vps.Server, *vps.Owner) {
	t.Helper()
	s, o := bare(t, vps.Ready, "")
	door(s, section)
	return s, o
}

// onBoth runs a test on a Debian 12 and on an Ubuntu 24.04, each with the packages
// of the door on it and a policy about the door alone.
func onBoth(t *testing.T, test func(*testing.T, *vps.Server, *vps.Owner)) {
	t.Helper()
	t.Parallel()
	for _, suite := range []string{vps.Ready, "noble"} {
		t.Run(suite, func(t *testing.T) {
			inTurn(t)
			s, o := bare(t, suite, "")
			door(s, "")
			o.MustSSH("root", "true") // which starts sshd where systemd listens
			test(t, s, o)
		})
	}
}

// TestKilledAtEveryStep kills ringwall in every change: when the journal names it
// and nothing is done yet, and when it is done and the journal does not say so.
// The owner gets in at each of these moments, and afterwards all is as it was:
// undone by hand, or by the next apply, or by the timer.
func TestKilledAtEveryStep(t *testing.T) { onBoth(t, killedAtEveryStep) }

func killedAtEveryStep(t *testing.T, s *vps.Server, o *vps.Owner) {
	before := snap(t, s)
	n := len(steps(t, o))
	if n < 8 {
		t.Fatalf("the plan has %d changes", n)
	}
	for step := 1; step <= n; step++ {
		at := fmt.Sprintf("%d:%s", step, []string{"begun", "done"}[step%2])
		window := "5m"
		if step == n {
			window = "10s"
		}
		out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, "HOSTEXEC_FAULT=" + at}, "ringwall", "host", "apply", "--yes", "--within", window)
		if err == nil || !strings.Contains(err.Error(), "killed") && !strings.Contains(err.Error(), "137") {
			t.Fatalf("%s: it was to be killed: %v\n%s", at, err, out)
		}
		if err := o.GetsIn(whoever...); err != nil {
			t.Errorf("killed at %s: %v", at, err)
		}
		if active, _ := s.Try("systemctl", "is-active", "ringwall-host-rollback.timer"); step < n && strings.TrimSpace(active) != "active" {
			t.Errorf("killed at %s: the timer is %s", at, active)
		}
		switch {
		case step == n:
			s.Await("the timer undoes it", 3*time.Minute, func() bool { return s.Read("/etc/systemd/system/ringwall-host-rollback.service") == "" })
		case step%3 == 0:
			continue // the next apply undoes it first
		default:
			s.Run("ringwall", "host", "rollback")
		}
		same(t, "killed at "+at, before, snap(t, s))
		if t.Failed() {
			t.FailNow()
		}
	}
	if err := o.GetsIn("root"); err != nil {
		t.Error(err)
	}
	// Cut short it can be confirmed by nobody; the same command again is all it takes.
	if _, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, "HOSTEXEC_FAULT=4:done"}, "ringwall", "host", "apply", "--yes"); err == nil {
		t.Fatal("it was to be killed")
	}
	if out, err := o.SSH("deploy", "sudo env "+ringwall+"confirm"); err == nil || !strings.Contains(out, "cut short, and cannot be confirmed\nnext: ringwall host apply") {
		t.Errorf("confirmed half: %v\n%s", err, out)
	}
	if out := apply(t, o); !strings.Contains(out, "cut short: what it did is undone first") {
		t.Errorf("applied again: %s", out)
	}
	s.Run("ringwall", "host", "rollback")
	same(t, "applied again and rolled back", before, snap(t, s))
}

// TestKilledInTheRest kills ringwall within controls of the rest of the ring.
func TestKilledInTheRest(t *testing.T) {
	t.Parallel()
	s, o := bare(t, vps.Full, "")
	before := snap(t, s)
	var plan struct{ Changes []struct{ Control string } }
	if err := json.Unmarshal([]byte(o.MustSSH("root", ringwall+"plan --json 2>/dev/null")), &plan); err != nil {
		t.Fatal(err)
	}
	last := map[string]int{}
	for i, c := range plan.Changes {
		last[c.Control] = i + 1
	}
	order := slices.SortedFunc(maps.Keys(last), func(a, b string) int { return last[a] - last[b] })
	for i, control := range order {
		// TestKilledAtEveryStep has the door. Of the others every third, and the
		// last, which has all the others before it.
		step := last[control]
		if slices.Contains([]string{"host/deploy-user", "host/ssh", "host/firewall"}, control) || i%3 != 0 && i < len(order)-1 {
			continue
		}
		at := fmt.Sprintf("%d:%s", step, []string{"begun", "done"}[step%2])
		out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, "HOSTEXEC_FAULT=" + at}, "ringwall", "host", "apply", "--yes")
		if err == nil || !strings.Contains(err.Error(), "killed") && !strings.Contains(err.Error(), "137") {
			t.Fatalf("%s, %s: it was to be killed: %v\n%s", control, at, err, out)
		}
		if err := o.GetsIn(whoever...); err != nil {
			t.Errorf("killed in %s: %v", control, err)
		}
		s.Run("ringwall", "host", "rollback")
		same(t, "killed in "+control+" at "+at, before, snap(t, s))
	}
	if err := o.GetsIn("root"); err != nil {
		t.Error(err)
	}
}

// TestTheTimerRestores has nobody confirm: the session ends, and the timer of
// systemd puts everything back, packages too.
func TestTheTimerRestores(t *testing.T) {
	t.Parallel()
	s, o := bare(t, "bookworm", "")
	before := snap(t, s)
	session := o.Session("root")
	if out, err := session.Run(ringwall + "apply --yes --within 30s 2>&1"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := session.Run(ringwall + "confirm 2>&1"); err == nil || !strings.Contains(out, "began") {
		t.Errorf("confirmed from the session that was open before: %v\n%s", err, out)
	}
	if out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile}, "ringwall", "host", "confirm"); err == nil || !strings.Contains(out, "not an SSH session") {
		t.Errorf("confirmed without a session: %v\n%s", err, out)
	}
	session.Drop()
	s.Await("everything is put back", 3*time.Minute, func() bool { return s.Read("/etc/systemd/system/ringwall-host-rollback.service") == "" })
	same(t, "not confirmed", before, snap(t, s))
	if err := o.GetsIn("root"); err != nil {
		t.Error(err)
	}
}

// TestPowerCut ends the machine in the middle of an apply, and after one that
// waits: when it is up again, all is as it was.
func TestPowerCut(t *testing.T) { onBoth(t, powerCut) }

func powerCut(t *testing.T, s *vps.Server, o *vps.Owner) {
	before := snap(t, s)
	titles := steps(t, o)
	n := len(titles)
	written := slices.Index(titles, "keys only, no root, strong algorithms") + 1 // and sshd reads it with the next start only
	for _, at := range []string{fmt.Sprintf("%d:done", written), fmt.Sprintf("%d:begun", n-1), fmt.Sprintf("%d:done", n), "never"} {
		out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, "HOSTEXEC_FAULT=" + at}, "ringwall", "host", "apply", "--yes")
		if (err == nil) != (at == "never") {
			t.Fatalf("%s: %v\n%s", at, err, out)
		}
		s.PowerCut()
		s.Boot()
		s.Await("everything is put back", 3*time.Minute, func() bool { return s.Read("/etc/systemd/system/ringwall-host-rollback.service") == "" })
		if err := o.GetsIn("root"); err != nil {
			t.Error(err)
		}
		same(t, "power cut at "+at, before, snap(t, s))
	}
	apply(t, o)
	s.PowerCut()
	s.Boot()
	if err := o.GetsIn("deploy"); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	if out, err := o.SSH("deploy", "sudo env "+ringwall+"status"); err != nil {
		t.Errorf("after a restart: %v\n%s", err, out)
	}
	// Its rollback is cut off, too, and goes on after the restart.
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = s.Try("ringwall", "host", "rollback") }()
	s.Await("a first change is undone", time.Minute, func() bool {
		out, _ := s.Try("sh", "-c", "cat /var/lib/ringwall/host/applies/*/journal | tail -n 1")
		return strings.Contains(out, `"undid"`) || strings.Contains(out, `"undone"`)
	})
	s.PowerCut()
	<-ended
	s.Boot()
	s.Await("everything is put back", 3*time.Minute, func() bool { return s.Read("/etc/systemd/system/ringwall-host-rollback.service") == "" })
	same(t, "a confirmed apply is rolled back", before, snap(t, s))
}
