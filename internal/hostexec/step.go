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

// before is what a change needs to be undone.
type before struct {
	Files     []fileBefore `json:"files,omitempty"`
	Active    string       `json:"active,omitempty"`    // of a unit
	Enabled   string       `json:"enabled,omitempty"`   // of a unit
	Installed []string     `json:"installed,omitempty"` // every package
	Account   bool         `json:"account,omitempty"`   // it was there
	NoGroups  []string     `json:"no_groups,omitempty"` // groups that were missing
	NotIn     []string     `json:"not_in,omitempty"`    // groups that it was not in
}

// after is what a change made of the machine, to tell drift.
type after struct {
	Sums map[string]string `json:"sums,omitempty"` // of files
	New  []string          `json:"new,omitempty"`  // packages
}

// look says how things are before a change, and copies what it will overwrite.
func (a *Apply) look(c host.Change, step int) (b before, err error) {
	for i, path := range paths(c) {
		f, err := a.keep(path, fmt.Sprintf("%03d-%d", step, i), c.File != nil && c.File.Absent)
		if err != nil {
			return b, err
		}
		b.Files = append(b.Files, f)
	}
	switch {
	case c.Unit != nil:
		b.Active, b.Enabled, err = unitState(c.Unit.Name)
	case c.Package != nil:
		b.Installed, err = installed()
	case c.User != nil:
		_, err := run("getent", "passwd", "--", c.User.Name)
		b.Account = err == nil
		in := ""
		if b.Account {
			if in, err = run("id", "-nG", "--", c.User.Name); err != nil {
				return b, err
			}
		}
		for _, group := range c.User.Groups {
			if _, err := run("getent", "group", "--", group); err != nil {
				b.NoGroups = append(b.NoGroups, group)
			}
			if !slices.Contains(strings.Fields(in), group) {
				b.NotIn = append(b.NotIn, group)
			}
		}
	}
	return b, err
}

// paths are the files that a change may write.
func paths(c host.Change) []string {
	switch {
	case c.File != nil:
		return []string{c.File.Path}
	case c.Command != nil:
		return c.Command.Files
	}
	return nil
}

// do makes a change.
func do(c host.Change, b before) (out after, err error) {
	switch {
	case c.File != nil:
		if err := put(c.File); err != nil {
			return out, err
		}
		if len(c.File.Check) > 0 {
			if _, err := run(c.File.Check...); err != nil {
				return out, fmt.Errorf("%s is not taken: %w", c.File.Path, err)
			}
		}
	case c.Package != nil:
		if err := install(c.Package.Names); err != nil {
			return out, err
		}
		now, err := installed()
		if err != nil {
			return out, err
		}
		out.New = missingFrom(now, b.Installed)
	case c.Unit != nil:
		err = unit(c.Unit)
		if err == nil && c.Unit.Do == host.Restart && b.Active == "active" {
			err = steady(c.Unit.Name)
		}
	case c.User != nil:
		err = makeUser(c.User, b)
	case c.Command != nil:
		_, err = run(c.Command.Argv...)
	default:
		return out, errors.New("this change is of no kind")
	}
	for _, path := range paths(c) {
		if out.Sums == nil {
			out.Sums = map[string]string{}
		}
		out.Sums[path] = sumOf(path)
	}
	return out, err
}

