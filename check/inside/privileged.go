package inside

import (
	"bytes"
	"cmp"
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
	"time"

	"github.com/ringwall/ringwall/check"
)

// How much of a disk is looked at: enough files, more than most servers have, however
// long that takes; of more, as many as are seen in a while from the start.
var (
	enough = 250_000
	awhile = 15 * time.Second
)

// elsewhere are folders with the files of other systems, whose root is not this one's;
// see storages for those that were moved.
var elsewhere = []string{"/proc", "/sys", "/dev", "/run",
	"/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/lxc", "/var/lib/lxd", "/var/lib/incus", "/var/lib/machines", "/var/lib/schroot",
	"/var/lib/rancher", "/var/lib/kubelet", "/var/snap/docker", "/var/snap/lxd", "/var/snap/microk8s", "/var/cache/pbuilder"}

// tops are walked in this order: last those that others than root can fill, so that
// they hide nothing elsewhere.
var tops = []string{"/usr", "/etc", "/opt", "/root", "/srv", "/", "/var", "/tmp", "/home"}

// anything are programs that run or write whatever they are told: with root's
// rights they are root, and no package gives them any.
var anything = regexp.MustCompile(`^(([bd]?a|rba|z|[a-z]*k|t?c|bsd-c|fi)?sh[0-9.]*(-static)?|ld(64|-.*)?\.so(\..*)?|python[0-9.]*(-.*)?|perl[0-9.]*(-.*)?|ruby[0-9.]*|node(js)?|php[0-9.]*|lua[0-9.]*|tclsh[0-9.]*|gdb|strace|find|env|nice|ionice|taskset|flock|stdbuf|timeout|start-stop-daemon|screen|tmux|xargs|awk|[gm]awk|sed|ed|vi|vim?(\..*)?|nano|less|more|man|cat|base64|tee|dd|cp|mv|install|ln|chmod|chown|tar|zip|rsync|scp|sftp|ssh|curl|wget|nc(\..*)?|socat|busybox|docker|systemctl|systemd-run|setpriv|runuser|unshare|nsenter|chroot|capsh|make|git|openssl)$`)

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
		found, rerr := m.raising(ctx)
		loaded, lerr := m.preloaded()
		brought, berr := m.brought(ctx, append(slices.Clone(found), loaded...))
		var strange []string
		for _, name := range found {
			if berr == nil && !brought[name] || anything.MatchString(path.Base(name)) {
				strange = append(strange, name)
			}
		}
		for _, name := range loaded {
			if berr == nil && !brought[name] {
				strange = append(strange, name+" (in /etc/ld.so.preload)")
			}
		}
		switch { // what was found is bad, whatever else could not be seen
		case len(strange) > 0:
			return check.Failed(some(strange), "programs of packages, of which none runs whatever it is told", "chmod u-s "+strange[0]+", or setcap -r; and look for who left it")
		case rerr != nil:
			return check.Unseen("%d programs that change who runs them, and then: %v; all of them: find / -xdev -perm -4000", len(found), rerr)
		case lerr != nil:
			return check.Unseen("%v", lerr)
		case berr != nil:
			return check.Unseen("whether packages brought %s: %v", some(append(found, loaded...)), berr)
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
	if end, ok := ctx.Deadline(); ok { // what was found is to be judged, too
		var done context.CancelFunc
		ctx, done = context.WithDeadline(ctx, end.Add(-time.Until(end)/4))
		defer done()
	}
	n, dev, root, began := 0, devOf(top), m.root(), time.Now()
	own := m.storages()
	var lost error
	miss := func(full string, err error) { // it went away, is a user's FUSE, or has a path that is too long
		if !absent(err) && !raisesNobody(full) {
			lost = cmp.Or(lost, err)
		}
	}
	see := func(name, full string, e fs.DirEntry) error {
		switch n++; {
		case n%1000 != 0:
		case n > enough && time.Since(began) > awhile:
			return fmt.Errorf("there are more than the %d files that were looked at in %v", n, awhile)
		case ctx.Err() != nil:
			return ctx.Err()
		}
		if !e.IsDir() && !e.Type().IsRegular() {
			return nil
		}
		fi, err := e.Info()
		switch {
		case err != nil:
			miss(full, err)
		case e.IsDir():
			if devOf(fi) != dev && raisesNobody(full) || m.stored(own, name, fi) {
				return fs.SkipDir
			}
		case fi.Mode().Perm()&0o111 == 0:
		case fi.Mode()&fs.ModeSetuid != 0 && uidOf(fi) == root, capable(full):
			found = append(found, name)
		}
		return nil
	}
	for _, first := range tops {
		err = filepath.WalkDir(m.path(first), func(full string, e fs.DirEntry, err error) error {
			if err != nil {
				miss(full, err)
				return nil
			}
			name := "/" + strings.TrimPrefix(strings.TrimPrefix(full, m.path("/")), "/")
			if e.IsDir() && (slices.Contains(elsewhere, name) || name != first && slices.Contains(tops, name)) {
				return fs.SkipDir
			}
			return see(name, full, e)
		})
		if err != nil {
			break
		}
	}
	m.note(check.Exchange{Sent: "[every file of this system: mode and capabilities]", Received: fmt.Sprintf("[%d files and folders; root's rights give: %s]", n, strings.Join(found, " "))})
	return found, cmp.Or(err, lost)
}

