//go:build linux

package vps_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/test/vps"
)

// TestVerbs goes through what an operator does in the weeks after, on one server.
func TestVerbs(t *testing.T) {
	t.Parallel()
	s, o := prepared(t, "")
	s.Run("useradd", "-m", "-s", "/bin/bash", "alice")
	before := snap(t, s)

	// Nobody but root.
	for _, verb := range []string{"plan", "apply --yes", "confirm", "rollback", "status"} {
		out, err := s.Try("su", "alice", "-c", ringwall+verb)
		if err == nil || !strings.Contains(out, "only root") || !strings.Contains(out, "next: sudo ringwall host") {
			t.Errorf("%s as alice: %v\n%s", verb, err, out)
		}
	}
	if out, err := o.SSH("root", ringwall+"apply"); err == nil || !strings.Contains(out, "Nobody can be asked here") {
		t.Errorf("apply without --yes: %v\n%s", err, out)
	}
	if out, err := o.SSH("root", ringwall+"status"); err == nil || !strings.Contains(out, "FAIL") || !strings.Contains(out, "No apply is in force.") {
		t.Errorf("status of a bare server: %v\n%s", err, out)
	}
	for _, verb := range []string{"confirm --console", "rollback"} {
		if out, _ := s.RunEnv(nil, append([]string{"ringwall", "host"}, strings.Fields(verb)...)...); !strings.Contains(out, "nothing to") {
			t.Errorf("%s on a bare server: %s", verb, out)
		}
	}
	same(t, "asked only", before, snap(t, s))

	// A waiver: the firewall is left alone, and shown.
	door(s, "", "host/firewall")
	if out := o.MustSSH("root", ringwall+"plan"); strings.Contains(out, "host/firewall") {
		t.Errorf("a waived control is planned:\n%s", out)
	}
	if out, _ := o.SSH("root", ringwall+"status"); !strings.Contains(out, "WAIVED") || !strings.Contains(out, "somebody else's firewall does it") {
		t.Errorf("status does not show the waiver:\n%s", out)
	}
	door(s, "")

	// The link drops while changes are made, terminal and all: they are finished.
	session := o.Session("root")
	for _, terminal := range []string{"sh -c", "script -qc"} { // no terminal, and one of its own, as in tmux
		name, _, _ := strings.Cut(terminal, " ")
		line := "until [ -e /run/confirm ]; do sleep 0.2; done; (" + ringwall + "confirm --console; echo ended) >/run/said-" + name + " 2>&1"
		if out, err := session.Run("setsid -f " + terminal + " '" + line + "' /dev/null >/dev/null 2>&1 </dev/null"); err != nil {
			t.Fatalf("%s: %v\n%s", terminal, err, out)
		}
	}
	go session.Run("HOSTEXEC_FAULT=3:begun HOSTEXEC_FAULT_RUN='touch /run/third; sleep 2' " + ringwall + "apply --yes 2>&1")
	s.Await("the third change", time.Minute, func() bool { _, err := s.Try("test", "-e", "/run/third"); return err == nil })
	session.Drop()
	s.Await("the apply ends", time.Minute, func() bool {
		out, _ := o.SSH("deploy", "sudo env "+ringwall+"status")
		return strings.Contains(out, "NOT CONFIRMED")
	})
	if out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile}, "ringwall", "host", "apply", "--yes"); err == nil && !strings.Contains(out, "nothing to do") {
		t.Errorf("applied twice: %s", out)
	}
	if out, err := o.SSH("deploy", "sudo env "+ringwall+"confirm --console"); err == nil {
		t.Errorf("confirmed as a console over SSH: %s", out)
	}
	// What the session of before left running is no console.
	s.Run("touch", "/run/confirm")
	for _, name := range []string{"sh", "script"} {
		said := func() string { out, _ := s.Try("cat", "/run/said-"+name); return out }
		s.Await("what "+name+" left running confirms", 30*time.Second, func() bool { return strings.Contains(said(), "ended") })
		if !strings.Contains(said(), "not seen to be the server's console") || !strings.Contains(said(), "next: from your own machine, anew") {
			t.Errorf("confirmed by what an SSH session left running in %s: %s", name, said())
		}
	}
	o.MustSSH("deploy", "sudo env "+ringwall+"confirm")
	if out, err := o.SSH("deploy", "sudo env "+ringwall+"confirm"); err == nil || !strings.Contains(out, "confirmed already") {
		t.Errorf("confirmed twice: %v %s", err, out)
	}
	drift(t, s, o)

	// And back to the first day.
	s.Run("ringwall", "host", "rollback")
	same(t, "rolled back", before, snap(t, s))
	if err := o.GetsIn("root"); err != nil {
		t.Error(err)
	}
}

