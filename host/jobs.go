package host

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var jobs = Control{
	Meta: check.Meta{
		ID:    "host/jobs",
		Title: "Only root and who signs in may leave jobs for later",
		Why:   "what breaks into a database or a web server writes itself into that account's crontab, and is back after every restart",
		Ref:   "CIS Debian 12, 2.4; crontab(1); at(1); blueprint H7, T9",
	},
	Plan: func(p *policy.Policy, f *Facts) ([]Change, error) {
		var changes []Change
		for _, s := range schedulers {
			there, err := f.Installed(s.name)
			if err != nil {
				return nil, err
			}
			if !there {
				continue
			}
			names, err := allowed(p, f, s.list, s.jobs)
			if err != nil {
				return nil, err
			}
			more, err := f.need(Change{Title: "who may leave jobs to " + s.name, File: &File{Path: s.list, Mode: 0o640, Owner: "root:" + s.group, Content: strings.Join(names, "\n") + "\n"}})
			if err != nil {
				return nil, err
			}
			changes = append(changes, more...)
		}
		return changes, nil
	},
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		const want, fix = "accounts that nobody signs in to are refused", "ringwall host apply"
		var asked []string
		for _, s := range schedulers {
			there, err := f.Installed(s.name)
			switch {
			case err != nil:
				return check.Unseen("%v", err)
			case !there:
				continue
			}
			asked = append(asked, s.name)
			_, err = f.ask(s.ask)
			var no *Refusal
			switch {
			case err == nil, errors.As(err, &no) && strings.HasPrefix(no.Said, "no crontab for nobody"):
				return check.Failed(s.name+" would take a job of the account nobody", want, fix)
			case no == nil || !strings.Contains(no.Said, s.refused):
				return check.Unseen("%v", err)
			}
			// A list of those that may not, as at brings one, has nobody, too, and not the next database.
			if list, err := f.File(s.list); err != nil {
				return check.Unseen("%v", err)
			} else if !list.Exists {
				return check.Failed("there is no "+s.list+": "+s.name+" takes jobs of any account that "+strings.Replace(s.list, "allow", "deny", 1)+" does not name", want, fix)
			}
		}
		if asked == nil {
			return check.Moot("neither cron nor at is installed: after installing one, ringwall host apply")
		}
		return check.Passed("no job is taken of the account nobody, by %s", strings.Join(asked, " or "))
	},
}

// schedulers run jobs of any account, unless they have a list of those that may.
var schedulers = []struct {
	name    string // and its package's
	list    string
	jobs    string // pattern of files whose names are those of accounts with jobs; "": none
	group   string // as which its program reads the list
	ask     Query  // for the jobs of nobody
	refused string // what it says when that account may have none
}{
	{"cron", "/etc/cron.allow", "/var/spool/cron/crontabs/*", "crontab", askCrontab, "not allowed to use this program"},
	{"at", "/etc/at.allow", "", "daemon", askAt, "do not have permission to use"},
}

// allowed are root, who signs in, whom the list has already, and whose crontab is
// there: it is in the plan, and its owner goes on as before. Without a list, who
// was refused by name still is.
func allowed(p *policy.Policy, f *Facts, list, jobs string) ([]string, error) {
	file, err := f.File(list)
	if err != nil {
		return nil, err
	}
	names := onLines(file.Content)
	if jobs != "" {
		owners, err := f.Glob(jobs)
		if err != nil {
			return nil, err
		}
		refused, err := f.File(strings.Replace(list, "allow", "deny", 1))
		if err != nil {
			return nil, err
		}
		for _, path := range owners {
			name := filepath.Base(path)
			if strings.HasPrefix(name, "tmp.") || !file.Exists && slices.Contains(onLines(refused.Content), name) { // or one that is being edited
				continue
			}
			names = append(names, name)
		}
	}
	names = slices.Concat(names, []string{"root", p.Host.DeployUser}, p.Host.SSH.Users)
	names = slices.DeleteFunc(names, func(name string) bool { return name == "" })
	slices.Sort(names)
	return slices.Compact(names), nil
}

// onLines are the words of a list that has one on each line.
func onLines(text string) []string {
	var names []string
	for line := range strings.Lines(text) {
		names = append(names, strings.TrimSpace(line))
	}
	return names
}
