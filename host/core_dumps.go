package host

import (
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var coreDumps = Control{
	Meta: check.Meta{
		ID:    "host/core-dumps",
		Title: "A process that crashes leaves no copy of its memory",
		Why:   "keys, passwords and tokens lie in that copy, and any crash makes one",
		Ref:   "CIS Debian 12, 1.5; limits.conf(5); coredump.conf(5); systemd-system.conf(5); blueprint H7",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		var changes []Change
		for _, c := range []Change{
			{Title: "no core dumps in sessions", File: &File{Path: "/etc/security/limits.d/ringwall.conf", Mode: 0o644, Content: "# Written by ringwall host apply.\n* soft core 0\n* hard core 0\nroot hard core 0\n"}},
			{Title: "no core dumps in services", File: &File{Path: "/etc/systemd/system.conf.d/ringwall.conf", Mode: 0o644, Content: "# Written by ringwall host apply.\n[Manager]\nDefaultLimitCORE=0\n"}},
			{Title: "keep none that comes nonetheless", File: &File{Path: "/etc/systemd/coredump.conf.d/ringwall.conf", Mode: 0o644, Content: "# Written by ringwall host apply.\n[Coredump]\nStorage=none\nProcessSizeMax=0\n"}},
		} {
			folder := c.File.Path[:strings.LastIndexByte(c.File.Path, '/')]
			for _, change := range []Change{{Title: "make the folder " + folder, File: &File{Path: folder, Mode: 0o755, Folder: true}}, c} {
				more, err := f.need(change)
				if err != nil {
					return nil, err
				}
				changes = append(changes, more...)
			}
		}
		said, err := f.ask(askManager)
		if err == nil && !noCores(said) {
			changes = append(changes, Change{Title: "have systemd read it", Command: &Command{Argv: []string{"systemctl", "daemon-reload"}, Undo: []string{"systemctl", "daemon-reload"}}})
		}
		return changes, err
	},
	Verify: verifyCoreDumps,
}

// noCores reads the limit that systemd gives to services.
func noCores(said string) bool {
	return strings.Contains("\n"+said, "\nDefaultLimitCORE=0\n")
}

func verifyCoreDumps(_ *policy.Policy, f *Facts) check.Finding {
	const want, fix = "a hard limit of 0, for services and for sessions", "ringwall host apply"
	services, err := f.ask(askManager)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !strings.Contains(services, "DefaultLimitCORE="):
		return check.Unseen("systemctl show does not name DefaultLimitCORE")
	case !noCores(services):
		return check.Failed("systemd gives services "+strings.Join(strings.Fields(services), " "), want, fix)
	}
	session, err := f.ask(askCoreLimit)
	switch session = strings.TrimSpace(session); {
	case err != nil:
		return check.Unseen("%v", err)
	case session == "":
		return check.Unseen("a session does not say its limit")
	case session != "0":
		return check.Failed("a new session may dump: ulimit -H -c is "+session, want, fix)
	}
	return check.Passed("a session just begun, and systemd for services, have a hard limit of 0")
}
