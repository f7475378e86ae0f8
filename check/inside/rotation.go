package inside

import (
	"context"
	"fmt"
	"os"
	"slices"
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
		how, fault, err := m.rotates(ctx)
		switch {
		case m.UID != 0:
			return check.Unseen("none of %d files is above 500 MB, and others may be hidden: %v", n, errNotRoot)
		case how != "":
		case fault != "":
			return check.Failed(fault, "logrotate, daily", "systemctl status logrotate; "+fix)
		case err != nil:
			return check.Unseen("what rotates logs cannot be seen: %v", err)
		case len(m.glob("/var/log/nginx")) > 0 || len(m.glob("/var/log/syslog")) > 0:
			return check.Failed("nothing rotates the files in /var/log", "logrotate, daily", fix)
		default:
			is, err := m.properties(ctx, "systemd-journald.service", "LoadState,ActiveState")
			if err != nil || is["ActiveState"] != "active" {
				return check.Unseen("logrotate is not installed, and journald is %q: %v", is["ActiveState"], err)
			}
			how = "all is in the journal, which keeps within its own bounds"
		}
		return check.Passed("%s; none of %d files is above 500 MB", how, n)
	},
}

// rotates says what runs logrotate, or the fault of what should.
func (m *Machine) rotates(ctx context.Context) (how, fault string, err error) {
	t, err := m.timer(ctx, "logrotate.timer")
	if err != nil {
		return "", "", err
	}
	if t.fault() == "" {
		return t.name + " is active", "", nil
	}
	if t.there {
		fault = t.fault()
	}
	jobs, err := m.jobs()
	for _, j := range jobs {
		if j.idle != "" || !slices.ContainsFunc(j.commands, func(c string) bool { return strings.Contains(c, "logrotate") }) || len(m.glob("/usr/sbin/logrotate")) == 0 {
			continue
		}
		switch runs, cerr := m.cronRuns(ctx); {
		case cerr != nil:
			err = cerr
		case runs:
			return "cron runs logrotate", "", nil
		default:
			fault = "cron, by which " + j.file + " runs logrotate, does not run"
		}
	}
	return "", fault, err
}
