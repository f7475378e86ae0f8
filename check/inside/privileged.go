package inside

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
)

// mostEntries is how much of a disk is looked at, some seconds of it.
const mostEntries = 1_000_000

// elsewhere are folders with the files of other systems, whose root is not this one's.
var elsewhere = []string{"/proc", "/sys", "/dev", "/run", "/snap", "/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/lxc", "/var/lib/lxd", "/var/lib/machines", "/var/lib/schroot"}

// rootless are the images of containers that a user runs without root.
var rootless = regexp.MustCompile(`/\.local/share/(docker|containers|containerd)$`)

// anything are programs that run or write whatever they are told: with root's
// rights they are root, and no package gives them any.
var anything = regexp.MustCompile(`^([bdz]?a?sh|bash|python[0-9.]*|perl[0-9.]*|ruby[0-9.]*|node(js)?|php[0-9.]*|lua[0-9.]*|tclsh[0-9.]*|gdb|strace|find|env|nice|timeout|xargs|awk|[gm]awk|sed|ed|vi|vim?(\..*)?|nano|less|more|man|cat|tee|dd|cp|mv|install|ln|chmod|chown|tar|zip|rsync|scp|sftp|ssh|curl|wget|nc(\..*)?|socat|busybox|docker|systemctl|systemd-run|setpriv|runuser|unshare|nsenter|chroot|capsh|make|git|openssl)$`)

// privileged finds what an intruder leaves behind to be root again.
var privileged = Check{
	Meta: check.Meta{
		ID:    "inside/privileged",
		Title: "No program makes its caller root but those that a package brought",
		Why:   "One copy of a shell with the right bit set, in a folder that nobody looks at, makes any account root for ever.",
		Ref:   "CIS Debian 12, 7.1; CWE-250; MITRE ATT&CK T1548.001, T1574.006; blueprint H1, T9",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		if m.UID != 0 {
			return check.Unseen("%v", errNotRoot)
		}
		found, err := m.raising(ctx)
		if err != nil {
			return check.Unseen("%d programs that change who runs them, and then: %v; all of them: find / -xdev -perm -4000", len(found), err)
		}
		// What is there is read by every program that starts.
		preload, err := m.head("/etc/ld.so.preload", 1<<16)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return check.Unseen("%v", err)
		}
		loaded := strings.FieldsFunc(string(preload), func(r rune) bool { return strings.ContainsRune(" \t\n:", r) })
		brought, err := m.brought(ctx, append(slices.Clone(found), loaded...))
		if err != nil {
			return check.Unseen("whether packages brought %s: %v", some(append(found, loaded...)), err)
		}
		var strange []string
		for _, name := range loaded {
			if !brought[name] {
				strange = append(strange, name+" (in /etc/ld.so.preload)")
			}
		}
		for _, name := range found {
			if !brought[name] || anything.MatchString(path.Base(name)) {
				strange = append(strange, name)
			}
		}
		if len(strange) > 0 {
			return check.Failed(some(strange), "programs of packages, of which none runs whatever it is told", "chmod u-s "+strange[0]+", or setcap -r; and look for who left it")
		}
		return check.Passed("%d programs change who runs them, and packages brought each", len(found))
	},
}

// raising are the files of this system that run as root whoever starts them, or
// with some of its rights: by their mode, or by capabilities(7).
func (m *Machine) raising(ctx context.Context) (found []string, err error) {
	top, err := os.Stat(m.path("/"))
	if err != nil {
		return nil, err
	}
	root, n := uidOf(top), 0
	dev := devOf(top)
	err = filepath.WalkDir(m.path("/"), func(full string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // it went away
		}
		if n++; n > mostEntries {
			return fmt.Errorf("there are more than %d files", mostEntries)
		}
		if n%1000 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		name := "/" + strings.TrimPrefix(strings.TrimPrefix(full, m.path("/")), "/")
		if e.IsDir() && (slices.Contains(elsewhere, name) || rootless.MatchString(name)) {
			return fs.SkipDir
		}
		if !e.IsDir() && !e.Type().IsRegular() {
			return nil
		}
		fi, err := e.Info()
		switch {
		case err != nil: // it went away
		case e.IsDir():
			if devOf(fi) != dev && raisesNobody(full) {
				return fs.SkipDir
			}
		case fi.Mode().Perm()&0o111 == 0:
		case fi.Mode()&fs.ModeSetuid != 0 && uidOf(fi) == root, capable(full):
			found = append(found, name)
		}
		return nil
	})
	m.note(check.Exchange{Sent: "[every file of this system: mode and capabilities]", Received: fmt.Sprintf("[%d files and folders; root's rights give: %s]", n, strings.Join(found, " "))})
	return found, err
}

// brought are the files that the list of a package names. What is in /usr/bin
// may stand there as in /bin.
func (m *Machine) brought(ctx context.Context, names []string) (map[string]bool, error) {
	if len(names) == 0 {
		return nil, nil
	}
	argv := []string{"dpkg-query", "-S", "--"}
	for _, name := range names {
		argv = append(argv, name)
		if short, ok := strings.CutPrefix(name, "/usr"); ok {
			argv = append(argv, short)
		}
	}
	text, err := m.Run(ctx, argv...) // which ends with 1 when one is nobody's
	known := map[string]bool{}
	for _, line := range lines([]byte(text)) {
		packages, name, ok := strings.Cut(string(line), ": ")
		if ok && !strings.HasPrefix(packages, "diversion") {
			known[name], known["/usr"+name] = true, true
		}
	}
	if err != nil && len(known) == 0 && !strings.Contains(err.Error(), "no path found") {
		return nil, err
	}
	return known, nil
}
