package hostexec

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ringwall/ringwall/host"
)

// A runner runs a command, and returns what it wrote: run, or a test's own.
type runner func(argv ...string) (string, error)

// unitState is a unit as systemd has it; enabled is "" of one that has no file, and both
// are where no systemd runs, as in the chroot of a rescue system: nothing runs then, and
// what is enabled can be changed all the same.
func unitState(run runner, name string) (active, enabled string, err error) {
	out, err := run("systemctl", "show", "--property=ActiveState,UnitFileState", "--", name)
	for line := range strings.Lines(out) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), "="); key {
		case "ActiveState":
			active = value
		case "UnitFileState":
			enabled = value
		}
	}
	return active, enabled, err
}

func unit(run runner, u *host.Unit) error {
	if _, err := run("systemctl", "daemon-reload"); err != nil {
		return err
	}
	verb := map[host.UnitDo][]string{
		host.Enable: {"enable", "--now"}, host.Disable: {"disable", "--now"}, host.Mask: {"mask", "--now"},
		host.Reload: {"try-reload-or-restart"}, host.Restart: {"try-restart"},
	}[u.Do]
	if verb == nil {
		return fmt.Errorf("nothing is known to %q a unit", u.Do)
	}
	_, err := run(slices.Concat([]string{"systemctl"}, verb, []string{"--", u.Name})...)
	if err != nil {
		err = fmt.Errorf("%w%s", err, lastWords(run, u.Name))
	}
	return err
}

// steady returns when a unit that was just started has run for as long as a program
// takes that meets at once what it may not do, and an error when it ended or was
// started again by then: systemctl is content once there is a process.
func steady(run runner, name string) error {
	show := func() (string, error) {
		return run("systemctl", "show", "--property=ActiveState,InvocationID", "--", name)
	}
	begun, err := show()
	for end := time.Now().Add(3 * time.Second); err == nil; time.Sleep(200 * time.Millisecond) {
		now, failed := show()
		switch {
		case failed != nil:
			return failed
		case now != begun || !strings.Contains(now, "ActiveState=active"):
			return fmt.Errorf("%s ended right after its start%s", name, lastWords(run, name))
		case time.Now().After(end):
			return nil
		}
	}
	return err
}

// lastWords are the last lines of a unit's journal, for who has to know why it
// does not run: systemctl only says where to look, and after the rollback there
// is nothing left to look at. "" when there are none.
func lastWords(run runner, name string) string {
	_, _ = run("journalctl", "--sync") // what was just written comes, too
	out, err := run("journalctl", "-u", name, "-n", "10", "--no-pager", "-q", "-o", "cat")
	if err != nil {
		return ""
	}
	var b strings.Builder
	for line := range strings.Lines(out) {
		// What a service wrote is shown, and not done, by a terminal.
		line = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return -1
			}
			return r
		}, strings.ReplaceAll(line, "\t", " "))
		if r := []rune(line); len(r) > 300 {
			line = string(r[:300]) + "..."
		}
		if line != "" {
			b.WriteString("\n    " + line)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\n  the last that " + name + " wrote:" + b.String()
}

// unitBack is for what a unit is told for good. Whether it runs is seen to once all
// files are back, by again; but for one that did not, which has to let go of them.
func unitBack(run runner, u *host.Unit, b before) error {
	if u.Do == host.Reload || u.Do == host.Restart {
		return nil
	}
	var errs []error
	sys := func(verb string) {
		_, err := run("systemctl", verb, "--", u.Name)
		errs = append(errs, err)
	}
	if u.Do == host.Mask && b.Enabled != "masked" {
		sys("unmask")
	}
	active, enabled, err := unitState(run, u.Name)
	errs = append(errs, err)
	if enabled != "" || active == "" { // it may be gone, with its package
		switch b.Enabled {
		case "enabled":
			sys("enable")
		case "disabled":
			sys("disable")
		}
	}
	if !b.ran() && (enabled != "" || active != "inactive") {
		sys("stop")
	}
	return errors.Join(errs...)
}

// ran reports a unit that did what it is for.
func (b before) ran() bool {
	return slices.Contains([]string{"active", "activating", "reloading"}, b.Active)
}

// again has the units that were told to read their files, and the readers of files
// that went back, read them once more; and every unit run that ran before its first
// change. The first of the plan comes first, which is the way in.
func again(run runner, steps []Step) error {
	var errs []error
	_, err := run("systemctl", "daemon-reload")
	errs = append(errs, err)
	var names []string
	first, told := map[string]before{}, map[host.Unit]bool{}
	for _, s := range steps {
		u := s.Change.Unit
		if f := s.Change.File; f != nil {
			u = f.Reader
		}
		if u == nil {
			continue
		}
		if _, seen := first[u.Name]; !seen {
			names = append(names, u.Name)
			first[u.Name] = s.before
		}
		if u.Do != host.Reload && u.Do != host.Restart || told[*u] {
			continue
		}
		told[*u] = true
		if active, enabled, err := unitState(run, u.Name); err == nil && enabled == "" && active != "" {
			continue // it is gone
		}
		err := unit(run, u)
		if active, _, e := unitState(run, u.Name); e != nil || active == "active" || !first[u.Name].ran() { // else it is started below
			errs = append(errs, err)
		}
	}
	// What starts a service comes before the service.
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	for _, name := range names {
		if first[name].ran() {
			errs = append(errs, runAgain(run, name, first[name]))
		}
	}
	return errors.Join(errs...)
}

func rank(unit string) int {
	if strings.HasSuffix(unit, ".socket") {
		return 0
	}
	return 1
}

// runAgain returns once a unit runs that ran before. One that failed is not started by
// systemd as long as that is remembered; the port that it wants may take a moment to
// be free; and a socket is refused while the service that it starts runs without it.
func runAgain(run runner, name string, b before) error {
	for end := time.Now().Add(settle); ; time.Sleep(time.Second) {
		active, enabled, err := unitState(run, name)
		switch {
		case err == nil && (active == "active" || active == "" || active == "inactive" && enabled == ""):
			return nil
		case b.Active == "activating": // it may never have come to more
			_, err := run("systemctl", "start", "--no-block", "--", name)
			return err
		}
		_, _ = run("systemctl", "reset-failed", "--", name)
		if _, err = run("systemctl", "start", "--", name); err == nil {
			err = steady(run, name)
		}
		if err == nil || time.Now().After(end) {
			return err
		}
		if rank(name) == 0 {
			if starts, _ := run("systemctl", "show", "--property=Triggers", "--value", "--", name); strings.TrimSpace(starts) != "" {
				_, _ = run(append([]string{"systemctl", "stop", "--"}, strings.Fields(starts)...)...)
			}
		}
	}
}
