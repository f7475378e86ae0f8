package hostexec

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/host"
)

// before is what a change needs to be undone.
type before struct {
	Files     []fileBefore `json:"files,omitempty"`
	Active    string       `json:"active,omitempty"`    // of a unit, or of a file's reader
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
		b.Active, b.Enabled, err = unitState(run, c.Unit.Name)
	case c.File != nil && c.File.Reader != nil:
		b.Active, _, err = unitState(run, c.File.Reader.Name)
	case c.Package != nil:
		b.Installed, err = installed(run)
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
		now, err := installed(run)
		if err != nil {
			return out, err
		}
		out.New = missingFrom(now, b.Installed)
	case c.Unit != nil:
		err = unit(run, c.Unit)
		if err == nil && c.Unit.Do == host.Restart && b.Active == "active" {
			err = steady(run, c.Unit.Name)
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
		errs = append(errs, a.uninstall(run, s))
	case c.Unit != nil:
		errs = append(errs, unitBack(run, c.Unit, s.before))
	case c.User != nil:
		errs = append(errs, userBack(c.User, s.before))
	case c.Command != nil && len(c.Command.Undo) > 0 && isProgram(c.Command.Undo[0]): // it may be gone, with its package
		_, err := run(c.Command.Undo...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// installed lists every package of which anything is there.
func installed(run runner) ([]string, error) {
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
// when something that was installed later needs one of them. One that cannot be set up
// goes all the same.
func (a *Apply) uninstall(run runner, s Step) error {
	now, err := installed(run)
	if err != nil {
		return err
	}
	came := s.after.New
	var unready error
	if !s.Done {
		_, unready = run("dpkg", "--configure", "-a", "--force-confold")
		came = missingFrom(now, s.before.Installed)
	}
	came = slices.DeleteFunc(slices.Clone(came), func(name string) bool { return !slices.Contains(now, name) })
	if len(came) == 0 {
		return unready // apt may be at it still, and have the lock
	}
	// nginx' package takes its whole folder away, with sites and keys that somebody
	// put there since.
	if slices.Contains(came, "nginx-common") || slices.Contains(came, "nginx") {
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
