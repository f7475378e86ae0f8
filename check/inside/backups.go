package inside

import (
	"context"
	"regexp"
	"strings"

	"github.com/ringwall/ringwall/check"
)

var backupJob = regexp.MustCompile(`(?i)(backup|restic|borg|duplicity|rsnapshot|kopia|pg_dump|mysqldump|litestream|rclone|tarsnap|wal-g|barman)`)

// backups looks for a job that makes some, by a timer or cron. Whether they can be
// read back, only a drill tells.
var backups = Check{
	Meta: check.Meta{
		ID:    "inside/backups",
		Title: "Something makes backups by itself",
		Why:   "After a break-in the server is thrown away, and what is not elsewhere is gone.",
		Ref:   "CIS Controls v8 11.2; CWE-693; blueprint H7, T9, checklist 10",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		timers, err := m.Run(ctx, "systemctl", "list-timers", "--all", "--no-legend", "--no-pager", "--plain")
		if err == nil {
			for line := range strings.SplitSeq(timers, "\n") {
				for word := range strings.FieldsSeq(line) {
					if strings.HasSuffix(word, ".timer") && backupJob.MatchString(word) && !strings.HasPrefix(word, "dpkg-db-backup") {
						return check.Passed("%s is scheduled; whether they can be read back, try", word)
					}
				}
			}
		}
		for _, pattern := range []string{"/etc/crontab", "/etc/cron.d/*", "/etc/cron.daily/*", "/etc/cron.weekly/*", "/etc/cron.hourly/*", "/var/spool/cron/crontabs/*"} {
			for _, name := range m.glob(pattern) {
				b, rerr := m.head(name, 1<<20)
				if rerr != nil {
					continue
				}
				if backupJob.MatchString(name) && !strings.HasSuffix(name, "/dpkg") {
					return check.Passed("%s is scheduled; whether they can be read back, try", name)
				}
				for _, line := range lines(b) {
					if s := strings.TrimSpace(string(line)); !strings.HasPrefix(s, "#") && backupJob.MatchString(s) && !strings.HasSuffix(name, "/dpkg") {
						return check.Passed("%s has a job that makes some; whether they can be read back, try", name)
					}
				}
			}
		}
		if m.UID != 0 {
			return check.Unseen("no timer makes backups, and users' crontabs cannot be read: %v", errNotRoot)
		}
		if err != nil {
			return check.Unseen("no cron job makes backups, and systemd's timers cannot be seen: %v", err)
		}
		return check.Failed("no timer and no cron job makes backups", "one that copies the data to another machine, daily",
			"apt install restic; restic backup in a timer, to another machine; Ringwall's own store: ringwall store backup")
	},
}
