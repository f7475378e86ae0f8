//go:build linux

package vps_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/test/vps"
)

// TestTheTimerTellsOfDrift installs the shipped timer of the check as its service
// says, and lets it fire: once to begin, once after something has got worse, once
// more. Its sandbox hides nothing that root sees without it.
func TestTheTimerTellsOfDrift(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "jammy", "noble"} {
		t.Run(suite, func(t *testing.T) {
			t.Parallel()
			base := suite
			if suite == "bookworm" {
				base = vps.Full // with the programs that are asked
			}
			s, _ := bare(t, base, "")
			if base == vps.Full {
				s.Run("sh", "-c", "ufw allow OpenSSH && ufw --force enable && rm -f /run/ufw.lock")
			}
			for _, unit := range []string{"ringwall-check.service", "ringwall-check.timer"} {
				text, err := os.ReadFile("../../packaging/systemd/" + unit)
				if err != nil {
					t.Fatal(err)
				}
				s.Write("/etc/systemd/system/"+unit, string(text), 0o644)
			}
			// Not for a day, but for a second.
			s.Run("mkdir", "-p", "/etc/systemd/system/ringwall-check.timer.d")
			s.Write("/etc/systemd/system/ringwall-check.timer.d/soon.conf", "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\nPersistent=no\n", 0o644)
			s.Run("systemctl", "daemon-reload")
			s.Run("systemctl", "enable", "ringwall-check.timer")
			const last = "/var/lib/ringwall-check/last.json"
			fires := func() check.Report {
				t.Helper()
				id := func() string {
					return strings.TrimSpace(s.Run("systemctl", "show", "--value", "--property=InvocationID", "ringwall-check.service"))
				}
				before := id()
				s.Run("systemctl", "restart", "ringwall-check.timer")
				s.Await("the timer's check to end", 2*time.Minute, func() bool {
					if id() == before {
						return false // it has not begun: asked first, for it may begin meanwhile
					}
					state := s.Run("systemctl", "show", "--value", "--property=ActiveState", "ringwall-check.service")
					return strings.TrimSpace(state) == "inactive" || strings.TrimSpace(state) == "failed"
				})
				var r check.Report
				text, _ := s.Try("cat", last)
				if err := json.Unmarshal([]byte(text), &r); err != nil {
					t.Fatalf("%s: %v\n%s", last, err, s.Run("journalctl", "--no-pager", "-u", "ringwall-check"))
				}
				return r
			}
			events := func() (out []string) {
				text, _ := s.Try("journalctl", "--no-pager", "-o", "cat", "-u", "ringwall-check", "-g", "check.drifted")
				for line := range strings.Lines(text) {
					if strings.HasPrefix(line, "{") {
						out = append(out, line)
					}
				}
				return out
			}
			s.Write("/root/.bash_history", "ls -la\n", 0o600)
			first := fires()
			if got := events(); len(got) != 0 {
				t.Errorf("the first look tells of drift: %s", got)
			}
			for _, free := range inside(t, s, policyFile).Results {
				if shut := find(first, free.ID); shut.Verdict != free.Verdict {
					t.Errorf("%s is %v, and in the sandbox %v: %s", free.ID, free.Verdict, shut.Verdict, shut.Got)
				}
			}
			if got := find(first, "inside/history"); got.Verdict != check.Pass {
				t.Errorf("before anybody typed a secret: %v: %s", got.Verdict, got.Got)
			}

			s.Write("/root/.bash_history", "export GITHUB_TOKEN=ghp_"+strings.Repeat("a1", 18)+"\n", 0o600)
			second := fires()
			got := events()
			if len(got) != 1 || !strings.Contains(got[0], `"ringwall.control":"inside/history"`) || !strings.Contains(got[0], "pass -> fail") || strings.Contains(got[0], "ghp_") {
				t.Errorf("a secret was typed, and the journal has %q", got)
			}
			if got := find(second, "inside/history"); got.Verdict != check.Fail {
				t.Errorf("after a secret was typed: %v: %s", got.Verdict, got.Got)
			}
			fires()
			if got := events(); len(got) != 1 {
				t.Errorf("the same is told again: %q", got)
			}
			out := s.Run("systemctl", "show", "--property=NextElapseUSecMonotonic,ActiveState", "ringwall-check.timer") +
				s.Run("stat", "-c", "%a %U", last, "/var/lib/ringwall-check", "/var/lib/ringwall-check/last.html")
			contains(t, "the timer and its files", out, "ActiveState=active", "700 root")
			out, _ = s.Try("systemd-analyze", "security", "--no-pager", "ringwall-check.service")
			_, level, _ := strings.Cut(out, "Overall exposure level for ")
			t.Logf("%s; systemd-analyze security: %s", first.Summary(), strings.TrimSpace(level))
		})
	}
}

// TestABackupOfBeforeTheStart: a timer without Persistent= has forgotten its last run
// when the machine starts, and so has systemd; the journal that is kept has not.
func TestABackupOfBeforeTheStart(t *testing.T) {
	t.Parallel()
	s, _ := bare(t, "bookworm", "")
	job := func(does string) {
		s.Write("/etc/systemd/system/backup-api.service", "[Service]\nType=oneshot\nExecStart=/bin/"+does+"\n", 0o644)
		s.Run("systemctl", "daemon-reload")
	}
	look := func(when string, want check.Verdict, said string) {
		t.Helper()
		got := find(inside(t, s, "", "--only", "inside/backups"), "inside/backups")
		if got.Verdict != want || !strings.Contains(got.Got, said) {
			t.Errorf("%s: %v, %q, want %v, %q", when, got.Verdict, got.Got, want, said)
		}
	}
	restart := func() {
		s.Run("journalctl", "--sync")
		s.PowerCut()
		s.Boot()
	}
	s.Run("sh", "-c", "mkdir -p /var/log/journal && journalctl --flush")
	s.Write("/etc/systemd/system/backup-api.timer", "[Timer]\nOnCalendar=*-01-01\n[Install]\nWantedBy=timers.target\n", 0o644)
	job("true")
	s.Run("systemctl", "enable", "--now", "backup-api.timer")
	look("not yet run", check.Unknown, "the journal has no run of the last month")
	s.Run("systemctl", "start", "backup-api.service")
	look("run", check.Pass, "backup-api.timer last ran")
	restart()
	look("after the start", check.Pass, "before the machine started, and ended well")
	job("false")
	if out, err := s.Try("systemctl", "start", "backup-api.service"); err == nil {
		t.Fatalf("a job that fails does not: %s", out)
	}
	restart()
	look("failed before the start", check.Fail, "backup-api.service ended with exit-code")
}
