package host_test

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/host"
)

const (
	showTimer  = "env TZ=UTC systemctl show --no-pager --property=LoadState,ActiveState,SubState,Unit,TimersCalendar,TimersMonotonic,NextElapseUSecRealtime,NextElapseUSecMonotonic,RandomizedDelayUSec,AccuracyUSec -- "
	showDropIn = "systemctl show --no-pager --property=DropInPaths,FragmentPath -- "
	askTimes   = "env TZ=UTC systemd-analyze calendar --iterations=20 -- "
	aTimer     = "LoadState=loaded\nActiveState=active\nSubState=waiting\n"
)

// times are what systemd-analyze says of a calendar, in the words of Debian 12, or of
// Debian 13 where it has no minutes.
func times(first, every time.Duration, n int) string {
	var b strings.Builder
	b.WriteString("Normalized form: *-*-* 06,18:00:00\n")
	for i := range n {
		at := time.Now().UTC().Add(first + time.Duration(i)*every).Format("Mon 2006-01-02 15:04:05 MST")
		switch {
		case i == 0:
			fmt.Fprintf(&b, "    Next elapse: %s\n       From now: 9h left\n", at)
		case every%time.Hour == 0:
			fmt.Fprintf(&b, "   Iteration #%d: %s\n       From now: 1 week 2 days left\n", i+1, at)
		default:
			fmt.Fprintf(&b, "       Iter. #%d: %s\n       From now: 1 day 9h left\n", i+1, at)
		}
	}
	if n == 0 {
		b.WriteString("    Next elapse: never\n")
	}
	return b.String()
}

// daily is a timer that starts its service every day, as a server has it.
func daily(said map[string]string, timer string) {
	service := strings.Replace(timer, ".timer", ".service", 1)
	said[showTimer+timer] = aTimer + "Unit=" + service + "\nTimersCalendar={ OnCalendar=*-*-* 06,18:00:00 ; next_elapse=Fri 2026-11-27 18:00:00 UTC }\nNextElapseUSecRealtime=" + elapse(20*time.Hour) + "\nNextElapseUSecMonotonic=0\n"
	said[askTimes+"*-*-* 06,18:00:00"] = times(9*time.Hour, 12*time.Hour, 20)
	said[showDropIn+timer], said[showDropIn+service] = "DropInPaths=\n", "DropInPaths=\n"
}

func elapse(in time.Duration) string {
	return time.Now().UTC().Add(in).Format("Mon 2006-01-02 15:04:05 MST")
}

