package hostexec

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/host"
)

// systemd is one with a few units, as far as the way back asks it.
type systemd struct {
	active  map[string]string
	gone    []string        // without a file
	limited map[string]bool // tried too often: reset-failed first
	busy    time.Time       // until then the port of ssh.socket is another's
	refuses string          // what does not start while ssh.service runs
	sick    string          // cannot read its files again
	dies    map[string]int  // how often one ends right after its start
	ends    time.Time       // when it does
	number  int             // of starts
	chroot  bool            // nothing runs, and nothing is said
	said    []string
}

func (s *systemd) run(argv ...string) (string, error) {
	line := strings.Join(argv[1:], " ")
	name := argv[len(argv)-1]
	if argv[1] != "show" {
		s.said = append(s.said, line)
	}
	if s.chroot {
		return "", nil
	}
	no := errors.New(line + ": failed")
	start := func() error {
		switch {
		case s.active[name] == "active":
			return nil
		case s.limited[name], slices.Contains(s.gone, name), name == "ssh.socket" && time.Now().Before(s.busy), name == s.refuses && s.active["ssh.service"] == "active":
			s.active[name] = "failed"
			return no
		}
		s.number++
		s.active[name] = "active"
		if s.dies[name] > 0 {
			s.dies[name]--
			s.ends = time.Now().Add(time.Second)
		}
		return nil
	}
	if !s.ends.IsZero() && time.Now().After(s.ends) {
		s.active[name], s.ends = "failed", time.Time{}
	}
	switch {
	case argv[0] != "systemctl", argv[1] == "daemon-reload":
	case argv[1] == "reset-failed":
		delete(s.limited, name)
		if s.active[name] == "failed" {
			s.active[name] = "inactive"
		}
	case argv[1] == "start":
		return "", start()
	case argv[1] == "stop":
		s.active[name] = "inactive"
	case strings.HasPrefix(argv[1], "try-"):
		if slices.Contains(s.gone, name) || name == s.sick {
			return "", no
		}
		if argv[1] == "try-restart" && s.active[name] == "active" {
			s.active[name] = "inactive"
			return "", start()
		}
	case strings.Contains(line, "Triggers"):
		return "ssh.service\n", nil
	case strings.Contains(line, "InvocationID"):
		return "ActiveState=" + s.active[name] + "\nInvocationID=" + strings.Repeat("x", s.number), nil
	case argv[1] == "show":
		enabled := "enabled"
		if slices.Contains(s.gone, name) {
			enabled = ""
		}
		return "ActiveState=" + s.active[name] + "\nUnitFileState=" + enabled + "\n", nil
	default:
		return "", errors.New("nobody asks systemd that: " + line)
	}
	return "", nil
}

