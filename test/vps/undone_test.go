//go:build linux

package vps_test

import (
	"strings"
	"testing"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/test/vps"
)

// undone are the ways in which somebody opens again what an apply has closed, or
// has it open with the next start of the machine, beside the files that it wrote.
// Each is found by the check, and taken back by the last line.
var undone = []struct{ control, line, back string }{
	{"host/accounts", "useradd -o -u 0 -M toor", "userdel -f toor; true"},
	{"host/accounts", "useradd -m open && passwd -d open", "userdel -r open; true"},
	{"host/accounts", "echo 'www-data ALL=(ALL:ALL) NOPASSWD: ALL' >>/etc/sudoers", "sed -i /www-data/d /etc/sudoers"},
	{"host/accounts", "useradd -m helper && echo 'helper ALL=(ALL) NOPASSWD:ALL' >/etc/sudoers.d/helper", "rm /etc/sudoers.d/helper; userdel -r helper; true"},
	{"host/accounts", "ssh-keygen -q -t ed25519 -N '' -f /run/x && cat /run/x.pub >>/home/deploy/.ssh/authorized_keys", "sed -i '$d' /home/deploy/.ssh/authorized_keys; rm /run/x*"},
	{"host/accounts", "ssh-keygen -q -t ed25519 -N '' -f /run/x && cat /run/x.pub >/home/deploy/.ssh/authorized_keys2", "rm /home/deploy/.ssh/authorized_keys2 /run/x*"},
	{"host/accounts", "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ca && echo 'TrustedUserCAKeys /etc/ssh/ca.pub' >/etc/ssh/sshd_config.d/zz.conf && systemctl reload ssh", "rm /etc/ssh/sshd_config.d/zz.conf /etc/ssh/ca*; systemctl reload ssh"},
	{"host/ssh", "printf 'Match User alice\nPasswordAuthentication yes\n' >/etc/ssh/sshd_config.d/00-a.conf", "rm /etc/ssh/sshd_config.d/00-a.conf"},
	{"host/ssh", "printf 'Match Address 10.0.0.0/8\nPermitRootLogin yes\n' >/etc/ssh/more && echo 'Include more' >/etc/ssh/sshd_config.d/00-a.conf", "rm /etc/ssh/more /etc/ssh/sshd_config.d/00-a.conf"},
	{"host/firewall", "sed -i s/ENABLED=yes/ENABLED=no/ /etc/ufw/ufw.conf", "sed -i s/ENABLED=no/ENABLED=yes/ /etc/ufw/ufw.conf"},
	{"host/firewall", "systemctl disable ufw", "systemctl enable ufw"},
	{"host/firewall", "printf 'flush ruleset\n' >/etc/nftables.conf; systemctl enable nftables", "systemctl disable nftables; rm /etc/nftables.conf"},
	{"host/firewall", "mkdir /etc/nftables.d; printf 'flush ruleset\n' >/etc/nftables.d/x.nft; printf 'include \"/etc/nftables.d/*.nft\"\n' >/etc/nftables.conf; systemctl enable nftables", "systemctl disable nftables; rm -r /etc/nftables.conf /etc/nftables.d"},
	{"host/firewall", "sed -i '/^COMMIT/i -A ufw-before-input -p tcp --dport 5432 -j ACCEPT' /etc/ufw/before.rules && ufw reload", "sed -i /5432/d /etc/ufw/before.rules && ufw reload"},
	{"host/firewall", "iptables -N mine && iptables -A mine -p tcp --dport 5432 -j ACCEPT && iptables -I INPUT -j mine", "iptables -D INPUT -j mine && iptables -F mine && iptables -X mine"},
	{"host/firewall", "iptables -I INPUT -p tcp --dport 5432 -m comment --comment 'a\nb' -j ACCEPT", "iptables -D INPUT -p tcp --dport 5432 -m comment --comment 'a\nb' -j ACCEPT"},
	{"host/bans", "nft flush chain inet ringwall bans", "systemctl restart ringwall-bans"},
	{"host/bans", "systemctl disable -q ringwall-bans.service ringwall-bans.socket", "systemctl enable -q ringwall-bans.service ringwall-bans.socket"},
	{"host/fail2ban", `fail2ban-client set sshd banip 192.0.2.77; n=0; until nft list chain inet f2b-table f2b-chain | grep addr-set-sshd && nft list set inet f2b-table addr-set-sshd | grep 192.0.2.77; do [ $((n+=1)) -lt 50 ] || exit 1; sleep 0.2; done; nft flush chain inet f2b-table f2b-chain`,
		"fail2ban-client unban 192.0.2.77; systemctl restart fail2ban; until fail2ban-client status sshd && fail2ban-client status recidive; do sleep 0.2; done"},
	{"host/fail2ban", "systemctl disable fail2ban", "systemctl enable fail2ban"},
	{"host/fail2ban", "fail2ban-client set sshd addignoreip 0.0.0.0/0", "fail2ban-client set sshd delignoreip 0.0.0.0/0"},
	{"host/fail2ban", "fail2ban-client set recidive addignoreip 198.51.100.0/24", "fail2ban-client set recidive delignoreip 198.51.100.0/24"},
	{"host/fail2ban", "fail2ban-client set sshd ignorecommand '/bin/true <ip>'", "fail2ban-client set sshd ignorecommand ''"},
	{"host/updates", `echo 'Unattended-Upgrade::Package-Whitelist { "openssl"; };' >/etc/apt/apt.conf.d/zz`, "rm /etc/apt/apt.conf.d/zz"},
	{"host/updates", "echo 'deb [trusted=yes] http://192.0.2.1/ ./' >/etc/apt/sources.list.d/zz.list", "rm /etc/apt/sources.list.d/zz.list"},
	{"host/updates", "printf 'Package: *\nPin: release l=Debian-Security\nPin-Priority: 90\n\nPackage: *\nPin: release a=*-security\nPin-Priority: 90\n' >/etc/apt/preferences.d/zz", "rm /etc/apt/preferences.d/zz"},
	{"host/updates", `echo 'Unattended-Upgrade::Package-Blacklist { "lib.*"; };' >/etc/apt/apt.conf.d/zz`, "rm /etc/apt/apt.conf.d/zz"},
	{"host/updates", `echo 'APT::Get::AllowUnauthenticated "true";' >/etc/apt/apt.conf.d/zz`, "rm /etc/apt/apt.conf.d/zz"},
	{"host/updates", "apt-mark hold openssh-server", "apt-mark unhold openssh-server"},
	{"host/updates", "mkdir /etc/systemd/system/apt-daily-upgrade.service.d && printf '[Service]\nExecStart=\nExecStart=/bin/true\n' >/etc/systemd/system/apt-daily-upgrade.service.d/zz.conf && systemctl daemon-reload", "rm -r /etc/systemd/system/apt-daily-upgrade.service.d; systemctl daemon-reload"},
	{"host/logs", "systemctl disable -q logrotate.timer", "systemctl enable -q logrotate.timer"},
	{"host/mounts", "systemctl disable -q ringwall-mounts.service", "systemctl enable -q ringwall-mounts.service"},
	{"host/mounts", changed("ringwall-mounts.service", "[Service]\nExecStart=\nExecStart=/bin/true"), unchanged("ringwall-mounts.service")},
	{"host/mounts", changed("ringwall-mounts.service", "[Service]\nExecStartPost=mount -o remount,bind,exec /tmp"), unchanged("ringwall-mounts.service")},
	{"host/updates", changed("apt-daily-upgrade.timer", "[Timer]\nRandomizedDelaySec=1w"), unchanged("apt-daily-upgrade.timer")},
	{"host/updates", changed("apt-daily-upgrade.timer", "[Timer]\nOnCalendar=\nOnCalendar=yearly"), unchanged("apt-daily-upgrade.timer")},
	{"host/packages", changed("ringwall-packages.timer", "[Timer]\nOnUnitActiveSec=\nOnUnitActiveSec=1month"), unchanged("ringwall-packages.timer")},
	{"host/logs", changed("logrotate.timer", "[Timer]\nOnCalendar="), unchanged("logrotate.timer") + "; systemctl restart logrotate.timer"},
	{"host/logs", "printf '[Journal]\nStorage=none\n' >/etc/systemd/journald.conf.d/zz.conf && systemctl restart systemd-journald", "rm /etc/systemd/journald.conf.d/zz.conf; systemctl restart systemd-journald"},
	{"host/service", "systemctl disable ringwall.service", "systemctl enable ringwall.service"},
	{"inside/listeners", "systemd-run -q --unit=open5432 perl -e 'use IO::Socket::INET; $s = IO::Socket::INET->new(LocalPort => 5432, Listen => 5) or die; sleep' && iptables -I INPUT -p tcp --dport 5432 -j ACCEPT; sleep 1", "iptables -D INPUT -p tcp --dport 5432 -j ACCEPT; systemctl stop open5432"},
	{"inside/log-rotation", "systemctl disable logrotate.timer", "systemctl enable logrotate.timer"},
	{"inside/root-files", "chmod 777 /etc/cron.d", "chmod 755 /etc/cron.d"},
	{"inside/root-files", "chmod 666 " + policyFile, "chmod 640 " + policyFile},
	{"inside/root-files", "chown deploy /usr/local/bin/ringwall", "chown root /usr/local/bin/ringwall"},
	{"inside/root-files", "chmod o+r /etc/shadow", "chmod o-r /etc/shadow"},
	{"inside/privileged", "cp /bin/dash /var/tmp/.x && chmod 4755 /var/tmp/.x", "rm /var/tmp/.x"},
	{"inside/privileged", "chmod u+s /usr/bin/find", "chmod u-s /usr/bin/find"},
	{"inside/privileged", "cp /lib/*-linux-gnu/libm.so.6 /usr/local/lib/libx.so && echo /usr/local/lib/libx.so >/etc/ld.so.preload", "rm /etc/ld.so.preload /usr/local/lib/libx.so"},
}

