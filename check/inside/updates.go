package inside

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
)

// updates asks apt which packages are older than those of the security archive.
// Working out what an upgrade would do takes it many times as long.
var updates = Check{
	Meta: check.Meta{
		ID:    "inside/updates",
		Title: "No security update waits to be installed",
		Why:   "A hole with an update is known to everybody who looks for it.",
		Ref:   "CIS Debian 12, 1.2.2; CIS Controls v8 7.3; CWE-1104; blueprint H6, T7, T9, checklist 10",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		const fix = "apt-get update && apt-get upgrade; and have it done by itself: apt install unattended-upgrades"
		text, err := m.Run(ctx, "apt", "list", "--upgradable")
		if err != nil {
			return check.Unseen("apt list --upgradable: %v", err)
		}
		var waiting []string
		for line := range strings.SplitSeq(text, "\n") {
			// name/suite,suite version architecture [upgradable from: version]
			name, rest, ok := strings.Cut(line, "/")
			suites, _, _ := strings.Cut(rest, " ")
			if ok && strings.Contains(suites, "-security") {
				waiting = append(waiting, name)
			}
		}
		if len(waiting) > 0 {
			return check.Failed(fmt.Sprintf("%d packages: %s", len(waiting), some(waiting)), "none", fix)
		}
		if !strings.HasPrefix(text, "Listing") {
			return check.Unseen("apt list --upgradable does not answer as it does")
		}
		// bookworm-security, noble-security: without the list of one, apt knows of no update.
		if len(m.glob("/var/lib/apt/lists/*-security_*Release")) == 0 {
			return check.Unseen("apt has no list of an archive of security updates: name it in /etc/apt/sources.list, and type apt-get update")
		}
		var newest time.Time
		for _, name := range append(m.glob("/var/lib/apt/lists/*Packages*"), m.glob("/var/lib/apt/lists/*InRelease")...) {
			if fi, err := os.Stat(m.path(name)); err == nil && fi.ModTime().After(newest) {
				newest = fi.ModTime()
			}
		}
		if fi, err := os.Stat(m.path("/var/lib/apt/periodic/update-success-stamp")); err == nil && fi.ModTime().After(newest) {
			newest = fi.ModTime()
		}
		age := m.Now.Sub(newest)
		if age > 7*24*time.Hour {
			return check.Unseen("apt knows of none, but has not asked for %d days: type apt-get update", int(age.Hours()/24))
		}
		return check.Passed("apt, which asked %d hours ago, knows of none", int(age.Hours()))
	},
}
