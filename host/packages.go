package host

import (
	"slices"
	"strings"

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
	on, err := f.enable(packagesTimer)
	if len(looks)+len(timer) > 0 && len(on) == 0 {
		on = []Change{{Title: "have systemd read that", Unit: &Unit{Name: packagesTimer, Do: Restart}}}
	}
	return slices.Concat(changes, looks, timer, on), err
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
	last, err := f.UnitProperties(packagesService, "ExecStart", "Result", "ExecMainStatus", "ExecMainExitTimestampMonotonic")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !strings.Contains(last["ExecStart"], "argv[]=/usr/bin/debsums --silent ;"):
		return check.Failed(packagesService+" does not run debsums --silent", want, fix)
	case last["ExecMainExitTimestampMonotonic"] == "0":
		return check.Unseen("no look has ended since the machine started: the first begins a minute after; at once: systemctl start %s", packagesService)
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
