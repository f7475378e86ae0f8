package host_test

import (
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

const showUnit = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- "

// walled is a server with ufw as an apply leaves it: the rules are those of Debian
// 12, word for word, which 13 and Ubuntu 22.04 and 24.04 have too.
func walled(t *testing.T) texts {
	t.Helper()
	rules := func(name string) string {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	return texts{
		files: map[string]host.FileState{
			"/etc/os-release": debian, "/proc/net/if_inet6": file("1"), "/etc/ufw/ufw.conf": file("ENABLED=yes\n"), "/etc/default/ufw": file("IPV6=yes\n"),
		},
		said: map[string]string{
			"iptables -S": rules("ufw4.txt"), "ip6tables -S": rules("ufw6.txt"),
			"ip -j -4 route show table all": routes,
			"ip -j -6 route show table all": `[{"dst":"2001:db8::/64","dev":"ens3","protocol":"kernel"},{"dst":"default","gateway":"fe80::1","dev":"ens3","flags":[]},{"type":"unreachable","dst":"default","dev":"lo","metric":4294967295}]`,
			"ss -Hlntup":                    "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n",
			showUnit + "ssh.socket":         "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n",
			showUnit + "ufw.service":        "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n",
			showUnit + "nftables.service":   "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n",
			showUnit + "firewalld.service":  "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n",
			isInstalled + "ufw":             "installed 0.36\n",
			isInstalled + "iptables":        "installed 1.8\n",
			"ufw status verbose":            "Status: active\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n",
			"ufw show added":                "Added user rules (see 'ufw status' for running firewall):\nufw limit 22/tcp\nufw allow 80/tcp\nufw allow 443/tcp\nufw allow out 53/udp\nufw allow in on docker0 to any port 53\n",
		},
	}
}

const isInstalled = "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- "

func (m texts) and(command, lines string) texts {
	m.said = maps.Clone(m.said)
	m.said[command] += lines
	return m
}

// TestWaysThroughTheFirewall: ufw's own rules are known by heart, and whatever else
// lets everybody in is found, whichever chain it is in.
func TestWaysThroughTheFirewall(t *testing.T) {
	const other, open = "another program, or a file of ufw's, lets in: ", "open to everybody, and not in the policy: "
	for _, tt := range []struct {
		name, command, lines string
		want                 check.Verdict
		got                  string
	}{
		{"right", "", "", check.Pass, "INPUT drops"},
		{"docker's and fail2ban's chains", "iptables -S", "-N DOCKER\n-N f2b-sshd\n-A FORWARD -j DOCKER\n-A DOCKER -d 172.17.0.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT\n" +
			"-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd\n-A f2b-sshd -s 192.0.2.7/32 -j REJECT --reject-with icmp-port-unreachable\n-A f2b-sshd -j RETURN\n", check.Pass, ""},
		{"libvirt's", "iptables -S", "-A INPUT -j LIBVIRT_INP\n-A LIBVIRT_INP -i virbr0 -p udp -m udp --dport 53 -j ACCEPT\n", check.Pass, ""},
		{"podman's", "iptables -S", "-A INPUT -m comment --comment \"netavark firewall rules\" -j NETAVARK_INPUT\n-A NETAVARK_INPUT -s 10.88.0.0/16 -p udp -m udp --dport 53 -j ACCEPT\n", check.Pass, ""},
		{"ufw allow from 192.0.2.7", "iptables -S", "-A ufw-user-input -s 192.0.2.7/32 -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Pass, ""},
		{"ufw allow 80", "iptables -S", "-A ufw-user-input -p udp -m udp --dport 80 -j ACCEPT\n", check.Pass, ""},
		{"a port of the policy, by another", "iptables -S", "-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT\n", check.Pass, ""},
		{"all but a private network dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j mine\n-A mine ! -s 10.0.0.0/8 -j DROP\n-A mine -j ACCEPT\n", check.Pass, ""},
		{"a private network returns, the rest dropped", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j mine\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n-A mine -s 192.168.0.0/16 -j RETURN\n-A mine -j REJECT --reject-with tcp-reset\n", check.Pass, ""},
		{"all but the policy's ports dropped first", "iptables -S", "-A INPUT -p tcp -j mine\n-A mine -p tcp -m multiport ! --dports 22,80,443 -j DROP\n-A mine -j ACCEPT\n", check.Pass, ""},
		{"dropped on the interfaces that lead out", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j mine\n-A mine -i eth0 -j DROP\n-A mine -i ens+ -j DROP\n-A mine -j ACCEPT\n", check.Pass, ""},
		{"all that begins is dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Pass, ""},
		{"a range that is dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5000:6000 -j DROP\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Pass, ""},
		{"the other ports go to a chain that drops", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -g mine\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n-A mine -m iprange --src-range 10.0.0.1-10.0.0.9 -j ACCEPT\n-A mine -j DROP\n", check.Pass, ""},

		{"all but one address dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j mine\n-A mine ! -s 198.51.100.7/32 -j DROP\n-A mine -j ACCEPT\n", check.Fail, other + "-A mine -j ACCEPT"},
		{"only some dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -s 198.51.100.0/24 -j DROP\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"at some times dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m time --timestart 01:00:00 --timestop 02:00:00 -j DROP\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"of a module without words dropped first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m socket -j DROP\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"dropped for one interface of two", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j mine\n-A mine -i eth0 -j DROP\n-A mine -j ACCEPT\n", check.Fail, other},
		{"dropped for one of its addresses", "iptables -S", "-A INPUT -d 192.0.2.1/32 -p tcp -m tcp --dport 5432 -j DROP\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"dropped after", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 5432 -j DROP\n", check.Fail, other},
		{"dropped in a chain that returned before", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j mine\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n-A mine -s 198.51.100.0/24 -j RETURN\n-A mine -j DROP\n", check.Fail, other},
		{"only logged first", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j LOG --log-prefix \"-j DROP\"\n-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"a comment that says it is dropped", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m comment --comment -j -j ACCEPT\n", check.Fail, other},
		{"a comment of two lines", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m comment --comment \"a \\\"\nb\" -j ACCEPT\n", check.Fail, other},
		{"a name like an option", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m recent --set --name -j --mask 255.255.255.255 --rsource -j ACCEPT\n", check.Fail, other},
		{"one that connects for others", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -m conntrack --ctstate INVALID,UNTRACKED -j SYNPROXY --sack-perm --timestamp --wscale 7 --mss 1460\n", check.Fail, other},
		{"what DNAT sends to loopback", "iptables -S", "-A INPUT -d 127.0.0.0/8 -j ACCEPT\n", check.Fail, other},
		{"a protocol that nobody lists who listens by", "iptables -S", "-A ufw-user-input -p sctp -m sctp --dport 80 -j ACCEPT\n", check.Fail, open},
		{"on INPUT", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other + "-A INPUT -p tcp"},
		{"a file of ufw's", "iptables -S", "-A ufw-before-input -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other + "-A ufw-before-input"},
		{"over IPv6", "ip6tables -S", "-A ufw6-before-input -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, "IPv6: " + other},
		{"an own chain", "iptables -S", "-N mine\n-A INPUT -j mine\n-A mine -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other + "-A mine"},
		{"by goto", "iptables -S", "-A INPUT -p tcp -m tcp --dport 5432 -g mine\n-A mine -j ACCEPT\n", check.Fail, other + "-A mine -j ACCEPT"},
		{"all of it", "iptables -S", "-A ufw-after-input -j ACCEPT\n", check.Fail, other},
		{"what a program decides", "iptables -S", "-A INPUT -j NFQUEUE --queue-num 0\n", check.Fail, other},
		{"some of the ports", "iptables -S", "-A INPUT -p tcp -m multiport --dports 80,5432 -j ACCEPT\n", check.Fail, other},
		{"a range of ports", "iptables -S", "-A INPUT -p tcp -m tcp --dport 22:6000 -j ACCEPT\n", check.Fail, other},
		{"all but one port", "iptables -S", "-A INPUT -p tcp -m tcp ! --dport 22 -j ACCEPT\n", check.Fail, other},
		{"the same port of another protocol", "iptables -S", "-A INPUT -p udp -m udp --dport 443 -j ACCEPT\n", check.Fail, other},
		{"all but one address", "iptables -S", "-A INPUT ! -s 192.0.2.7/32 -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"half of the Internet", "iptables -S", "-A ufw-user-input -s 0.0.0.0/1 -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, open},
		{"a source that only a comment names", "iptables -S", "-A ufw-user-input -p tcp -m tcp --dport 5432 -m comment --comment \"x -s 192.0.2.7/32 \\\" -i lo\" -j ACCEPT\n", check.Fail, open},
		{"new connections, too", "iptables -S", "-A INPUT -m conntrack --ctstate NEW,ESTABLISHED -j ACCEPT\n", check.Fail, other},
		{"on the interface that leads out", "iptables -S", "-A ufw-user-input -i eth0 -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, open},
		{"on that and others", "iptables -S", "-A INPUT -i e+ -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"on the one of IPv6", "ip6tables -S", "-A INPUT -i ens3 -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"on all but loopback", "iptables -S", "-A INPUT ! -i lo -p tcp -m tcp --dport 5432 -j ACCEPT\n", check.Fail, other},
		{"addresses of the Internet, not by ufw", "iptables -S", "-A INPUT -s 198.51.100.0/24 -j ACCEPT\n", check.Fail, other},
		{"ufw's own rule", "iptables -S", "-A ufw-user-input -p tcp -m tcp --dport 8000 -j ACCEPT\n", check.Fail, open + "-A ufw-user-input -p tcp -m tcp --dport 8000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := walled(t).and(tt.command, tt.lines)
			f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
			// An apply would find the same at its end, and undo all: its plan says so before.
			_, err := planOf("host/firewall", m)
			if wants := strings.Contains(tt.got, other); wants != (err != nil) || wants && !strings.Contains(err.Error(), "lets in: ") {
				t.Errorf("the plan: %v", err)
			}
		})
	}
	m := walled(t)
	m.said["iptables -S"] = strings.ReplaceAll(m.said["iptables -S"], "-A ufw-before-input -j ufw-user-input\n", "")
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Fail || !strings.Contains(f.Got, "22/tcp is closed") {
		t.Errorf("a chain that nothing leads to: %v %s", f.Verdict, f.Got)
	}
	m = walled(t)
	delete(m.said, "ip -j -4 route show table all")
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Unknown {
		t.Errorf("no routes are seen: %v %s", f.Verdict, f.Got)
	}
	m = walled(t).and("iptables -S", "-A INPUT -i eth1 -p tcp -m tcp --dport 5432 -j ACCEPT\n")
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Pass {
		t.Errorf("an interface that leads nowhere: %v %s", f.Verdict, f.Got)
	}
	m.said["ip -j -4 route show table all"] = strings.Replace(routes, "[", `[{"dst":"default","gateway":"203.0.113.1","dev":"eth1","table":"100","flags":[]},`, 1)
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Fail || !strings.Contains(f.Got, "-i eth1") {
		t.Errorf("an interface that leads out by a rule: %v %s", f.Verdict, f.Got)
	}
	// Chains that let go some of which nobody knows who they are, and drop the rest.
	var lists strings.Builder
	for i := range 30 {
		fmt.Fprintf(&lists, "-A INPUT -j l%[1]d\n-A l%[1]d -m set --match-set a src -j RETURN\n-A l%[1]d -m set --match-set b src -j RETURN\n-A l%[1]d -m set --match-set c src -j RETURN\n-A l%[1]d -j DROP\n", i)
	}
	m = walled(t)
	m.said["iptables -S"] = lists.String() + m.said["iptables -S"]
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Pass {
		t.Errorf("many lists: %v %s", f.Verdict, f.Got)
	}
	// Ports and addresses that cut each other into ever more parts.
	var cut strings.Builder
	cut.WriteString("-A INPUT -j cut\n")
	for i := range 400 {
		fmt.Fprintf(&cut, "-A cut -s %d.%d.0.1/32 -p tcp -m tcp --dport %d:%d -j RETURN\n", 1+i%9, i%251, 1000+i, 2000+2*i)
	}
	m = walled(t).and("iptables -S", cut.String())
	begun := time.Now()
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Unknown || time.Since(begun) > time.Minute {
		t.Errorf("many parts: %v %s, after %v", f.Verdict, f.Got, time.Since(begun))
	}
	var deep strings.Builder // each chain twice: more ways than anybody could look at
	for i := range 40 {
		from, to := "c"+strings.Repeat("x", i), "c"+strings.Repeat("x", i+1)
		deep.WriteString(strings.Repeat("-A "+from+" -j "+to+"\n", 2))
	}
	m = walled(t).and("iptables -S", "-A INPUT -j c\n"+deep.String())
	if f, _ := host.Verify("host/firewall", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Unknown {
		t.Errorf("too many ways: %v %s", f.Verdict, f.Got)
	}
}

func planOf(id string, m host.Source) ([]host.Change, error) {
	for _, c := range host.Controls() {
		if c.ID == id {
			return c.Plan(policy.Default(), host.NewFacts(m))
		}
	}
	panic("no control " + id)
}

// TestPlanOfTheFirewall: a rule for the interface that leads out is for everybody, and
// closed; what goes out, and what comes from within, is left alone.
func TestPlanOfTheFirewall(t *testing.T) {
	if changes, err := planOf("host/firewall", walled(t)); err != nil || len(changes) != 0 {
		t.Errorf("%v, %+v", err, changes)
	}
	changes, err := planOf("host/firewall", walled(t).and("ufw show added", "ufw allow in on eth0 to any port 5432\n"))
	if err != nil || len(changes) != 1 || strings.Join(changes[0].Command.Argv, " ") != "ufw --force delete allow in on eth0 to any port 5432" {
		t.Errorf("%v, %+v", err, changes)
	}
}