// drift changes by hand what was set: it is shown, and never overwritten
// without a word.
func drift(t *testing.T, s *vps.Server, o *vps.Owner) {
	t.Helper()
	const file = "/etc/ssh/sshd_config.d/00-ringwall.conf"
	set := s.Read(file)
	s.Write(file, strings.ReplaceAll(set, "PasswordAuthentication no", "PasswordAuthentication yes"), 0o600)
	s.Run("systemctl", "reload", "ssh")
	s.Run("ufw", "allow", "9000/tcp")
	out, err := o.SSH("deploy", "sudo env "+ringwall+"status")
	if err == nil {
		t.Error("status is content with a hand's work")
	}
	contains(t, "status", out, "drift: host/ssh: "+file+" was changed", "drift: host/firewall: /etc/ufw/user.rules was changed", "passwordauthentication is yes", "9000")
	out, err = o.SSH("deploy", "sudo env "+ringwall+"apply --yes 2>&1")
	if err == nil || !strings.Contains(out, "changed by hand since") || !strings.Contains(s.Read(file), "PasswordAuthentication yes") {
		t.Errorf("overwritten: %v\n%s", err, out)
	}
	out = o.MustSSH("deploy", "sudo env "+ringwall+"apply --yes --overwrite --json 2>/dev/null")
	var said struct{ Phase string }
	if err := json.Unmarshal([]byte(out), &said); err != nil || said.Phase != "applied" {
		t.Errorf("apply --json: %v\n%s", err, out)
	}
	s.Run("ringwall", "host", "confirm", "--console")
	out, err = o.SSH("deploy", "sudo env "+ringwall+"status --json 2>/dev/null")
	var status struct {
		Phase string
		Drift []any
	}
	if e := json.Unmarshal([]byte(out), &status); err != nil || e != nil || status.Phase != "confirmed" || len(status.Drift) > 0 {
		t.Errorf("status after it was overwritten: %v, %v\n%s", err, e, out)
	}
	if s.Read(file) != set {
		t.Error("the drop-in is not as it was set")
	}
	// What was overwritten comes back first, then what was there before.
	s.Run("ringwall", "host", "rollback")
	if !strings.Contains(s.Read(file), "PasswordAuthentication yes") {
		t.Error("the hand's work did not come back")
	}
	s.Write(file, set, 0o600)
	s.Run("ufw", "delete", "allow", "9000/tcp")
	s.Run("systemctl", "reload", "ssh")
}

// TestTheDiskFills has other programs fill the disk in the middle of an apply.
func TestTheDiskFills(t *testing.T) {
	t.Parallel()
	s, o := prepared(t, "")
	before := snap(t, s)
	n := len(steps(t, o))
	for _, at := range []int{2, n - 2} {
		out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, fmt.Sprintf("HOSTEXEC_FAULT=%d:done", at),
			"HOSTEXEC_FAULT_RUN=dd if=/dev/zero of=/filler bs=1M; dd if=/dev/zero of=/filler2 bs=1k; true"}, "ringwall", "host", "apply", "--yes")
		if err == nil || !strings.Contains(out, "everything is as it was") {
			t.Errorf("%d: %v\n%s", at, err, out)
		}
		s.Run("rm", "-f", "/filler", "/filler2")
		same(t, fmt.Sprintf("the disk was full at %d", at), before, snap(t, s))
		if err := o.GetsIn("root"); err != nil {
			t.Error(err)
		}
	}
	apply(t, o)
}

// TestPuttingBackIsTriedAgain: what could not be put back at once is soon tried again, and
// not at the end of the time to confirm.
func TestPuttingBackIsTriedAgain(t *testing.T) {
	t.Parallel()
	s, o := prepared(t, "")
	before := snap(t, s)
	step := slices.Index(steps(t, o), "keys only, no root, strong algorithms") + 1
	shut := ""
	for _, dir := range []string{"/etc/ssh/sshd_config.d", "/etc/ufw"} {
		shut += "mount --bind " + dir + " " + dir + " && mount -o remount,ro,bind " + dir + "; "
	}
	out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, fmt.Sprintf("HOSTEXEC_FAULT=%d:noted", step), "HOSTEXEC_FAULT_RUN=" + shut}, "ringwall", "host", "apply", "--yes", "--within", "1h")
	if err == nil || !strings.Contains(out, "not everything could be put back") {
		t.Fatalf("%v\n%s", err, out)
	}
	s.Run("umount", "/etc/ssh/sshd_config.d", "/etc/ufw")
	s.Await("everything is put back", time.Minute, func() bool { return s.Read("/etc/systemd/system/ringwall-host-rollback.service") == "" })
	same(t, "put back later", before, snap(t, s))
	if err := o.GetsIn("root"); err != nil {
		t.Error(err)
	}
}