// storages are where container engines keep the files of containers, when root has
// said so in their settings. What stands on a command line is not looked for.
func (m *Machine) storages() (folders []string) {
	for file, setting := range map[string]*regexp.Regexp{
		"/etc/docker/daemon.json":      regexp.MustCompile(`"(?:data-root|graph)"\s*:\s*"(/[^"\\]+)"`),
		"/etc/containers/storage.conf": regexp.MustCompile(`(?m)^\s*(?:graphroot|imagestore)\s*=\s*["'](/[^"'\\]+)["']`),
		"/etc/containerd/config.toml":  regexp.MustCompile(`(?m)^root\s*=\s*["'](/[^"'\\]+)["']`),
	} {
		text, err := m.head(file, 1<<16)
		if err != nil {
			continue // then nothing is left out
		}
		for _, found := range setting.FindAllSubmatch(text, -1) {
			folders = append(folders, path.Clean(string(found[1])))
		}
	}
	return folders
}

// stored reports a folder of a container engine's that only root enters, so that
// nobody starts what is in it: the settings alone are not believed, as an intruder
// could name a folder of his there.
func (m *Machine) stored(storages []string, name string, fi fs.FileInfo) bool {
	if fi.Mode().Perm()&0o007 != 0 || uidOf(fi) != m.root() || gidOf(fi) != 0 && m.hasMembers(gidOf(fi)) {
		return false
	}
	return slices.ContainsFunc(storages, func(s string) bool { return s != "/" && (name == s || strings.HasPrefix(name, s+"/")) })
}

// preloaded are the libraries that every program reads that starts.
func (m *Machine) preloaded() ([]string, error) {
	const most = 1 << 16
	b, err := m.head("/etc/ld.so.preload", most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(b) == most:
		return nil, errors.New("/etc/ld.so.preload is too long to be read")
	}
	// A comment is what glibc takes for one: it looks for each # from the start of
	// the file again, but only as far as bytes are left, and so reads some of them.
	for rest := len(b); ; {
		at := bytes.IndexByte(b[:rest], '#')
		if at < 0 {
			break
		}
		for rest -= at; ; at++ {
			b[at] = ' '
			if rest--; rest == 0 || b[at+1] == '\n' {
				break
			}
		}
	}
	return strings.FieldsFunc(string(b), func(r rune) bool { return strings.ContainsRune(" \t\n:", r) }), nil
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
