package host

import (
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// What everybody may write to, and so nobody shall run anything from.
var sharedFolders = []string{"/tmp", "/dev/shm"}

var mountFlags = []string{"nosuid", "nodev", "noexec"}

const mountsUnit = "ringwall-mounts.service"

// mountsService sets the flags of what is mounted, and lays /tmp over itself
// where it is part of a larger file system: what is in it stays in sight, and
// it takes no memory, as a tmpfs would.
const mountsService = `# Written by ringwall host apply.
[Unit]
Description=Nothing runs from /tmp and /dev/shm
DefaultDependencies=no
Conflicts=umount.target
After=local-fs.target tmp.mount
Before=sysinit.target umount.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'mountpoint -q /tmp || { mount --bind /tmp /tmp && touch /run/ringwall-tmp; }'
ExecStart=mount -o remount,bind,nosuid,nodev,noexec /tmp
ExecStart=mount -o remount,bind,nosuid,nodev,noexec /dev/shm
ExecStop=-mount -o remount,bind,nosuid,nodev,exec /dev/shm
ExecStop=-/bin/sh -c 'if test -e /run/ringwall-tmp; then umount -l /tmp && rm /run/ringwall-tmp; else mount -o remount,bind,nosuid,nodev,exec /tmp; fi'

[Install]
WantedBy=sysinit.target
`

var mounts = Control{
	Meta: check.Meta{
		ID:    "host/mounts",
		Title: "Nothing runs from /tmp and /dev/shm",
		Why:   "they are where an intruder's first program is written and started",
		Ref:   "CIS Debian 12, 1.1.2; mount(8); blueprint H7",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		var changes []Change
		for _, change := range []Change{
			{Title: "have apt unpack its questions where they may run", File: &File{Path: "/etc/apt/apt.conf.d/60ringwall-tmp", Mode: 0o644,
				Content: "// Written by ringwall host apply: nothing runs from /tmp.\nAPT::ExtractTemplates::TempDir \"/var/cache/apt\";\n"}},
			{Title: "a unit that closes /tmp and /dev/shm to programs", File: &File{Path: "/etc/systemd/system/" + mountsUnit, Mode: 0o644, Content: mountsService}},
		} {
			more, err := f.need(change)
			if err != nil {
				return nil, err
			}
			changes = append(changes, more...)
		}
		more, err := f.enable(mountsUnit)
		if err != nil {
			return nil, err
		}
		if len(more) == 0 && !closedFolders(f) {
			more = []Change{{Title: "close them again", Unit: &Unit{Name: mountsUnit, Do: Restart}}}
		}
		if len(changes) == 0 {
			unit, err := f.Unit(mountsUnit)
			if err != nil || unit.Load != "loaded" || !unit.Stays() {
				return more, err
			}
			if why, err := opensAtStart(f, unit); err != nil {
				return nil, err
			} else if why != "" { // somebody meant it
				return nil, Hint(why + ": systemctl cat " + mountsUnit + ", and remove what changes it")
			}
		}
		return append(changes, more...), nil
	},
	Verify: verifyMounts,
}

func closedFolders(f *Facts) bool {
	for _, point := range sharedFolders {
		if m, err := f.MountAt(point); err != nil || m == nil || len(missingFlags(m)) > 0 {
			return false
		}
	}
	return true
}

func missingFlags(m *Mount) (missing []string) {
	for _, flag := range mountFlags {
		if !slices.Contains(m.Flags, flag) {
			missing = append(missing, flag)
		}
	}
	return missing
}

// opensAtStart says why the unit would not close them when the machine starts.
func opensAtStart(f *Facts, unit UnitState) (why string, err error) {
	switch {
	case unit.Load != "loaded":
		return mountsUnit + " is " + unit.Load, nil
	case !unit.Stays():
		return mountsUnit + " is " + unit.Enabled, nil
	}
	runs, err := f.UnitProperties(mountsUnit, "ExecStart", "ExecStartPost")
	for _, point := range sharedFolders {
		if command := "argv[]=" + remount(point) + " ;"; err == nil && !strings.Contains(runs["ExecStart"], command) {
			return mountsUnit + " does not run " + remount(point), nil
		}
	}
	if err == nil && (strings.Count(runs["ExecStart"], "argv[]=") > strings.Count(mountsService, "\nExecStart=") || runs["ExecStartPost"] != "") {
		return mountsUnit + " runs more than it should", nil // which may open them again
	}
	return "", err
}

func remount(point string) string {
	return "mount -o remount,bind," + strings.Join(mountFlags, ",") + " " + point
}

func verifyMounts(_ *policy.Policy, f *Facts) check.Finding {
	const want, fix = "/tmp and /dev/shm are mounted nosuid,nodev,noexec", "ringwall host apply; what must run from /tmp gets a TMPDIR of its own"
	// Who mounts them himself has no such unit.
	unit, err := f.Unit(mountsUnit)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if unit.Load != "not-found" {
		open, err := opensAtStart(f, unit)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case open != "":
			return check.Failed(open+": after the next start of the machine they may be open", want, "ringwall host apply; systemctl cat "+mountsUnit+" names the files that change it")
		}
		if unsure, err := f.Conditional(mountsUnit); err != nil {
			return check.Unseen("%v", err)
		} else if unsure != "" {
			return check.Unseen("%s", unsure)
		}
	}
	for _, point := range sharedFolders {
		m, err := f.MountAt(point)
		switch {
		case err != nil:
			return check.Unseen("%v", err)
		case m == nil:
			return check.Failed(point+" is no mount of its own", want, fix)
		case len(missingFlags(m)) > 0:
			return check.Failed(point+" is mounted without "+strings.Join(missingFlags(m), ", "), want, fix)
		}
	}
	return check.Passed("the kernel mounts %s %s", strings.Join(sharedFolders, " and "), strings.Join(mountFlags, ","))
}
