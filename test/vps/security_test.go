//go:build linux

package vps_test

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestSecurityServices looks at what guards the server while nobody does: updates
// come, logs stay, containers are closed. All on one server, as each costs its
// start. Each control is broken by hand, too.
func TestSecurityServices(t *testing.T) {
	t.Parallel()
	for _, suite := range []string{"bookworm", "trixie", "jammy", "noble"} {
		t.Run(suite, func(t *testing.T) {
			inTurn(t)
			g := guard(t, suite, func(g *guarded) { apply(t, g.owner) })
			if out := g.owner.MustSSH("deploy", "sudo env "+ringwall+"plan"); !strings.Contains(out, "nothing to do") {
				t.Errorf("a second plan: %s", out)
			}
			g.pass("host/fail2ban", "host/bans", "host/updates", "host/logs")
			if text := g.status(); !regexp.MustCompile(`(?m)^LOOK +host/containers:`).MatchString(text) {
				t.Errorf("without an engine host/containers says more than it knows:\n%s", text)
			}
			g.open()
			g.breakUpdates()
			g.breakLogs()
			g.dryRun()
			if wholly(suite) {
				g.publish()
				g.restart()
			}
		})
	}
}

// open is what nmap sees from outside, at both addresses.
func (g *guarded) open() {
	g.As(g.again)
	for _, target := range [][]string{{g.Address.String()}, {"-6", g.Six.String()}} {
		out, err := g.Outside(append([]string{"nmap", "-n", "-Pn", "-T4", "--max-retries", "2", "-p", "1-1024,3000,5432,6379,8000,8001,8080,8443"}, target...)...)
		if err != nil {
			g.t.Errorf("nmap: %v", err)
		}
		var open []string
		for _, m := range regexp.MustCompile(`(?m)^(\d+)/tcp +open`).FindAllStringSubmatch(out, -1) {
			open = append(open, m[1])
		}
		if got := strings.Join(open, " "); got != "22 80 443" {
			g.t.Errorf("nmap sees %s open at %s\n%s", got, target, out)
		}
	}
}

func (g *guarded) breakUpdates() {
	if out := g.Run("apt-config", "dump"); !strings.Contains(out, `Automatic-Reboot-Time "03:30"`) || !strings.Contains(out, `Automatic-Reboot "true"`) {
		g.t.Error("the time of a restart is not in force")
	}
	g.Run("systemctl", "disable", "--now", "apt-daily-upgrade.timer")
	g.fail("host/updates", "apt-daily-upgrade.timer is inactive")
	g.Run("systemctl", "enable", "--now", "apt-daily-upgrade.timer")
	g.Write("/etc/apt/apt.conf.d/99off", "APT::Periodic::Unattended-Upgrade \"0\";\n", 0o644)
	g.fail("host/updates", "Unattended-Upgrade is off")
	g.Write("/etc/apt/apt.conf.d/99off", "Unattended-Upgrade::Automatic-Reboot \"false\";\n", 0o644)
	g.fail("host/updates", "a restart by itself is false")
	g.Write("/etc/apt/apt.conf.d/99off", "#clear Unattended-Upgrade::Origins-Pattern;\n#clear Unattended-Upgrade::Allowed-Origins;\n", 0o644)
	g.fail("host/updates", "no security archive is among the origins")
	g.Run("rm", "/etc/apt/apt.conf.d/99off")
	g.Run("sh", "-c", "mkdir /root/lists && mv /var/lib/apt/lists/*security* /root/lists/")
	g.fail("host/updates", "apt knows no security archive")
	g.Run("sh", "-c", "mv /root/lists/* /var/lib/apt/lists/")
	g.pass("host/updates")
}

// dryRun has unattended-upgrades do all but install.
func (g *guarded) dryRun() {
	out, err := g.Try("unattended-upgrade", "--dry-run", "-v")
	if err != nil || !regexp.MustCompile(`Allowed origins are:.*`+g.Suite+`-security,label=(Debian-Security|Ubuntu)`).MatchString(out) {
		g.t.Errorf("a dry run: %v\n%.3000s", err, out)
	}
}

func (g *guarded) breakLogs() {
	for _, broken := range []struct{ text, why string }{
		{"Storage=volatile", "in memory"},
		{"SystemMaxUse=8G", "may take 8192 MB"},
	} {
		g.Write("/etc/systemd/journald.conf.d/zz.conf", "[Journal]\n"+broken.text+"\n", 0o644)
		g.Run("systemctl", "restart", "systemd-journald")
		if broken.text != "Storage=volatile" {
			g.Run("journalctl", "--flush")
		}
		g.Run("logger", "hello")
		g.fail("host/logs", broken.why)
	}
	g.Run("rm", "/etc/systemd/journald.conf.d/zz.conf")
	g.Run("systemctl", "restart", "systemd-journald")
	g.Run("journalctl", "--flush") // as at the next start
	g.Run("logger", "hello")
	g.Write("/etc/logrotate.d/bad", "/var/log/bad {\n rotate many\n}\n", 0o644)
	g.fail("host/logs", "logrotate refuses")
	g.Run("rm", "/etc/logrotate.d/bad")
	g.Run("systemctl", "stop", "logrotate.timer")
	g.fail("host/logs", "logrotate.timer is inactive")
	g.Run("systemctl", "start", "logrotate.timer")
	g.pass("host/logs")
}

