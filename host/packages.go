package host

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var programs = Control{
	Meta: check.Meta{
		ID:    "host/packages",
		Title: "Programs are as their packages brought them",
		Why:   "who broke in leaves an sshd or a sudo of his own behind, which works as before and which nobody looks at",
		Ref:   "CIS Debian 12, 6.3; debsums(1); CWE-353; blueprint H7, T9",
	},
	Plan:   planPackages,
	Verify: verifyPackages,
}

const (
	packagesService = "ringwall-packages.service"
	packagesTimer   = "ringwall-packages.timer"
)

// packagesUnit reads all that packages brought, but for their settings, and ends
// with 2 when something is not as they list it. It waits for updates that are on
// their way, and makes way for everybody else.
const packagesUnit = `# Written by ringwall host apply: a change here is drift, and reported.
[Unit]
Description=Files that are not as their package brought them
After=apt-daily-upgrade.service

[Service]
Type=oneshot
ExecStart=/usr/bin/debsums --silent
Environment=LC_ALL=C
TimeoutStartSec=1h
Nice=19
IOSchedulingClass=idle
CapabilityBoundingSet=CAP_DAC_READ_SEARCH
NoNewPrivileges=yes
ProtectSystem=strict
PrivateNetwork=yes
`

const packagesTimerUnit = `# Written by ringwall host apply: a change here is drift, and reported.
[Unit]
Description=Every day, and soon after a start: files that are not as their package brought them

[Timer]
OnActiveSec=1min
OnUnitActiveSec=1d

[Install]
WantedBy=timers.target
`

// planPackages does not wait for the first look: what it finds was there before,
// and is no reason to leave the rest undone.
func planPackages(_ *policy.Policy, f *Facts) ([]Change, error) {
	changes, err := f.install("debsums")
	if err != nil {
		return nil, err
	}
	looks, err := f.need(Change{Title: "a unit that compares files with what packages brought", File: &File{Path: unitFolder + packagesService, Mode: 0o644, Content: packagesUnit}})
	if err != nil {
		return nil, err
	}
	timer, err := f.need(Change{Title: "have it look every day", File: &File{Path: unitFolder + packagesTimer, Mode: 0o644, Content: packagesTimerUnit}})
	if err != nil {
		return nil, err
	}
	if len(timer) == 0 {
		if err := planNeglected(f, packagesTimer, packagesService); err != nil {
			return nil, err
		}
	}
	on, err := f.enable(packagesTimer)
	if len(looks)+len(timer) > 0 && len(on) == 0 {
		on = []Change{{Title: "have systemd read that", Unit: &Unit{Name: packagesTimer, Do: Restart}}}
	}
	return slices.Concat(changes, looks, timer, on), err
}

// listless are the packages with files that nothing is known of: dpkg makes the
// list of one that brings none.
func listless(f *Facts) ([]string, error) {
	const folder = "/var/lib/dpkg/info/"
	packages, err1 := f.Glob(folder + "*.list")
	lists, err2 := f.Glob(folder + "*.md5sums")
	var names []string
	for _, path := range packages {
		name := strings.TrimSuffix(path, ".list")
		if !slices.Contains(lists, name+".md5sums") {
			names = append(names, strings.TrimPrefix(name, folder))
		}
	}
	return names, errors.Join(err1, err2)
}

// microseconds reads a moment of systemd's, from the start of the machine; 0: never.
func microseconds(s string) time.Duration {
	n, _ := strconv.ParseInt(s, 10, 64)
	return time.Duration(n) * time.Microsecond
}

func verifyPackages(_ *policy.Policy, f *Facts) check.Finding {
	const want, fix = "debsums looks every day, and finds every file as its package brought it", "ringwall host apply"
	there, err := f.Installed("debsums")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !there:
		return check.Failed("debsums is not installed", want, fix)
	}
	timer, err := f.Unit(packagesTimer)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !timer.Running() || timer.Enabled != "enabled":
		return check.Failed(strings.TrimSpace(packagesTimer+" is "+timer.Active+" "+timer.Enabled), want, fix)
	}
	if found := neglected(f, want, packagesTimer, packagesService); found != nil {
		return *found
	}
	without, err := listless(f)
	if err != nil {
		return check.Unseen("%v", err)
	}
	since, err := f.UnitProperties(packagesTimer, "ActiveEnterTimestampMonotonic")
	if err != nil {
		return check.Unseen("%v", err)
	}
	last, err := f.UnitProperties(packagesService, "ExecStart", "Result", "ExecMainStatus", "ExecMainExitTimestampMonotonic")
	if err != nil {
		return check.Unseen("%v", err)
	}
	began, ended := microseconds(since["ActiveEnterTimestampMonotonic"]), microseconds(last["ExecMainExitTimestampMonotonic"])
	now, err := f.Uptime()
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !strings.Contains(last["ExecStart"], "argv[]=/usr/bin/debsums --silent ;"):
		return check.Failed(packagesService+" does not run debsums --silent", want, fix)
	case ended <= began: // what one found before an apply is no reason to undo it
		return check.Unseen("no look has ended since the timer was started: the first begins a minute after; at once: systemctl start %s", packagesService)
	case now-ended > 2*24*time.Hour:
		return check.Failed(fmt.Sprintf("the last look of debsums ended %v ago", (now-ended).Truncate(time.Hour)), want, "systemctl cat "+packagesTimer+", and: systemctl restart "+packagesTimer)
	case len(without) > 0 && last["Result"] == "success":
		return check.Unseen("debsums cannot compare the files of %s: what the package brought is not listed; apt-get install --reinstall %[1]s", without[0])
	case last["Result"] == "success" && last["ExecMainStatus"] == "0":
		return check.Passed("at its last look debsums found every file as its package brought it")
	case last["Result"] != "exit-code" || last["ExecMainStatus"] != "2":
		return check.Unseen("the last look of debsums ended with %s %s: journalctl -u %s", last["Result"], last["ExecMainStatus"], packagesService)
	}
	name := "debsums found a file that is not as its package brought it"
	if said, err := f.Journal("_SYSTEMD_UNIT=" + packagesService); err == nil {
		if line, ok := said["MESSAGE"].(string); ok {
			name = line
		}
	}
	return check.Failed(name, want, "journalctl -u "+packagesService+" names all; who changed them? Then: apt-get install --reinstall PACKAGE, and: systemctl start "+packagesService)
}