// undo is the inverse of do. It does no harm when the change was made in part,
// or not at all, or undone already.
func (a *Apply) undo(s Step) error {
	var errs []error
	for _, f := range slices.Backward(s.before.Files) {
		if err := a.back(f, s.after.Sums[f.Path]); err != nil {
			errs = append(errs, fmt.Errorf("put back %s: %w", f.Path, err))
		}
	}
	switch c := s.Change; {
	case c.Package != nil:
		errs = append(errs, a.uninstall(s))
	case c.Unit != nil:
		errs = append(errs, unitBack(c.Unit, s.before))
	case c.User != nil:
		errs = append(errs, userBack(c.User, s.before))
	case c.Command != nil && len(c.Command.Undo) > 0:
		_, err := run(c.Command.Undo...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func unitState(name string) (active, enabled string, err error) {
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

func unit(u *host.Unit) error {
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
		err = fmt.Errorf("%w%s", err, lastWords(u.Name))
	}
	return err
}

// steady returns when a unit that was just started has run for as long as a program
// takes that meets at once what it may not do, and an error when it ended or was
// started again by then: systemctl is content once there is a process.
func steady(name string) error {
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
			return fmt.Errorf("%s ended right after its start%s", name, lastWords(name))
		case time.Now().After(end):
			return nil
		}
	}
	return err
}

// lastWords are the last lines of a unit's journal, for who has to know why it
// does not run: systemctl only says where to look, and after the rollback there
// is nothing left to look at. "" when there are none.
func lastWords(name string) string {
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

func unitBack(u *host.Unit, b before) error {
	if u.Do == host.Reload || u.Do == host.Restart {
		return nil // when all files are back: see again
	}
	var errs []error
	sys := func(verb string) {
		_, err := run("systemctl", verb, "--", u.Name)
		errs = append(errs, err)
	}
	if u.Do == host.Mask && b.Enabled != "masked" {
		sys("unmask")
	}
	switch b.Enabled {
	case "enabled":
		sys("enable")
	case "disabled":
		sys("disable")
	}
	switch b.Active {
	case "active", "activating", "reloading":
		sys("start")
	default:
		if _, now, _ := unitState(u.Name); now != "" || b.Enabled != "" { // it may be gone, with its package
			sys("stop")
		}
	}
	return errors.Join(errs...)
}

// again has the units that were told to read their files, and the readers of files
// that went back, read them once more. One that ran before, and does not since, is
// started.
func again(steps []Step) error {
	var errs []error
	_, err := run("systemctl", "daemon-reload")
	errs = append(errs, err)
	told := map[host.Unit]bool{}
	for _, s := range slices.Backward(steps) {
		u := s.Change.Unit
		if f := s.Change.File; f != nil && f.Reader != nil && !told[*f.Reader] {
			u = f.Reader
		}
		if u == nil || u.Do != host.Reload && u.Do != host.Restart {
			continue
		}
		told[*u] = true
		err := unit(u)
		if now, _, e := unitState(u.Name); e == nil && s.before.Active == "active" && now != "active" {
			_, _ = run("systemctl", "reset-failed", "--", u.Name) // it may have tried too often
			_, err = run("systemctl", "start", "--", u.Name)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// installed lists every package of which anything is there.
func installed() ([]string, error) {
	out, err := run("dpkg-query", "-W", "-f", "${db:Status-Status} ${binary:Package}\n")
	var names []string
	for line := range strings.Lines(out) {
		state, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if state != "not-installed" && state != "config-files" {
			names = append(names, name)
		}
	}
	return names, err
}

func missingFrom(all, from []string) (out []string) {
	for _, name := range all {
		if !slices.Contains(from, name) {
			out = append(out, name)
		}
	}
	return out
}

const aptWait = "DPkg::Lock::Timeout=300"

func install(names []string) error {
	argv := slices.Concat([]string{"apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", aptWait, "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"}, names)
	if _, err := run(argv...); err == nil {
		return nil
	}
	// Old lists name packages that the mirror no longer has.
	if _, err := run("apt-get", "update", "-q", "-o", aptWait); err != nil {
		return err
	}
	_, err := run(argv...)
	return err
}

// uninstall removes the packages that came with a step, and no others: it fails
// when something that was installed later needs one of them.
func (a *Apply) uninstall(s Step) error {
	now, err := installed()
	if err != nil {
		return err
	}
	came := s.after.New
	if !s.Done {
		if _, err := run("dpkg", "--configure", "-a", "--force-confold"); err != nil {
			return err
		}
		came = missingFrom(now, s.before.Installed)
	}
	came = slices.DeleteFunc(slices.Clone(came), func(name string) bool { return !slices.Contains(now, name) })
	if len(came) == 0 {
		return nil
	}
	// nginx' package takes its whole folder away, with sites and keys that somebody
	// put there since.
	if slices.Contains(came, "nginx-common") {
		if err := a.asideFolder("/etc/nginx"); err != nil {
			return err
		}
	}
	_, err = run(slices.Concat([]string{"dpkg", "--purge"}, came)...)
	return err
}

func makeUser(u *host.User, b before) error {
	for _, group := range b.NoGroups {
		if _, err := run("groupadd", "--system", "--", group); err != nil {
			return err
		}
	}
	if !b.Account {
		if _, err := run("useradd", "--create-home", "--user-group", "--shell", "/bin/bash", "--", u.Name); err != nil {
			return err
		}
	}
	for _, group := range b.NotIn {
		if _, err := run("usermod", "-a", "-G", group, "--", u.Name); err != nil {
			return err
		}
	}
	return nil
}

func userBack(u *host.User, b before) error {
	var errs []error
	there := func(kind, name string) bool {
		_, err := run("getent", kind, "--", name)
		return err == nil
	}
	switch {
	case b.Account:
		in, _ := run("id", "-nG", "--", u.Name)
		for _, group := range b.NotIn {
			if slices.Contains(strings.Fields(in), group) {
				_, err := run("gpasswd", "-d", u.Name, group)
				errs = append(errs, err)
			}
		}
	case there("passwd", u.Name):
		_, err := run("userdel", "--force", "--remove", "--", u.Name)
		errs = append(errs, err)
	}
	for _, group := range b.NoGroups {
		if there("group", group) {
			_, err := run("groupdel", "--", group)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
