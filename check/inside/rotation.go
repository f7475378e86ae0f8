package inside

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/ringwall/ringwall/check"
)

// rotation sees that logs are rotated, by what came of it.
var rotation = Check{
	Meta: check.Meta{
		ID:    "inside/log-rotation",
		Title: "Logs are rotated before they fill the disk",
		Why:   "A full disk stops the API, and with it the record of what filled it.",
		Ref:   "ASVS 5.0 V16.2.3; CIS Controls v8 8.3; CWE-400; blueprint H7, T2, checklist 10",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		const most = 500 << 20
		var large []string
		n := 0
		for _, pattern := range []string{"/var/log/*", "/var/log/*/*"} {
			for _, name := range m.glob(pattern) {
				if fi, err := os.Lstat(m.path(name)); err == nil && fi.Mode().IsRegular() {
					if n++; fi.Size() > most && !strings.HasSuffix(name, ".journal") {
						large = append(large, fmt.Sprintf("%s has %d MB", name, fi.Size()>>20))
					}
				}
			}
		}
		const fix = "apt install logrotate; systemctl enable --now logrotate.timer; name the log in /etc/logrotate.d"
		if len(large) > 0 {
			return check.Failed(some(large), "no log above 500 MB", fix)
		}
		how := ""
		if text, err := m.Run(ctx, "systemctl", "is-active", "logrotate.timer"); err == nil && strings.TrimSpace(text) == "active" {
			how = "logrotate.timer is active"
		} else if len(m.glob("/etc/cron.daily/logrotate")) > 0 && len(m.glob("/usr/sbin/logrotate")) > 0 {
			how = "cron runs logrotate"
		}
		if how == "" {
			text, err := m.Run(ctx, "systemctl", "is-active", "systemd-journald.service")
			if err != nil || strings.TrimSpace(text) != "active" {
				return check.Unseen("neither logrotate nor journald could be seen: %v", err)
			}
			if len(m.glob("/var/log/nginx")) > 0 || len(m.glob("/var/log/syslog")) > 0 {
				return check.Failed("nothing rotates the files in /var/log", "logrotate, daily", fix)
			}
			how = "all is in the journal, which keeps within its own bounds"
		}
		return check.Passed("%s; none of %d files is above 500 MB", how, n)
	},
}