func TestTimersThatDoLess(t *testing.T) {
	const day = 24 * time.Hour
	const dropIn = "/etc/systemd/system/x.timer.d/zz.conf"
	calendar := func(specs ...string) string {
		s := aTimer + "Unit=x.service\nNextElapseUSecMonotonic=0\nNextElapseUSecRealtime=" + elapse(20*time.Hour) + "\n"
		for _, spec := range specs {
			s += "TimersCalendar={ OnCalendar=" + spec + " ; next_elapse=Fri 2026-11-27 18:00:00 UTC }\n"
		}
		return s
	}
	monotonic := func(next string, pairs ...string) string {
		s := aTimer + "Unit=x.service\nNextElapseUSecRealtime=\nNextElapseUSecMonotonic=" + next + "\n"
		for _, pair := range pairs {
			s += "TimersMonotonic={ " + pair + " ; next_elapse=49min 23.724492s }\n"
		}
		return s
	}
	said := map[string]string{
		showDropIn + "x.timer": "DropInPaths=\n", showDropIn + "x.service": "DropInPaths=\n",
		askTimes + "daily": times(9*time.Hour, day, 20), askTimes + "hourly": times(9*time.Minute, 61*time.Minute, 20), askTimes + "weekly": times(2*day, 7*day, 20),
		askTimes + "yearly": times(day, 365*day, 20), askTimes + "once": times(day, day, 1), askTimes + "never": times(0, 0, 0), askTimes + "later": times(30*day, day, 20),
	}
	for i := range 7 { // one line for each day of the week
		said[askTimes+fmt.Sprint("day", i)] = times(time.Duration(i)*day, 7*day, 20)
	}
	for _, tt := range []struct {
		name, timer string
		change      map[string]string
		why, unsure string // "dark": it cannot be seen
	}{
		{"every day", calendar("daily"), nil, "", ""},
		{"every hour", calendar("hourly"), nil, "", ""},
		{"every day and every week", calendar("daily", "weekly"), nil, "", ""},
		{"each day of the week", calendar("day0", "day1", "day2", "day3", "day4", "day5", "day6"), nil, "", ""},
		{"not at the weekend", calendar("day0", "day1", "day4", "day5", "day6"), nil, "", ""},
		{"while it runs", strings.Replace(monotonic("infinity", "OnBootUSec=1min", "OnUnitActiveUSec=1d"), "waiting", "running", 1), nil, "", ""},
		{"after a start, and every day", monotonic("49min", "OnActiveUSec=1min", "OnUnitActiveUSec=1d 2h 30min"), nil, "", ""},
		{"none", "LoadState=not-found\nActiveState=inactive\n", nil, "", ""},
		{"not yet started", strings.NewReplacer("=active", "=inactive", elapse(20*time.Hour), "").Replace(calendar("daily")), nil, "", ""},

		{"emptied", strings.Replace(monotonic("infinity"), "loaded", "bad-setting", 1), nil, "does not take (bad-setting)", ""},
		{"nothing left to come", monotonic("infinity", "OnUnitActiveUSec=1d"), nil, "has no time to run at", ""},
		{"another service", strings.Replace(calendar("daily"), "x.service", "y.service", 1), nil, "x.timer starts y.service", ""},
		{"once a year, tomorrow", calendar("yearly"), nil, "more than 3 days pass between two runs: { OnCalendar=yearly", ""},
		{"every week", calendar("weekly"), nil, "more than 3 days", ""},
		{"two days of the week", calendar("day0", "day1"), nil, "more than 3 days", ""},
		{"once", calendar("once"), nil, "more than 3 days", ""},
		{"never", calendar("never"), nil, "more than 3 days", ""},
		{"from next month", calendar("later"), nil, "more than 3 days", ""},
		{"chance", strings.Replace(calendar("daily"), elapse(20*time.Hour), elapse(200*day), 1), nil, "x.timer runs next at", ""},
		{"chance, that is short now", calendar("daily") + "RandomizedDelayUSec=1w\nAccuracyUSec=1min\n", nil, "may come that much later: RandomizedDelayUSec=1w", ""},
		{"whenever it suits", calendar("daily") + "RandomizedDelayUSec=12h\nAccuracyUSec=1month\n", nil, "may come that much later: AccuracyUSec=1month", ""},
		{"half a day of chance", calendar("daily") + "RandomizedDelayUSec=12h\nAccuracyUSec=1min\n", nil, "", ""},
		{"no first time", monotonic("49min", "OnUnitActiveUSec=1d"), nil, "more than 3 days", ""},
		{"no second time", monotonic("49min", "OnBootUSec=1min"), nil, "more than 3 days", ""},
		{"once a month after the last", monotonic("49min", "OnBootUSec=1min", "OnUnitActiveUSec=1month"), nil, "more than 3 days", ""},

		{"a condition of the timer", calendar("daily"), map[string]string{showDropIn + "x.timer": "DropInPaths=" + dropIn + "\n", dropIn: "[Unit]\nConditionPathExists=/nowhere\n"}, "", "hangs on ConditionPathExists=/nowhere in " + dropIn},
		{"a condition of one in its place", calendar("daily"), map[string]string{showDropIn + "x.service": "DropInPaths=\nFragmentPath=/etc/systemd/system/x.service\n", "/etc/systemd/system/x.service": "[Unit]\nConditionPathExists=/nowhere\n"}, "", "hangs on ConditionPathExists=/nowhere in /etc"},
		{"a condition of its package's", calendar("daily"), map[string]string{showDropIn + "x.service": "DropInPaths=\nFragmentPath=/lib/systemd/system/x.service\n", "/lib/systemd/system/x.service": "[Unit]\nConditionACPower=true\n"}, "", ""},
		{"a condition of the service", calendar("daily"), map[string]string{showDropIn + "x.service": "DropInPaths=/x " + dropIn + "\n", dropIn: "[Service]\n ExecCondition = /bin/false\n"}, "", "ExecCondition = /bin/false"},
		{"conditions taken away", calendar("daily"), map[string]string{showDropIn + "x.service": "DropInPaths=" + dropIn + "\n", dropIn: "[Unit]\n# ConditionPathExists=/nowhere\nConditionACPower=\n[Service]\nNice=1\n"}, "", ""},
		{"a calendar that is not understood", calendar("odd"), nil, "dark", ""},
		{"a span that is not understood", monotonic("49min", "OnBootUSec=1 fortnight", "OnUnitActiveUSec=1d"), nil, "dark", ""},
	} {
		m := texts{files: map[string]host.FileState{}, said: maps.Clone(said)}
		m.said[showTimer+"x.timer"] = tt.timer
		for what, text := range tt.change {
			if strings.HasPrefix(what, "/") {
				m.files[what] = file(text)
			} else {
				m.said[what] = text
			}
		}
		why, unsure, err := host.NewFacts(m).Neglects("x.timer", "x.service")
		if (err != nil) != (tt.why == "dark") || err == nil && (!strings.Contains(why, tt.why) || (why == "") != (tt.why == "") || !strings.Contains(unsure, tt.unsure) || (unsure == "") != (tt.unsure == "")) {
			t.Errorf("%s: %q, %q, %v", tt.name, why, unsure, err)
		}
	}
}

