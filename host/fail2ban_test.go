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

// TestWhomFail2banSpares: a jail that runs and reads, and bans nobody, or only whom
// somebody else lets it.
func TestWhomFail2banSpares(t *testing.T) {
	const (
		get     = "fail2ban-client get sshd "
		ignored = get + "ignoreip"
		command = get + "ignorecommand"
		ours    = "/etc/fail2ban/jail.d/ringwall.local"
		local   = "These IP addresses/networks are ignored:\n|- 127.0.0.0/8\n`- ::1\n"
	)
	stock := map[string]string{
		"dpkg-query -W -f ${db:Status-Status} ${Version}\n -- fail2ban":                                "installed 1.0.2\n",
		"systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- fail2ban.service": "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
		"fail2ban-client status": "Status\n|- Number of jail:\t1\n`- Jail list:\tsshd\n",
		get + "journalmatch":     "No journal match filter set\n", get + "logpath": "Current monitored log file(s):\n`- /var/log/auth.log\n",
		"stat -L -c %Y -- /var/log/auth.log": "1700000000\n", "fail2ban-client get logtarget": "Current logging target is:\n`- /var/log/auth.log\n",
		"journalctl -q --no-pager -b -n 1 -o json -- _UID=0 _TRANSPORT=syslog _COMM=sshd + _UID=0 _TRANSPORT=syslog _COMM=sshd-session": `{"__REALTIME_TIMESTAMP":"1700000001000000"}`,
		ignored: "No IP address/network is ignored\n", command: "\n", get + "maxretry": "5\n", get + "bantime": "600\n", get + "banip": "\n",
	}
	ringwall := maps.Clone(stock)
	for line, said := range stock {
		if key, ok := strings.CutPrefix(line, get); ok {
			ringwall["fail2ban-client get recidive "+key] = said
		}
	}
	ringwall["fail2ban-client status"] = "Status\n|- Number of jail:\t2\n`- Jail list:\trecidive, sshd\n"
	ringwall[ignored], ringwall["fail2ban-client get recidive ignoreip"] = local, local
	for _, tt := range []struct {
		name    string
		held    bool // the file of host apply is there
		changes map[string]string
		want    check.Verdict
		got     string
	}{
		{"as the distribution has it", false, nil, check.Pass, "sshd;"},
		{"as fail2ban says that there is no command", false, map[string]string{command: "False\n"}, check.Pass, "sshd;"},
		{"a machine by its name", false, map[string]string{ignored: local + "`- office.example.com\n"}, check.Pass, "sshd;"},
		{"as apply has it", true, nil, check.Pass, "sshd, recidive;"},

		{"everybody", false, map[string]string{ignored: "These IP addresses/networks are ignored:\n`- 0.0.0.0/0\n"}, check.Fail, "nobody of 0.0.0.0/0"},
		{"everybody, by halves", false, map[string]string{ignored: "These IP addresses/networks are ignored:\n|- 0.0.0.0/1\n`- 128.0.0.0/1\n"}, check.Fail, "nobody of 0.0.0.0/1"},
		{"all of IPv6", false, map[string]string{ignored: "These IP addresses/networks are ignored:\n`- ::/0\n"}, check.Fail, "nobody of ::/0"},
		{"a command", false, map[string]string{command: "/usr/local/bin/spare <ip>\n"}, check.Unknown, "look at what it spares: /usr/local/bin/spare <ip>"},
		{"a command that says yes", false, map[string]string{command: "/bin/true\n"}, check.Fail, "ignorecommand = /bin/true"},
		{"a list in a file", false, map[string]string{ignored: local + "`- file:/etc/spared\n"}, check.Unknown, "file:/etc/spared: look"},
		{"a command beside apply's", true, map[string]string{"fail2ban-client get recidive ignorecommand": "/usr/local/bin/spare <ip>\n"}, check.Fail, "jail recidive bans only whom"},
		{"a machine beside apply's", true, map[string]string{ignored: local + "`- office.example.com\n"}, check.Fail, "does not ban office.example.com"},
		{"a command, and no log", false, map[string]string{command: "/usr/local/bin/spare <ip>\n", get + "logpath": "No file is currently monitored\n"}, check.Fail, "reads nothing at all"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := texts{files: map[string]host.FileState{"/etc/os-release": debian}, said: maps.Clone(stock)}
			if tt.held {
				m.files[ours], m.said = file(""), maps.Clone(ringwall)
			}
			maps.Copy(m.said, tt.changes)
			f, _ := host.Verify("host/fail2ban", &policy.Policy{}, host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}
