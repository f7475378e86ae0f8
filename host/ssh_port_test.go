package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// doorMachine has SSH at port 2200, as a policy with host.ssh.port: 2200 leaves it, and
// ufw as it goes with it.
func doorMachine() texts {
	const unit = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- "
	const installed = "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- "
	const off = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
	m := texts{
		files: map[string]host.FileState{
			"/etc/os-release": debian, "/run/sshd": {Exists: true, Mode: 0o755},
			"/etc/ssh/sshd_config":                       file("Include /etc/ssh/sshd_config.d/*.conf\n"),
			"/etc/ssh/sshd_config.d/00-ringwall.conf":    file("Port 2200\n"),
			"/etc/ufw/ufw.conf":                          file("ENABLED=yes\n"),
			"/etc/default/ufw":                           file("IPV6=no\n"),
			"/usr/lib/systemd/system-generators/another": file(""),
		},
		said: map[string]string{
			installed + "openssh-server": "installed 1:9.2\n", installed + "ufw": "installed 0.36\n", installed + "iptables": "installed 1.8\n",
			"iptables -S":                   "-P INPUT DROP\n-A INPUT -j ufw-before-input\n-A ufw-before-input -j ufw-user-input\n-A ufw-user-limit-accept -j ACCEPT\n-A ufw-user-input -p tcp -m tcp --dport 2200 -j ufw-user-limit-accept\n-A ufw-user-input -p tcp -m tcp --dport 80 -j ACCEPT\n-A ufw-user-input -p tcp -m tcp --dport 443 -j ACCEPT\n",
			"sshd -T":                       "port 2200\n",
			"ip -j -4 route show table all": routes,
			"ss -Hlntup":                    "tcp LISTEN 0 128 0.0.0.0:2200 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n",
			"ufw show added":                "Added user rules (see 'ufw status' for running firewall):\nufw limit 2200/tcp\nufw allow 80/tcp\nufw allow 443/tcp\n",
			"ufw status verbose":            "Status: active\nDefault: deny (incoming), allow (outgoing), disabled (routed)\n",
			unit + "ssh.socket":             off, unit + "firewalld.service": off, unit + "nftables.service": off, unit + "ufw.service": on, unit + "ssh.service": on,
			"systemctl show --no-pager --property=Listen -- ssh.socket": "Listen=0.0.0.0:2200 (Stream)\n",
		},
	}
	for _, keyword := range []string{"KexAlgorithms", "Ciphers", "MACs", "HostKeyAlgorithms"} {
		m.said["ssh -Q "+keyword] = "curve25519-sha256\naes256-gcm@openssh.com\nhmac-sha2-256-etm@openssh.com\nssh-ed25519\n"
	}
	return m
}

// TestAPortOutOfThePolicy: where SSH goes once host.ssh.port is taken out, the firewall
// is open before and the plan says so; and nothing moves that the port did not move.
func TestAPortOutOfThePolicy(t *testing.T) {
	const socket = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- ssh.socket"
	const generator = "/usr/lib/systemd/system-generators/sshd-socket-generator"
	for name, tt := range map[string]struct {
		change func(texts)
		port   int
		want   []string
		not    []string
		err    string
	}{
		"to 22":                    {func(texts) {}, 0, []string{"early ufw limit 22/tcp", "SSH moves to port 22, and no longer listens at 2200", "-Port 2200", "systemctl reload ssh.service", "ufw --force delete limit 2200/tcp"}, nil, ""},
		"to another file's":        {func(m texts) { m.files["/etc/ssh/sshd_config.d/10-port.conf"] = file("Port 2222\n") }, 0, []string{"early ufw limit 2222/tcp", "SSH moves to port 2222,"}, []string{" 22/tcp"}, ""},
		"it stays":                 {func(texts) {}, 2200, nil, []string{"moves", "ufw", "-Port"}, ""},
		"to another of the policy": {func(texts) {}, 2201, []string{"early ufw limit 2201/tcp", "SSH moves to port 2201", "+Port 2201", "ufw --force delete limit 2200/tcp"}, []string{" 22/tcp"}, ""},
		"it never was the policy's": {func(m texts) {
			m.files["/etc/ssh/sshd_config.d/00-ringwall.conf"] = file("")
			// sshd -p 2200
		}, 0, nil, []string{"moves", "ufw"}, ""},
		"an address decides": {func(m texts) {
			m.files["/etc/ssh/sshd_config.d/10-address.conf"] = file("ListenAddress 0.0.0.0:2200\n")
		}, 0, nil, nil, "10-address.conf, line 1: listenaddress 0.0.0.0:2200; write host.ssh.port: 2200 to stay there"},
		"systemd listens where the files say":   {func(m texts) { m.said[socket], m.files[generator] = on, file("") }, 0, []string{"SSH moves to port 22,", "systemctl restart ssh.socket"}, []string{"ssh.service"}, ""},
		"systemd listens where the socket says": {func(m texts) { m.said[socket] = on }, 0, nil, []string{"moves", "ufw"}, ""},
	} {
		m, p := doorMachine(), policy.Default()
		tt.change(m)
		p.Host.SSH.Port = tt.port
		for _, c := range host.Controls() {
			if c.ID != "host/ssh" && c.ID != "host/firewall" {
				p.Waivers = append(p.Waivers, policy.Waiver{Control: c.ID, Reason: "not what is looked at", Until: time.Now().Add(48 * time.Hour)})
			}
		}
		f := host.NewFacts(m)
		changes, _, err := host.Plan(p, f, time.Now())
		if err == nil && tt.err != "" || err != nil && (tt.err == "" || !strings.Contains(err.Error(), tt.err)) {
			t.Errorf("%s: %v", name, err)
		}
		text := ""
		for _, c := range changes {
			if c.Early {
				text += "early "
			}
			text += strings.TrimPrefix(c.Show(f), "$ ") + " " + c.Title + "\n"
		}
		for _, want := range tt.want {
			if !strings.Contains(text, want) {
				t.Errorf("%s: there is no %q in\n%s", name, want, text)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: there is %q in\n%s", name, not, text)
			}
		}
	}
}