// TestPlanLeavesATimer: who has a timer do less meant it, so that its control is left
// out, and says so, before an apply would undo itself.
func TestPlanLeavesATimer(t *testing.T) {
	for id, units := range map[string][]string{"host/updates": {"apt-daily.timer", "apt-daily-upgrade.timer"}, "host/logs": {"logrotate.timer"}, "host/mounts": {"ringwall-mounts.service"}} {
		m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/proc/self/mountinfo": file("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n")}, said: map[string]string{
			isInstalled + "logrotate": "installed 1\n", isInstalled + "unattended-upgrades": "installed 1\n", isInstalled + "needrestart": "installed 1\n", "apt-config dump": "", "apt-mark showhold": "", "apt-cache policy": "",
			"apt-cache policy openssh-server openssl libssl3 libssl3t64 libc6 sudo systemd nginx linux-image-amd64 linux-image-generic": "",
			"systemctl show --no-pager --property=ExecStart -- apt-daily.service":                                                       "ExecStart={ argv[]=/usr/lib/apt/apt.systemd.daily update ; }\n",
			"systemctl show --no-pager --property=ExecStart -- apt-daily-upgrade.service":                                               "ExecStart={ argv[]=/usr/lib/apt/apt.systemd.daily install ; }\n",
			"systemctl show --no-pager --property=ExecStart,ExecStartPost -- ringwall-mounts.service":                                   "ExecStart={ argv[]=mount -o remount,bind,nosuid,nodev,noexec /tmp ; }\nExecStart={ argv[]=mount -o remount,bind,nosuid,nodev,noexec /dev/shm ; }\n",
		}}
		for _, unit := range units {
			m.said[showUnit+unit] = enabled
			daily(m.said, unit)
		}
		changes, err := planOf(id, m)
		if err != nil {
			t.Errorf("%s: %v", id, err)
		}
		for _, c := range changes { // so that the unit's own file is as it should be
			if c.File != nil {
				m.files[c.File.Path] = file(c.File.Content)
			}
		}
		m.said[askTimes+"*-*-* 06,18:00:00"] = times(time.Hour, 365*24*time.Hour, 20)
		m.said["systemctl show --no-pager --property=ExecStart,ExecStartPost -- ringwall-mounts.service"] = "ExecStart={ argv[]=/bin/true ; }\n"
		var hint host.Hint
		if _, err := planOf(id, m); !errors.As(err, &hint) || !strings.Contains(hint.Error(), units[0]) || !strings.Contains(hint.Error(), "systemctl cat") {
			t.Errorf("%s: %v", id, err)
		}
	}
}