// changed gives a unit a drop-in, and unchanged takes it away.
func changed(unit, text string) string {
	dir := "/etc/systemd/system/" + unit + ".d"
	return "mkdir -p " + dir + " && printf '" + strings.ReplaceAll(text, "\n", `\n`) + "\n' >" + dir + "/zz.conf && systemctl daemon-reload"
}

func unchanged(unit string) string {
	return "rm -r /etc/systemd/system/" + unit + ".d; systemctl daemon-reload"
}

// opensAgain breaks a server that is right in every of these ways, one of each
// control at a time, and looks; and once more when all is taken back.
func opensAgain(t *testing.T, s *vps.Server) {
	before := inside(t, s, policyFile)
	for rest := undone; len(rest) > 0; {
		round, later := map[string]int{}, rest[:0:0]
		for i, u := range rest {
			if _, ok := round[u.control]; ok {
				later = append(later, u)
				continue
			}
			round[u.control] = i
			s.Run("sh", "-c", u.line)
		}
		r := inside(t, s, policyFile)
		for control, i := range round {
			if got := find(r, control); got.Verdict != check.Fail {
				t.Errorf("after %q %s is %v: %s", rest[i].line, control, got.Verdict, got.Got)
			} else {
				t.Logf("%s: %s", control, got.Got)
			}
			s.Run("sh", "-c", rest[i].back)
		}
		rest = later
	}
	// A key of the owner's own is confirmed like the first ones.
	s.Run("sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /run/x && cat /run/x.pub >/home/deploy/.ssh/authorized_keys2")
	if out := s.Run("ringwall", "host", "confirm", "--console"); !strings.HasPrefix(out, "known from now on:\n  key: deploy SHA256:") {
		t.Errorf("a new key is confirmed: %s", out)
	}
	for _, res := range inside(t, s, policyFile).Results {
		if was := find(before, res.ID); res.Verdict != was.Verdict {
			t.Errorf("all taken back, %s is %v, and was %v: %s", res.ID, res.Verdict, was.Verdict, res.Got)
		}
	}
}
