package inside

import (
	"cmp"
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
)

var backupJob = regexp.MustCompile(`(?i)(backup|restic|borg|duplicity|rsnapshot|kopia|pg_dump|mysqldump|litestream|rclone|tarsnap|wal-g|barman)`)

// saves nothing, whatever it is told: it looks, or takes away.
var savesNothing = regexp.MustCompile(`^(rm|rmdir|unlink|shred|truncate|find|ls|mkdir|chmod|chown|chgrp|test|\[|\[\[|echo|printf|cat|du|df|touch|logrotate|mail|mailx|cd|pushd|grep|sed|awk|cut|sort|sleep|logger|stat|head|tail|wc|which|systemctl|service|mount|umount|mountpoint|kill|pkill|pgrep|curl|wget)$`)

// through others it is run, as by sudo or sh -c.
var takesAway = regexp.MustCompile(`^['"]?(\S*/bin/)?(rm|rmdir|unlink|shred|truncate|find|ls|chmod|chown|mkdir|touch)$`)

// What programs for backups do beside making them.
var (
	asks  = regexp.MustCompile(` (forget|prune|check|snapshots|stats|unlock|compact|list|info|verify|restore|mount|ls)\b`)
	saves = regexp.MustCompile(` (backup|create|sync|copy)\b`)
)

// backups looks for a job that makes some, by a timer or cron, and of a timer whether
// it does. Whether they can be read back, only a drill tells.
var backups = Check{
	Meta: check.Meta{
		ID:    "inside/backups",
		Title: "Something makes backups by itself",
		Why:   "After a break-in the server is thrown away, and what is not elsewhere is gone.",
		Ref:   "CIS Controls v8 11.2; CWE-693; blueprint H7, T9, checklist 10",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		const want, fix = "one that copies the data to another machine, daily",
			"apt install restic; restic backup in a timer, to another machine; Ringwall's own store: ringwall store backup"
		var good, broken, idle, unknown []string
		timers, terr := m.Run(ctx, "systemctl", "list-timers", "--all", "--no-legend", "--no-pager", "--plain")
		for word := range strings.FieldsSeq(timers) {
			if terr != nil || !strings.HasSuffix(word, ".timer") || !backupJob.MatchString(word) || word == "dpkg-db-backup.timer" {
				continue
			}
			t, err := m.timer(ctx, word)
			if err == nil && t.fault() == "" && t.last == "" {
				if last, result := m.recorded(ctx, t.service); last != "" {
					t.last, t.result = last+", before the machine started", result
				}
			}
			switch fault := t.fault(); {
			case err != nil:
				unknown = append(unknown, word+": "+err.Error())
			case !t.there: // its file is gone, and systemd has not forgotten it yet
			case fault != "" && t.active:
				broken = append(broken, fault)
			case fault != "":
				idle = append(idle, fault)
			case t.last == "": // nor is a run recorded of which timer and service know nothing
				unknown = append(unknown, word+" has not run since the machine started, and the journal has no run of the last month: systemctl start "+t.service)
			default:
				good = append(good, word+" last ran "+t.last+", and ended well")
			}
		}
		jobs, jerr := m.jobs()
		cron := false
		for _, j := range jobs {
			if !j.backsUp() {
				continue
			}
			runs, err := m.cronRuns(ctx)
			switch {
			case j.idle != "":
				idle = append(idle, j.idle)
			case err != nil:
				unknown = append(unknown, j.file+" has a job that makes some, and whether cron runs: "+err.Error())
			case !runs:
				idle = append(idle, j.file+" has a job that makes some, and cron does not run")
			default:
				good, cron = append(good, j.file+" has a job that makes some"), true
			}
		}
		switch {
		case len(broken) > 0:
			return check.Failed(some(broken), want, "systemctl status of it, and mend what it says; then systemctl start it")
		case len(good) > 0 && cron:
			return check.Passed("%s; whether it ends well, and can be read back, try", some(good))
		case len(good) > 0:
			return check.Passed("%s; whether they can be read back, try", some(good))
		case len(unknown) > 0:
			return check.Unseen("%s", some(unknown))
		case m.UID != 0:
			return check.Unseen("no timer makes backups, and users' crontabs cannot be read: %v", errNotRoot)
		case terr != nil || jerr != nil:
			return check.Unseen("no job was found that makes backups, and some cannot be seen: %v", cmp.Or(terr, jerr))
		case timers == "":
			return check.Unseen("no cron job makes backups, and systemd tells of no timer at all")
		case len(idle) > 0:
			return check.Failed(some(idle), want, "systemctl enable --now it; or "+fix)
		}
		return check.Failed("no timer and no cron job makes backups", want, fix)
	},
}

// distribution are files of cron's that copy what dpkg and others know, for themselves.
var distribution = []string{"dpkg", "passwd", "aptitude", "samba"}

// backsUp reports a command that makes backups, by its words; or any that does
// something, in a file with such a name.
func (j job) backsUp() bool {
	if slices.Contains(distribution, path.Base(j.file)) {
		return false
	}
	named := backupJob.MatchString(path.Base(j.file)) && !strings.HasPrefix(j.file, "/var/spool/") // which are users
	return slices.ContainsFunc(j.commands, func(command string) bool {
		words := strings.Fields(command)
		if savesNothing.MatchString(path.Base(words[0])) || asks.MatchString(command) && !saves.MatchString(command) {
			return false
		}
		for _, word := range words {
			switch {
			case takesAway.MatchString(word):
				return false
			case backupJob.MatchString(word):
				return true
			}
		}
		return named
	})
}
