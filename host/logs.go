package host

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var logs = Control{
	Meta: check.Meta{
		ID:    "host/logs",
		Title: "Logs outlive a restart and never fill the disk",
		Why:   "without yesterday's log nobody knows what happened, and a full disk stops everything, logging first",
		Ref:   "journald.conf(5); logrotate(8); CIS Debian 12, 6.1; blueprint H7, checklist 10",
	},
	Plan:   planLogs,
	Verify: verifyLogs,
}

// mostJournal is what the journal may take: a week and more of a busy API.
const mostJournal = 1 << 30

// journalText bounds the journal by its size. That 15 % of the disk stay free is
// journald's own rule.
const journalText = `# Written by ringwall host apply: a change here is drift, and reported.
[Journal]
Storage=persistent
Compress=yes
SystemMaxUse=1G
SystemMaxFileSize=64M
RuntimeMaxUse=64M
`

// planLogs leaves the ring's own logs out. Ringwall writes to the journal; its
// audit log is pruned by itself, so that what is left verifies; nginx' log is
// rotated by a file of ringwall nginx install; fail2ban's, apt's and ufw's by
// those of their packages.
func planLogs(_ *policy.Policy, f *Facts) ([]Change, error) {
	changes, err := f.install("logrotate")
	if err != nil {
		return nil, err
	}
	file, err := f.need(Change{Title: "keep the journal over a restart, at most 1 GB of it", File: &File{Path: "/etc/systemd/journald.conf.d/ringwall.conf", Mode: 0o644, Content: journalText}})
	if err != nil {
		return nil, err
	}
	if len(file) > 0 {
		file = append(file, Change{Title: "have journald read that", Unit: &Unit{Name: "systemd-journald.service", Do: Restart}})
	}
	if err := planNeglected(f, "logrotate.timer", "logrotate.service"); err != nil {
		return nil, err
	}
	on, err := f.enable("logrotate.timer")
	return append(append(changes, file...), on...), err
}

// journalUsage is the message that journald writes about its own limits when it
// starts (sd-messages(3), SD_MESSAGE_JOURNAL_USAGE).
const journalUsage = "MESSAGE_ID=ec387f577b844b8fa948f33cad9a75e6"

// keptSince reports whether the last entry of the journal is no older than the
// journald that runs, which begins with words of its own.
func keptSince(last map[string]any, f *Facts) (bool, error) {
	p, err := f.UnitProperties("systemd-journald.service", "ExecMainStartTimestampMonotonic")
	if err != nil {
		return false, err
	}
	began, err := strconv.ParseInt(p["ExecMainStartTimestampMonotonic"], 10, 64)
	if err != nil {
		return false, fmt.Errorf("systemd does not say when journald began: %w", err)
	}
	text, _ := last["__MONOTONIC_TIMESTAMP"].(string)
	written, err := strconv.ParseInt(text, 10, 64)
	if last != nil && err != nil {
		return false, fmt.Errorf("the journal's last entry has no time: %w", err)
	}
	return last != nil && written >= began, nil
}

func verifyLogs(_ *policy.Policy, f *Facts) check.Finding {
	const want, fix = "a journal on the disk of at most 1 GB, and logrotate every day", "ringwall host apply"
	// A journal that was stopped still has what it said before.
	last, err := f.Journal()
	if err != nil {
		return check.Unseen("the journal: %v", err)
	}
	if kept, err := keptSince(last, f); err != nil {
		return check.Unseen("%v", err)
	} else if !kept {
		return check.Failed("nothing is in the journal since journald was started: it keeps none", want, fix+"; then: systemd-analyze cat-config systemd/journald.conf")
	}
	// The last word counts: of a journal that moved into memory the earlier one is
	// there, too.
	said, err := f.Journal(journalUsage, "JOURNAL_NAME=System Journal", "JOURNAL_NAME=Runtime Journal")
	switch {
	case err != nil:
		return check.Unseen("the journal: %v", err)
	case said == nil:
		return check.Unseen("journald has not said where its journal is since the machine started")
	case said["JOURNAL_NAME"] == "Runtime Journal":
		return check.Failed("the journal is in memory, and gone after a restart", want, fix)
	}
	path, _ := said["JOURNAL_PATH"].(string)
	text, _ := said["MAX_USE"].(string)
	most, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return check.Unseen("journald says of its limit: %q", text)
	case !strings.HasPrefix(path, "/var/log/journal"):
		return check.Failed("the journal is in "+path+", and gone after a restart", want, fix)
	case most > mostJournal:
		return check.Failed(fmt.Sprintf("the journal may take %d MB", most>>20), want, fix)
	}
	timer, err := f.Unit("logrotate.timer")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !timer.Running():
		return check.Failed("logrotate.timer is "+timer.Active, want, fix)
	case !timer.Stays():
		return check.Failed("logrotate.timer is "+timer.Enabled+", and would not start with the machine", want, fix)
	}
	if found := neglected(f, want, "logrotate.timer", "logrotate.service"); found != nil {
		return *found
	}
	if err := f.RotationWorks(); err != nil {
		return check.Failed("logrotate refuses what is configured: "+err.Error(), want, "logrotate --debug /etc/logrotate.conf")
	}
	return check.Passed("journald keeps at most %d MB in %s; logrotate runs every day", most>>20, path)
}
