package host

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
)

// Container is the kind of container that this server is, such as lxc, and ""
// when it has a kernel of its own.
func (f *Facts) Container() (string, error) {
	said, err := f.ask(askContainer)
	kind := strings.TrimSpace(said)
	var no *Refusal
	switch {
	case kind == "none" && (err == nil || errors.As(err, &no)):
		return "", nil
	case err == nil && kind == "":
		err = errors.New("systemd-detect-virt: an empty answer")
	}
	return kind, err
}

// notOurs is the finding about what belongs to the machine around a container.
func notOurs(kind, what string) check.Finding {
	return check.Moot("%s of the machine around this container (%s): look there", what, kind)
}

// Setting is a setting of the kernel as it is in force, such as
// net.ipv4.tcp_syncookies; there is none by that name when there is false.
func (f *Facts) Setting(name string) (value string, there bool, err error) {
	s, err := f.File("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(s.Content), s.Exists, err
}

// LoadedModules are the modules that the kernel has loaded, each with the
// number of its uses; none in a container, which has no kernel.
func (f *Facts) LoadedModules() (map[string]int, error) {
	loaded := map[string]int{}
	if kind, err := f.Container(); err != nil || kind != "" {
		return loaded, err
	}
	s, err := f.File("/proc/modules")
	for line := range strings.Lines(s.Content) {
		if field := strings.Fields(line); len(field) > 2 { // name, size, uses
			loaded[field[0]], _ = strconv.Atoi(field[2])
		}
	}
	return loaded, err
}

// BuiltinModules are those that are part of the kernel that runs, by the list that it
// came with.
func (f *Facts) BuiltinModules() (map[string]bool, error) {
	release, err := f.File("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, err
	}
	name := "/lib/modules/" + strings.TrimSpace(release.Content) + "/modules.builtin"
	list, err := f.File(name)
	if err == nil && !list.Exists {
		err = errors.New("there is no " + name)
	}
	builtin := map[string]bool{}
	for line := range strings.Lines(list.Content) { // kernel/net/sctp/sctp.ko
		module := strings.TrimSuffix(path.Base(strings.TrimSpace(line)), ".ko")
		builtin[strings.ReplaceAll(module, "-", "_")] = true
	}
	return builtin, err
}

// A Mount is a mounted file system with the flags of the mount itself.
type Mount struct {
	Point string
	Kind  string
	Flags []string
}

// Uptime is for how long the machine runs.
func (f *Facts) Uptime() (time.Duration, error) {
	file, err := f.File("/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(file.Content, " ")
	d, err := time.ParseDuration(first + "s")
	if err != nil {
		return 0, fmt.Errorf("/proc/uptime: %w", err)
	}
	return d, nil
}

// MountAt is the mount that is seen at a point, nil when nothing is mounted there.
func (f *Facts) MountAt(point string) (*Mount, error) {
	m, err := f.MountOf(point)
	if err != nil || m.Point != point {
		return nil, err
	}
	return m, nil
}

// MountOf is the mount that a file lies in.
func (f *Facts) MountOf(of string) (*Mount, error) {
	s, err := f.File("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var found *Mount
	for line := range strings.Lines(s.Content) {
		// 36 35 98:0 /root /point flags,... [optional...] - type source options
		left, right, ok := strings.Cut(line, " - ")
		field, kind := strings.Fields(left), strings.Fields(right)
		if !ok || len(field) < 6 || len(kind) < 1 {
			continue
		}
		point := field[4]
		in := point == of || strings.HasPrefix(of, strings.TrimSuffix(point, "/")+"/")
		if in && (found == nil || len(point) >= len(found.Point)) { // the last one lies on top
			found = &Mount{Point: point, Kind: kind[0], Flags: strings.Split(field[5], ",")}
		}
	}
	if found == nil {
		err = fmt.Errorf("/proc/self/mountinfo has no mount of %s", of)
	}
	return found, err
}

// SharedNetwork reports that the network's settings cannot be set here, and the
// kind of container that is so made; "" when they can.
func (f *Facts) SharedNetwork() (string, error) {
	kind, err := f.Container()
	if err != nil || kind == "" {
		return "", err
	}
	m, err := f.MountOf("/proc/sys/net")
	if err != nil || !slices.Contains(m.Flags, "ro") {
		return "", err
	}
	return kind, nil
}
