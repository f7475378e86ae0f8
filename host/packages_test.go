package host_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

func TestVerdictsOfPackages(t *testing.T) {
	const (
		installed = "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- debsums"
		timer     = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- ringwall-packages.timer"
		service   = "systemctl show --no-pager --property=ExecStart,Result,ExecMainStatus,ExecMainExitTimestampMonotonic -- ringwall-packages.service"
		since     = "systemctl show --no-pager --property=ActiveEnterTimestampMonotonic -- ringwall-packages.timer"
		journal   = "journalctl -q --no-pager -b -n 1 -o json -- _SYSTEMD_UNIT=ringwall-packages.service"

		uptime = "/proc/uptime"
		listed = "/var/lib/dpkg/info/libc6:amd64"
		bare   = "/var/lib/dpkg/info/openssh-server.list"

		runs = "ExecStart={ path=/usr/bin/debsums ; argv[]=/usr/bin/debsums --silent ; ignore_errors=no }\n"
	)
	right := map[string]string{
		since:     "ActiveEnterTimestampMonotonic=5000000\n",
		installed: "installed 3.0.2.1\n",
		timer:     "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
		service:   runs + "Result=success\nExecMainStatus=0\nExecMainExitTimestampMonotonic=77000000\n",
	}
	daily(right, "ringwall-packages.timer")
	weekly := strings.Replace(right[showTimer+"ringwall-packages.timer"], "06,18:00:00", "w", 1)
	right[askTimes+"*-*-* w"] = times(time.Hour, 7*24*time.Hour, 20)
	for _, tt := range []struct {
		name    string
		changes map[string]string
		want    check.Verdict
		got     string
	}{
		{"right", nil, check.Pass, "as its package brought it"},
		{"no debsums", map[string]string{installed: "no"}, check.Fail, "not installed"},
		{"no timer", map[string]string{timer: "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"}, check.Fail, "timer is inactive"},
		{"a timer until the next start", map[string]string{timer: "LoadState=loaded\nActiveState=active\nUnitFileState=disabled\n"}, check.Fail, "active disabled"},
		{"a timer of every week", map[string]string{showTimer + "ringwall-packages.timer": weekly}, check.Fail, "more than 3 days"},
		{"no look yet", map[string]string{service: runs + "Result=success\nExecMainStatus=0\nExecMainExitTimestampMonotonic=0\n"}, check.Unknown, "no look has ended"},
		{"a look before the timer", map[string]string{service: runs + "Result=exit-code\nExecMainStatus=2\nExecMainExitTimestampMonotonic=4000000\n"}, check.Unknown, "no look has ended"},
		{"a timer of years", map[string]string{uptime: "864000.5 9\n"}, check.Fail, "239h0m0s ago"},
		{"a package without a list", map[string]string{bare: ""}, check.Unknown, "the files of openssh-server"},
		{"something else looks", map[string]string{service: "ExecStart={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no }\nResult=success\nExecMainStatus=0\nExecMainExitTimestampMonotonic=77000000\n"}, check.Fail, "does not run debsums"},
		{"no service", map[string]string{service: "Result=success\nExecMainStatus=0\nExecMainExitTimestampMonotonic=0\n"}, check.Fail, "does not run debsums"},
		{"a changed file", map[string]string{
			service: runs + "Result=exit-code\nExecMainStatus=2\nExecMainExitTimestampMonotonic=77000000\n",
			journal: `{"MESSAGE":"debsums: changed file /usr/bin/sudo (from sudo package)"}`,
		}, check.Fail, "changed file /usr/bin/sudo"},
		{"a changed file, and no journal", map[string]string{service: runs + "Result=exit-code\nExecMainStatus=2\nExecMainExitTimestampMonotonic=77000000\n"}, check.Fail, "found a file"},
		{"it took too long", map[string]string{service: runs + "Result=timeout\nExecMainStatus=15\nExecMainExitTimestampMonotonic=77000000\n"}, check.Unknown, "timeout 15"},
		{"it could not", map[string]string{service: runs + "Result=exit-code\nExecMainStatus=255\nExecMainExitTimestampMonotonic=77000000\n"}, check.Unknown, "exit-code 255"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := texts{files: map[string]host.FileState{"/etc/os-release": debian, uptime: file("80.12 9\n"), listed + ".list": file(""), listed + ".md5sums": file("")}, said: maps.Clone(right)}
			for what, text := range tt.changes {
				if _, ok := right[what]; ok || what == journal {
					m.said[what] = text
				} else {
					m.files[what] = file(text)
				}
			}
			f, _ := host.Verify("host/packages", &policy.Policy{}, host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}
