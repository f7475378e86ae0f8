package host_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestVerdictsOfSudo has what sudo -l of sudo 1.9.13 prints.
func TestVerdictsOfSudo(t *testing.T) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJUkZvDrMpxUFYiTpgZ7GeEoQJdTnUo4XAVOYDtYgH me@laptop\n"
	for _, tt := range []struct {
		rules string
		want  check.Verdict
		got   string
	}{
		{"    (ALL : ALL) ALL\n    (ALL : ALL) NOPASSWD: ALL\n", check.Pass, "sudo"},
		{"    (root) NOPASSWD: ALL\n", check.Pass, "sudo"},
		{"    (www-data, root) NOPASSWD: SETENV: ALL\n", check.Pass, "sudo"},
		{"    (ALL : ALL) ALL\n", check.Fail, "asks deploy for a password"},
		{"    (ALL : ALL) NOPASSWD: ALL\n    (root) ALL\n", check.Fail, "asks deploy for a password"},
		{"    (www-data) ALL\n", check.Fail, "may not do everything as root"},
		{"    (www-data) NOPASSWD: ALL\n", check.Fail, "may not do everything as root"},
		{"    (www-data : root) NOPASSWD: ALL\n", check.Fail, "may not do everything as root"},
		{"    (ALL, !root) NOPASSWD: ALL\n", check.Fail, "may not do everything as root"},
		{"    (root) NOPASSWD: /usr/bin/apt\n", check.Fail, "may not do everything as root"},
		{"    (root) NOPASSWD: ALL, !/usr/bin/su\n", check.Fail, "may not do everything as root"},
	} {
		m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/home/deploy/.ssh/authorized_keys": file(key)}, said: map[string]string{
			"getent passwd -- deploy": "deploy:x:1000:1000::/home/deploy:/bin/bash\n", "id -nG -- deploy": "deploy sudo ssh-login\n",
			"passwd -S -- root": "root L 2026-01-01 0 99999 7 -1\n", "passwd -S -- deploy": "deploy L 2026-01-01 0 99999 7 -1\n",
			"sudo -n -l -U deploy": "Matching Defaults entries for deploy on vps:\n    env_reset, mail_badpass, use_pty\n\nUser deploy may run the following commands on vps:\n" + tt.rules,
		}}
		f, _ := host.Verify("host/deploy-user", policy.Default(), host.NewFacts(m), time.Now())
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
			t.Errorf("%q: %v %q, want %v %q", tt.rules, f.Verdict, f.Got, tt.want, tt.got)
		}
	}
}

// TestRootsPassword: it is locked so that it can be unlocked again, also where it is empty.
func TestRootsPassword(t *testing.T) {
	for state, undo := range map[string]string{"P": "usermod -U root", "NP": "passwd -d root", "L": ""} {
		m := texts{files: map[string]host.FileState{}, said: map[string]string{
			"getent passwd -- deploy": "no", "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- sudo": "installed 1.9\n",
			"passwd -S -- root": "root " + state + "\n", "passwd -S -a": "root " + state + "\n",
		}}
		p := policy.Default()
		p.Host.Keys = []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJUkZvDrMpxUFYiTpgZ7GeEoQJdTnUo4XAVOYDtYgH me@laptop"}
		i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/deploy-user" })
		changes, err := host.Controls()[i].Plan(p, host.NewFacts(m))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range changes {
			if c.Command != nil {
				got += strings.Join(c.Command.Undo, " ")
			}
		}
		if got != undo {
			t.Errorf("%s: undone by %q", state, got)
		}
	}
}
