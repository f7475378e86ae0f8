package host_test

import (
	"maps"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

func listing(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const (
	enabled  = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
	disabled = "LoadState=loaded\nActiveState=active\nUnitFileState=disabled\n"
)

// TestVerdictsOfBans has the table as nft lists it on Debian 12, with one banned
// address, sets for two kinds of networks, and two that are spared.
func TestVerdictsOfBans(t *testing.T) {
	right := listing(t, "bans.txt")
	const first, one = "\t\tiifname \"lo\" accept\n", "\t\tip saddr @banned4_32 counter packets 0 bytes 0 drop\n"
	before := func(rule string) string { return strings.Replace(right, first, "\t\t"+rule+"\n"+first, 1) }
	without := func(line string) string { return strings.Replace(right, line, "", 1) }
	flushed, _, _ := strings.Cut(right, first)
	for _, tt := range []struct {
		name  string
		rules string
		said  map[string]string
		want  check.Verdict
		got   string
	}{
		{"right", right, nil, check.Pass, "drops the 1 addresses"},
		{"in sets of another name", strings.NewReplacer(one, "", "\t\tip6 saddr & ffff:ffff:ffff:ffff:: == @banned6_64 counter packets 0 bytes 0 drop\n", "", "\t\tip saddr & 255.255.255.0 == @banned4_24 counter packets 0 bytes 0 drop\n", "",
			"banned4_32", "other4", "banned6_64", "other6", "banned4_24", "others4").Replace(right), nil, check.Fail, "the kernel lets it in"},
		{"no table", "", nil, check.Fail, "no table inet ringwall"},
		{"another's table", "table ip ringwall {\n}\n", nil, check.Fail, "no table inet ringwall"},
		{"asleep", strings.Replace(right, "{\n", "{\n\tflags dormant\n\n", 1), nil, check.Fail, "in force"},
		{"the chain is flushed", flushed + "\t}\n}\n", nil, check.Fail, "is missing: iifname"},
		{"the chain is no hook", without("\t\ttype filter hook prerouting priority mangle; policy accept;\n"), nil, check.Fail, "in force"},
		{"one rule is deleted", without(one), nil, check.Fail, "no rule drops whom the set banned4_32 holds"},
		{"it drops others", strings.Replace(right, "255.255.255.0 ==", "255.255.255.255 ==", 1), nil, check.Fail, "not ours: ip saddr & 255.255.255.255"},
		{"all is accepted first", before("accept"), nil, check.Fail, "not ours: accept"},
		{"some is accepted first", before("tcp dport 22 accept"), nil, check.Fail, "not ours"},
		{"the spared are dropped first", strings.Replace(without(one), first, one+first, 1), nil, check.Fail, "before all that spare"},
		{"nobody is spared", without("\t\tip saddr @spared4 accept\n"), nil, check.Fail, "before all that spare"},
		{"the set is empty", strings.Replace(right, "elements = { 192.0.2.9", "elements = { 192.0.2.8", 1), nil, check.Fail, "bans 192.0.2.9/32, and the kernel lets it in"},
		{"only among the spared", strings.NewReplacer("{ 192.0.2.9", "{ 192.0.2.8", "203.0.113.7", "192.0.2.9, 203.0.113.7").Replace(right), nil, check.Fail, "lets it in"},
		{"the office is not spared", strings.Replace(right, "10.0.0.0/8, ", "", 1), nil, check.Fail, "shut out 10.1.0.0/16"},
		{"not with the next start", right, map[string]string{showUnit + "ringwall-bans.service": disabled}, check.Fail, "ringwall-bans.service is disabled"},
		{"nor its socket", right, map[string]string{showUnit + "ringwall-bans.socket": disabled}, check.Fail, "ringwall-bans.socket is disabled"},
		{"for this run alone", right, map[string]string{showUnit + "ringwall-bans.service": strings.Replace(enabled, "=enabled", "=enabled-runtime", 1)}, check.Fail, "is enabled-runtime"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := time.Now()
			bans := "1\n" + `{"address":"192.0.2.9/32","began":"` + now.Add(-time.Minute).Format(time.RFC3339) + `","until":"` + now.Add(time.Hour).Format(time.RFC3339) + `"}` + "\n"
			m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/var/lib/ringwall/serve/bans.json": file(bans)}, said: map[string]string{
				"nft list ruleset": tt.rules, showUnit + "ringwall-bans.service": enabled, showUnit + "ringwall-bans.socket": enabled, showUnit + "ringwall.service": enabled,
				"systemctl show --no-pager --property=Environment,SupplementaryGroups -- ringwall.service": "Environment=RINGWALL_BANS_SOCKET=/run/ringwall-bans.sock\nSupplementaryGroups=ringwall-bans\n",
			}}
			maps.Copy(m.said, tt.said)
			p := policy.Default()
			p.Host.Allow = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}
			f, _ := host.Verify("host/bans", p, host.NewFacts(m), now)
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}

// TestWhomFail2banDrops: a set that holds whom a jail bans drops nobody by itself. The
// listing has two jails of fail2ban's nftables and one of its iptables.
func TestWhomFail2banDrops(t *testing.T) {
	const get = "fail2ban-client get sshd "
	right, now := listing(t, "f2b.txt"), time.Now()
	at := func(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) + "\n" }
	entry := func(t time.Time) string {
		return `{"__REALTIME_TIMESTAMP":"` + strconv.FormatInt(t.UnixMicro(), 10) + `"}`
	}
	const log, journal = "stat -L -c %Y -- /var/log/auth.log", "journalctl -q --no-pager -b -n 1 -o json -- _UID=0 _TRANSPORT=syslog _COMM=sshd + _UID=0 _TRANSPORT=syslog _COMM=sshd-session"
	// As fail2ban's action iptables-ipset has it, and ipset and iptables print it.
	const setRule = "-A INPUT -p tcp -m multiport --dports 22 -m set --match-set f2b-sshd src -j REJECT --reject-with icmp-port-unreachable\n"
	sets := func(old, as string) map[string]string {
		r := strings.NewReplacer(old, as)
		return map[string]string{isInstalled + "iptables": "installed 1\n", "iptables -S": r.Replace(setRule), "ip6tables -S": strings.Replace(setRule, "f2b-sshd", "f2b-sshd6", 1),
			"ipset save": r.Replace("create f2b-sshd hash:ip family inet hashsize 1024 maxelem 65536 timeout 600 bucketsize 12 initval 0x5ed9d9ba\nadd f2b-sshd 192.0.2.7 timeout 599\nadd f2b-sshd6 2001:db8::a timeout 5\nadd other 192.0.2.9\n")}
	}
	rule := "\t\ttcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable\n"
	for _, tt := range []struct {
		name, banned, rules string
		said                map[string]string
		want                check.Verdict
		got                 string
	}{
		{"nobody", "", "", nil, check.Pass, "0 addresses are banned"},
		{"one of many", "192.0.2.77", right, nil, check.Pass, "1 addresses are banned"},
		{"over IPv6", "2001:db8::a", right, nil, check.Pass, "1 addresses are banned"},
		{"by iptables", "192.0.2.50", right, nil, check.Pass, "1 addresses are banned"},
		{"the chain is flushed", "192.0.2.9", strings.Replace(right, rule, "", 1), nil, check.Fail, "bans 192.0.2.9, and the kernel lets it in"},
		{"the rule lets them in", "192.0.2.9", strings.Replace(right, "reject with icmp port-", "accept ", 1), nil, check.Fail, "lets it in"},
		{"all but them", "192.0.2.9", strings.Replace(right, "saddr @addr-set", "saddr != @addr-set", 1), nil, check.Fail, "lets it in"},
		{"another set", "192.0.2.9", strings.Replace(right, "saddr @addr-set", "saddr @x-set", 1), nil, check.Fail, "lets it in"},
		{"of what goes out", "192.0.2.9", strings.Replace(right, "hook input", "hook output", 1), nil, check.Fail, "lets it in"},
		{"asleep", "192.0.2.9", strings.Replace(right, "{\n", "{\n\tflags dormant\n", 1), nil, check.Fail, "lets it in"},
		{"nothing leads there", "192.0.2.50", strings.Replace(right, "jump f2b-ssh", "return", 1), nil, check.Fail, "lets it in"},
		{"at times", "192.0.2.51", right, nil, check.Fail, "lets it in"},

		{"by iptables and a set", "192.0.2.7", "", sets("nothing", ""), check.Pass, "1 addresses are banned"},
		{"by a chain of its own", "192.0.2.7", "", map[string]string{isInstalled + "iptables": "installed 1\n", "iptables -S": "-A INPUT -p tcp -j f2b\n-A f2b -s 192.0.2.7/32 -j DROP\n"}, check.Pass, "1 addresses are banned"},
		{"by ip6tables and a set", "2001:db8::a", "", sets("nothing", ""), check.Pass, "1 addresses are banned"},
		{"not in the set", "192.0.2.8", "", sets("nothing", ""), check.Fail, "bans 192.0.2.8, and the kernel lets it in"},
		{"in another set", "192.0.2.9", "", sets("nothing", ""), check.Fail, "lets it in"},
		{"all but the set", "192.0.2.7", "", sets("--match-set", "! --match-set"), check.Fail, "lets it in"},
		{"where it goes to", "192.0.2.7", "", sets("sshd src", "sshd dst"), check.Fail, "lets it in"},
		{"the set is let in", "192.0.2.7", "", sets("REJECT", "ACCEPT"), check.Fail, "lets it in"},
		{"and in a second set", "192.0.2.7", "", sets("src -j", "src -m set --match-set other src -j"), check.Fail, "lets it in"},
		{"seldom", "192.0.2.7", "", sets("src -j", "src -m limit --limit 1/min -j"), check.Fail, "lets it in"},
		{"of one state", "192.0.2.7", "", sets("src -j", "src -m conntrack --ctstate INVALID -j"), check.Fail, "lets it in"},
		{"from one interface", "192.0.2.7", "", sets("-p tcp", "-i docker0 -p tcp"), check.Fail, "lets it in"},
		{"at another port", "192.0.2.7", "", sets("--dports 22", "--dports 80,443"), check.Fail, "lets it in at port 22"},
		{"over UDP", "192.0.2.7", "", sets("-p tcp", "-p udp"), check.Fail, "lets it in"},
		{"at ports about it", "192.0.2.7", "", sets("--dports 22", "--dports 1:100"), check.Pass, "1 addresses are banned"},
		{"behind who lets all in", "192.0.2.7", "", sets("-A INPUT", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT"), check.Fail, "lets it in"},
		{"behind a chain that does", "192.0.2.7", "", sets("-A INPUT", "-A mine -p tcp -j ACCEPT\n-A INPUT -j mine\n-A INPUT"), check.Fail, "lets it in"},
		{"behind another port", "192.0.2.7", "", sets("-A INPUT", "-A INPUT -p tcp -m tcp --dport 443 -j ACCEPT\n-A INPUT"), check.Pass, "1 addresses are banned"},
		{"behind who goes on", "192.0.2.7", "", sets("-A INPUT", "-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT"), check.Pass, "1 addresses are banned"},
		{"behind the end of its chain", "192.0.2.7", "", map[string]string{isInstalled + "iptables": "installed 1\n", "iptables -S": "-A INPUT -p tcp -j f2b\n-A f2b -j RETURN\n-A f2b -s 192.0.2.7/32 -j DROP\n"}, check.Fail, "lets it in"},
		{"nothing leads to the rule", "192.0.2.7", "", sets("-A INPUT", "-A mine"), check.Fail, "lets it in"},
		{"an exception of the set", "192.0.2.7", "", sets("192.0.2.7 timeout 599", "192.0.2.7 nomatch"), check.Fail, "lets it in"},
		{"the sets are not seen", "192.0.2.7", "", map[string]string{isInstalled + "iptables": "installed 1\n", "iptables -S": setRule}, check.Unknown, "not seen whether the kernel drops it"},
		{"an old log", "", "", map[string]string{log: at(now.Add(-2 * time.Hour))}, check.Fail, "nothing came since"},
		{"a log that is a little behind", "", "", map[string]string{log: at(now.Add(-30 * time.Second))}, check.Pass, "0 addresses"},
		{"sshd says nothing", "", "", map[string]string{journal: ""}, check.Unknown, "sign in once"},
		{"no journal", "", "", map[string]string{journal: "no: "}, check.Unknown, "sign in once"},
		{"no time", "", "", map[string]string{journal: "{}"}, check.Unknown, "has no time"},
		{"two logs", "", "", map[string]string{get + "logpath": "Current monitored log file(s):\n|- /var/log/auth.log\n`- /var/log/secure\n", log: at(now.Add(-2 * time.Hour)), "stat -L -c %Y -- /var/log/secure": at(now)}, check.Pass, "0 addresses"},
		{"the log cannot be seen", "", "", map[string]string{log: "no: "}, check.Unknown, "stat"},
		{"recidive reads another's log", "", "", map[string]string{"fail2ban-client get logtarget": "Current logging target is:\n`- SYSLOG\n"}, check.Fail, "recidive reads /var/log/auth.log, and fail2ban writes to SYSLOG"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := texts{files: map[string]host.FileState{"/etc/os-release": debian}, said: map[string]string{
				"ss -Hlntup": "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n", showUnit + "ssh.socket": "LoadState=not-found\n",
				isInstalled + "fail2ban": "installed 1.0.2\n", isInstalled + "iptables": "no", showUnit + "fail2ban.service": enabled, "fail2ban-client status": "`- Jail list:\trecidive, sshd\n",
				"nft list ruleset": tt.rules, log: at(now), journal: entry(now), "fail2ban-client get logtarget": "Current logging target is:\n`- /var/log/auth.log\n",
			}}
			for key, said := range map[string]string{"journalmatch": "No journal match filter set\n", "logpath": "Current monitored log file(s):\n`- /var/log/auth.log\n", "ignoreip": "No IP address/network is ignored\n",
				"ignorecommand": "\n", "maxretry": "5\n", "bantime": "600\n", "banip": "\n"} {
				m.said[get+key], m.said["fail2ban-client get recidive "+key] = said, said
			}
			m.said[get+"banip"] = tt.banned + "\n"
			maps.Copy(m.said, tt.said)
			f, _ := host.Verify("host/fail2ban", &policy.Policy{}, host.NewFacts(m), now)
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
}

// TestNotAfterTheNextStart: it is in force, and its unit is off.
func TestNotAfterTheNextStart(t *testing.T) {
	mounts := file("21 1 8:1 / / rw - ext4 /dev/sda1 rw\n22 21 8:1 /tmp /tmp rw,nosuid,nodev,noexec - ext4 /dev/sda1 rw\n23 21 0:5 / /dev/shm rw,nosuid,nodev,noexec - tmpfs tmpfs rw\n")
	published := "table inet ringwall_published {\n\tchain forward {\n\t\ttype filter hook forward priority filter - 1; policy accept;\n\t\tcounter packets 7 bytes 420 drop\n\t}\n}\n"
	journald := map[string]string{
		"journalctl -q --no-pager -b -n 1 -o json --": `{"__MONOTONIC_TIMESTAMP":"9"}`, "logrotate --debug /etc/logrotate.conf": "",
		"systemctl show --no-pager --property=ExecMainStartTimestampMonotonic -- systemd-journald.service":                                                 "ExecMainStartTimestampMonotonic=5\n",
		"journalctl -q --no-pager -b -n 1 -o json -- MESSAGE_ID=ec387f577b844b8fa948f33cad9a75e6 JOURNAL_NAME=System Journal JOURNAL_NAME=Runtime Journal": `{"JOURNAL_NAME":"System Journal","JOURNAL_PATH":"/var/log/journal/x","MAX_USE":"1000"}`,
	}
	const mountsRun = "systemctl show --no-pager --property=ExecStart,ExecStartPost -- ringwall-mounts.service"
	runsMounts := "ExecStart={ path=mount ; argv[]=mount -o remount,bind,nosuid,nodev,noexec /tmp ; ignore_errors=no }\nExecStart={ path=mount ; argv[]=mount -o remount,bind,nosuid,nodev,noexec /dev/shm ; ignore_errors=no }\n"
	for _, tt := range []struct {
		control, unit, state string
		want                 check.Verdict
		more                 map[string]string
	}{
		{"host/mounts", "ringwall-mounts.service", enabled, check.Pass, nil},
		{"host/mounts", "ringwall-mounts.service", "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n", check.Pass, map[string]string{mountsRun: "ExecStart=\n"}}, // fstab has them
		{"host/mounts", "ringwall-mounts.service", disabled, check.Fail, nil},
		{"host/mounts", "ringwall-mounts.service", strings.Replace(enabled, "=loaded", "=bad-setting", 1), check.Fail, nil},
		{"host/mounts", "ringwall-mounts.service", enabled, check.Fail, map[string]string{mountsRun: "ExecStart={ path=/bin/true ; argv[]=/bin/true ; ignore_errors=no }\n"}},
		{"host/mounts", "ringwall-mounts.service", enabled, check.Fail, map[string]string{mountsRun: strings.Replace(runsMounts, "noexec /dev/shm", "exec /dev/shm", 1)}},
		{"host/mounts", "ringwall-mounts.service", enabled, check.Fail, map[string]string{mountsRun: runsMounts + "ExecStartPost={ path=mount ; argv[]=mount -o remount,bind,exec /tmp ; ignore_errors=no }\n"}},
		{"host/mounts", "ringwall-mounts.service", enabled, check.Fail, map[string]string{mountsRun: "ExecStart={ path=/bin/sh ; argv[]=/bin/sh -c mountpoint -q /tmp ; ignore_errors=no }\n" + runsMounts + "ExecStart={ path=mount ; argv[]=mount -o remount,bind,exec /tmp ; ignore_errors=no }\n"}},
		{"host/mounts", "ringwall-mounts.service", enabled, check.Unknown, map[string]string{showDropIn + "ringwall-mounts.service": "DropInPaths=/etc/x.conf /etc/y.conf\n"}},
		{"host/logs", "logrotate.timer", enabled, check.Pass, nil},
		{"host/logs", "logrotate.timer", disabled, check.Fail, nil},
		{"host/logs", "logrotate.timer", strings.Replace(enabled, "=enabled", "=masked", 1), check.Fail, nil},
		{"host/logs", "logrotate.timer", enabled, check.Fail, map[string]string{askTimes + "*-*-* 06,18:00:00": times(time.Hour, 365*24*time.Hour, 20)}},
		{"host/time", "chrony.service", enabled, check.Pass, nil},
		{"host/time", "chrony.service", disabled, check.Fail, nil},
		{"host/time", "chrony.service", strings.Replace(enabled, "=enabled", "=enabled-runtime", 1), check.Fail, nil},
		{"host/containers", "ringwall-published.service", enabled, check.Pass, nil},
		{"host/containers", "ringwall-published.service", disabled, check.Fail, nil},
	} {
		m := texts{files: map[string]host.FileState{"/etc/os-release": debian, "/proc/self/mountinfo": mounts}, said: maps.Clone(journald)}
		m.said["nft list ruleset"], m.said[isInstalled+"nftables"], m.said[isInstalled+"docker.io"] = published, "installed 1\n", "installed 1\n"
		m.said["systemd-detect-virt --container"], m.said["timedatectl show --value --property=NTPSynchronized"] = "none\n", "yes\n"
		for _, other := range []string{"systemd-timesyncd", "chrony", "ntpsec", "ntp", "openntpd"} {
			m.said[showUnit+other+".service"] = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
		}
		m.said[showUnit+tt.unit] = tt.state
		daily(m.said, "logrotate.timer")
		m.said[showDropIn+"ringwall-mounts.service"], m.said[mountsRun] = "DropInPaths=/etc/x.conf\n", runsMounts
		m.files["/etc/x.conf"], m.files["/etc/y.conf"] = file("[Unit]\nDescription=mine\n"), file("[Unit]\nConditionHost=elsewhere\n")
		maps.Copy(m.said, tt.more)
		f, _ := host.Verify(tt.control, policy.Default(), host.NewFacts(m), time.Now())
		if f.Verdict != tt.want || tt.want == check.Fail && !strings.Contains(f.Got, tt.unit+" ") {
			t.Errorf("%s, %q: %v %s", tt.control, tt.state, f.Verdict, f.Got)
		}
	}
}
