package host_test

import (
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

const (
	hasCron    = "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- cron"
	hasAt      = "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- at"
	askCrontab = "runuser -u nobody -- crontab -l"
	askAt      = "runuser -u nobody -- atq"
)

// refusing answers queries with an exit code of 1 and words on standard error.
type refusing struct {
	texts
	words map[string]string
}

func (m refusing) Ask(q host.Query, args ...string) (string, error) {
	line := strings.Join(q.Argv(args...), " ")
	if words, ok := m.words[line]; ok {
		return "", &host.Refusal{Argv: q.Argv(args...), Code: 1, Said: words}
	}
	return m.texts.Ask(q, args...)
}

func TestVerdictsOfJobs(t *testing.T) {
	const (
		refused   = "You (nobody) are not allowed to use this program (crontab)\nSee crontab(1) for more information"
		refusedAt = "You do not have permission to use at."
	)
	both := map[string]string{hasCron: "installed 3.0\n", hasAt: "installed 3.2\n"}
	for _, tt := range []struct {
		name  string
		said  map[string]string
		words map[string]string
		gone  string // a file
		want  check.Verdict
		got   string
	}{
		{"right", both, map[string]string{askCrontab: refused, askAt: refusedAt}, "", check.Pass, "by cron or at"},
		{"cron alone", map[string]string{hasAt: "no"}, map[string]string{askCrontab: refused}, "", check.Pass, "by cron"},
		{"anybody may", nil, map[string]string{askCrontab: "no crontab for nobody", askAt: refusedAt}, "", check.Fail, "cron would take"},
		{"somebody did", map[string]string{askCrontab: "@reboot /var/tmp/x\n"}, map[string]string{askAt: refusedAt}, "", check.Fail, "cron would take"},
		{"at is open", map[string]string{askAt: ""}, map[string]string{askCrontab: refused}, "", check.Fail, "at would take"},
		{"another answer", nil, map[string]string{askCrontab: "crontab: cannot open the list", askAt: refusedAt}, "", check.Unknown, "exit code 1"},
		{"no answer", nil, nil, "", check.Unknown, "dark"},
		{"a list of those that may not", map[string]string{hasCron: "no", hasAt: "installed 3.2\n"}, map[string]string{askAt: refusedAt}, "/etc/at.allow", check.Fail, "that /etc/at.deny does not name"},
		{"neither", map[string]string{hasCron: "no", hasAt: "no"}, nil, "", check.Unknown, "neither"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := refusing{texts{files: map[string]host.FileState{"/etc/os-release": debian, "/etc/cron.allow": file("root\n"), "/etc/at.allow": file("root\n")}, said: maps.Clone(both)}, tt.words}
			maps.Copy(m.said, tt.said)
			delete(m.files, tt.gone)
			f, _ := host.Verify("host/jobs", &policy.Policy{}, host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}

// TestJobsGoOn: whose crontab is there, and whom the owner has let, may go on.
func TestJobsGoOn(t *testing.T) {
	m := texts{
		files: map[string]host.FileState{"/etc/cron.allow": file("backup\nroot\n"), "/var/spool/cron/crontabs/app": file(""), "/var/spool/cron/crontabs/tmp.X2": file(""), "/etc/cron.deny": file("app\n")},
		said:  map[string]string{hasCron: "installed 3.0\n", hasAt: "no"},
	}
	p := policy.Default()
	p.Host.SSH.Users = []string{"ops"}
	i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/jobs" })
	changes, err := host.Controls()[i].Plan(p, host.NewFacts(m))
	if err != nil || len(changes) != 1 {
		t.Fatalf("%v, %v", changes, err)
	}
	if f := changes[0].File; f.Path != "/etc/cron.allow" || f.Content != "app\nbackup\ndeploy\nops\nroot\n" || f.Owner != "root:crontab" || f.Mode != 0o640 {
		t.Errorf("%+v", f)
	}
	m.files["/etc/cron.allow"] = host.FileState{Exists: true, Content: changes[0].File.Content, Mode: 0o640, Owner: "root:crontab"}
	if changes, err = host.Controls()[i].Plan(p, host.NewFacts(m)); err != nil || len(changes) != 0 {
		t.Errorf("a second plan: %v, %v", changes, err)
	}
}

// TestJobsOpenNothing: who may leave none before is not let in by a list.
func TestJobsOpenNothing(t *testing.T) {
	m := texts{
		files: map[string]host.FileState{"/etc/cron.deny": file("guest\n"), "/etc/at.deny": file("www-data\n"),
			"/var/spool/cron/crontabs/www-data": file(""), "/var/spool/cron/crontabs/guest": file("")},
		said: map[string]string{hasCron: "installed 3.0\n", hasAt: "installed 3.2\n"},
	}
	i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/jobs" })
	changes, err := host.Controls()[i].Plan(policy.Default(), host.NewFacts(m))
	if err != nil || len(changes) != 2 {
		t.Fatalf("%v, %v", changes, err)
	}
	for i, want := range []string{"deploy\nroot\nwww-data\n", "deploy\nroot\n"} {
		if f := changes[i].File; f.Content != want {
			t.Errorf("%s: %q, want %q", f.Path, f.Content, want)
		}
	}
}

// TestALinkInThePlaceOfAList: the plan says it, before apply could fail at it.
func TestALinkInThePlaceOfAList(t *testing.T) {
	m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/etc/cron.allow": {Exists: true, Mode: fs.ModeSymlink | 0o777, Owner: "root:root"}},
		said: map[string]string{hasCron: "installed 3.0\n", hasAt: "no"}}
	for _, c := range host.Controls() {
		if c.ID != "host/jobs" {
			continue
		}
		changes, err := c.Plan(policy.Default(), host.NewFacts(m))
		var hint host.Hint
		if !errors.As(err, &hint) || !strings.Contains(string(hint), "/etc/cron.allow is neither a file nor a folder") || changes != nil {
			t.Errorf("%v %v", changes, err)
		}
	}
}