// TestWhatRanRunsAgain: what ran before a change runs when all is put back, whatever
// has become of it; and the way back says so when it does not.
func TestWhatRanRunsAgain(t *testing.T) {
	read := func(name string, do host.UnitDo) Step {
		return Step{Change: host.Change{File: &host.File{Path: "/x", Reader: &host.Unit{Name: name, Do: do}}}, before: before{Active: "active"}}
	}
	told := func(name string, do host.UnitDo, was string) Step {
		return Step{Change: host.Change{Unit: &host.Unit{Name: name, Do: do}}, before: before{Active: was, Enabled: "enabled"}}
	}
	for _, tt := range []struct {
		name  string
		steps []Step
		s     systemd
		want  string // in the error
		runs  []string
		order string // in what systemd was told
	}{
		{name: "a socket that was only read by a file, and failed",
			steps: []Step{read("ssh.socket", host.Restart)}, s: systemd{active: map[string]string{"ssh.socket": "failed"}}, runs: []string{"ssh.socket"}},
		{name: "its port is never free",
			steps: []Step{read("ssh.socket", host.Restart)}, s: systemd{active: map[string]string{"ssh.socket": "active"}, busy: time.Now().Add(100 * 365 * 24 * time.Hour)}, want: "start -- ssh.socket: failed"},
		{name: "its service runs without it",
			steps: []Step{read("ssh.socket", host.Restart)}, s: systemd{active: map[string]string{"ssh.socket": "failed", "ssh.service": "active"}, refuses: "ssh.socket"}, runs: []string{"ssh.socket"}},
		{name: "a service that was tried too often",
			steps: []Step{read("ssh.service", host.Reload)}, s: systemd{active: map[string]string{"ssh.service": "failed"}, limited: map[string]bool{"ssh.service": true}}, runs: []string{"ssh.service"}},
		{name: "it ends twice right after its start",
			steps: []Step{read("ssh.service", host.Reload)}, s: systemd{active: map[string]string{"ssh.service": "failed"}, dies: map[string]int{"ssh.service": 2}}, runs: []string{"ssh.service"}},
		{name: "it cannot read its files again",
			steps: []Step{read("ssh.service", host.Reload)}, s: systemd{active: map[string]string{"ssh.service": "active"}, sick: "ssh.service"}, want: "try-reload-or-restart -- ssh.service: failed", runs: []string{"ssh.service"}},
		{name: "it was turned off",
			steps: []Step{told("a.service", host.Disable, "active")}, s: systemd{active: map[string]string{"a.service": "inactive"}}, runs: []string{"a.service"}},
		{name: "it ran before its first change, and not before the second",
			steps: []Step{told("a.service", host.Restart, "active"), told("a.service", host.Restart, "failed")}, s: systemd{active: map[string]string{"a.service": "failed"}}, runs: []string{"a.service"}},
		{name: "what did not run does not",
			steps: []Step{told("a.service", host.Enable, "inactive")}, s: systemd{active: map[string]string{"a.service": "inactive"}}},
		{name: "one that is gone stands in nobody's way",
			steps: []Step{told("a.service", host.Restart, "active"), told("b.service", host.Restart, "inactive"), read("ssh.service", host.Reload)},
			s:     systemd{active: map[string]string{"a.service": "inactive", "b.service": "inactive", "ssh.service": "failed"}, gone: []string{"a.service", "b.service"}}, runs: []string{"ssh.service"}},
		{name: "the first comes first, and a socket before its service",
			steps: []Step{read("ssh.service", host.Reload), told("z.service", host.Restart, "active"), told("z.socket", host.Restart, "active")},
			s:     systemd{active: map[string]string{"ssh.service": "failed", "z.service": "failed", "z.socket": "failed"}}, runs: []string{"ssh.service", "z.service", "z.socket"},
			order: "start -- z.socket, start -- ssh.service, start -- z.service"},
		{name: "it had not come up", steps: []Step{told("a.service", host.Disable, "activating")}, s: systemd{active: map[string]string{"a.service": "inactive"}}, runs: []string{"a.service"}, order: "start --no-block -- a.service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := again(tt.s.run, tt.steps)
				if err == nil && tt.want != "" || err != nil && (tt.want == "" || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%v, want %q", err, tt.want)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				time.Sleep(2 * time.Second) // it still runs then
				_, _ = tt.s.run("systemctl", "show", "--", "ssh.service")
				var runs []string
				for name, active := range tt.s.active {
					if active == "active" && (name != "ssh.service" || tt.s.refuses == "") {
						runs = append(runs, name)
					}
				}
				if slices.Sort(runs); !slices.Equal(runs, tt.runs) {
					t.Errorf("%q run, and not %q: %q", runs, tt.runs, tt.s.said)
				}
				starts := slices.DeleteFunc(slices.Clone(tt.s.said), func(l string) bool { return !strings.HasPrefix(l, "start") })
				if got := strings.Join(starts, ", "); tt.order != "" && got != tt.order {
					t.Errorf("started: %s", got)
				}
			})
		})
	}
	t.Run("its port is free in a while", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := systemd{active: map[string]string{"ssh.socket": "active"}, busy: time.Now().Add(5 * time.Second)}
			if err := again(s.run, []Step{read("ssh.socket", host.Restart)}); err != nil || s.active["ssh.socket"] != "active" {
				t.Errorf("%v: %q", err, s.said)
			}
		})
	})
}

// TestAUnitInAChroot: in a rescue system nothing runs that could be started, and units are
// enabled as they were.
func TestAUnitInAChroot(t *testing.T) {
	s := systemd{chroot: true}
	step := Step{Change: host.Change{Unit: &host.Unit{Name: "a.service", Do: host.Disable}}, before: before{Active: "active", Enabled: "enabled"}}
	began := time.Now()
	if err := again(s.run, []Step{step}); err != nil || time.Since(began) > time.Second {
		t.Errorf("%v, after %v", err, time.Since(began))
	}
	if err := unitBack(s.run, step.Change.Unit, step.before); err != nil || !slices.Contains(s.said, "enable -- a.service") {
		t.Errorf("%v: %q", err, s.said)
	}
}