// publish does what docker run -p 5432:80 does: the chains and rules are those
// of an engine, the container is a namespace.
func (g *guarded) publish() {
	// systemd-nspawn closes all of /proc/sys; the network's part is the server's own.
	g.Run("sh", "-c", "mkdir -p /run/p && mount -t proc proc /run/p && mount --bind /run/p/sys/net /proc/sys/net && umount /run/p")
	for _, line := range []string{
		"sysctl -qw net.ipv4.ip_forward=1", "ip netns add box", "ip link add docker0 type veth peer name eth0 netns box",
		"ip addr add 172.30.0.1/24 dev docker0", "ip link set docker0 up", "ip -n box addr add 172.30.0.2/24 dev eth0", "ip -n box link set eth0 up", "ip -n box route add default via 172.30.0.1",
		"systemd-run -q --unit=box ip netns exec box python3 -m http.server 80",
		"iptables -N DOCKER", "iptables -N DOCKER-USER", "iptables -A DOCKER-USER -j RETURN", "iptables -A DOCKER -d 172.30.0.2/32 ! -i docker0 -o docker0 -p tcp --dport 80 -j ACCEPT",
		"iptables -I FORWARD -i docker0 -j ACCEPT", "iptables -I FORWARD -o docker0 -j DOCKER", "iptables -I FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "iptables -I FORWARD -j DOCKER-USER",
		"iptables -t nat -N DOCKER", "iptables -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER",
		"iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 5432 -j DNAT --to-destination 172.30.0.2:80",
		"iptables -t nat -A DOCKER ! -i docker0 -p tcp --dport 80 -j DNAT --to-destination 172.30.0.2:80",
	} {
		g.Run(strings.Fields(line)...)
	}
	g.Await("a published port is reached past ufw", 20*time.Second, func() bool { return g.reaches(g.neighbour, 5432) })
	g.fail("host/containers", "published past ufw")
	out := g.owner.MustSSH("deploy", "sudo env "+ringwall+"apply --yes 2>&1")
	g.owner.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
	contains(g.t, "the apply", out, "close what the chain DOCKER-USER publishes")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("the published port is still reached")
	}
	if !g.reaches(g.neighbour, 80) {
		g.t.Error("a published port that the policy opens is closed")
	}
	g.Run("ufw", "reload")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("after a reload of ufw the published port is reached")
	}
	// A hand's rule in the engine's chain opens nothing; one before our drop does.
	g.Run("iptables", "-I", "DOCKER-USER", "-j", "ACCEPT")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("a rule in DOCKER-USER opens the published port")
	}
	g.pass("host/containers")
	g.Run("nft", "insert", "rule", "inet", "ringwall_published", "forward", "ip", "daddr", "172.30.0.2", "accept")
	if !g.reaches(g.neighbour, 5432) {
		g.t.Error("a rule before the drop opens nothing: what is it that is judged?")
	}
	g.fail("host/containers", "stands before the drop")
	g.Run("systemctl", "reload", "ringwall-published.service")
	if g.reaches(g.neighbour, 5432) {
		g.t.Error("a reload leaves a hand's rule in force")
	}
	g.pass("host/containers")
	g.Run("systemctl", "stop", "ringwall-published.service")
	g.fail("host/containers", "published past ufw")
	if !g.reaches(g.neighbour, 5432) {
		g.t.Error("the rules were not what closed it")
	}
	g.Run("systemctl", "start", "ringwall-published.service")
}

// restart: all is in force again, and the journal has both starts.
func (g *guarded) restart() {
	g.PowerCut()
	g.Boot()
	g.Await("the services run again", 60*time.Second, func() bool {
		_, err := g.Try("systemctl", "is-active", "fail2ban", "ringwall-bans", "ringwall", "ringwall-published")
		return err == nil
	})
	g.pass("host/fail2ban", "host/bans", "host/updates", "host/logs")
	if !strings.Contains(g.ruleset(), "table inet ringwall_published {") { // what an engine published is not there yet
		g.t.Error("after a restart what an engine will publish is open")
	}
	if out := g.Run("journalctl", "--list-boots", "--no-pager"); !strings.Contains(out, "-1 ") {
		g.t.Errorf("the journal has only this start: %s", out)
	}
}
