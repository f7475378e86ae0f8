package host_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// keysOnly is a server whose sshd takes keys alone, but for connections of which the
// words of sshd -C have a text: there a keyword has another value.
type keysOnly struct {
	texts
	but map[string]string
}

func (keysOnly) Offer(string, string, ssh.PublicKey) (host.Offer, error) {
	return host.Offer{Accepts: true, Methods: []string{"publickey"}}, nil
}

func (m keysOnly) Ask(q host.Query, args ...string) (string, error) {
	if q != "sshd -T" {
		return m.texts.Ask(q, args...)
	}
	said := "port 22\npermitrootlogin no\npubkeyauthentication yes\npasswordauthentication no\nkbdinteractiveauthentication no\nallowgroups ssh-login\nmaxauthtries 4\nmaxsessions 10\n"
	for words, line := range m.but {
		keyword, _, _ := strings.Cut(line, " ")
		if len(args) > 0 && strings.Contains(args[1]+",", words) {
			before, rest, _ := strings.Cut(said, keyword+" ")
			_, after, _ := strings.Cut(rest, "\n")
			said = before + line + "\n" + after
		}
	}
	for _, keyword := range []string{"kexalgorithms curve25519-sha256", "ciphers aes256-ctr", "macs hmac-sha2-256-etm@openssh.com", "hostkeyalgorithms ssh-ed25519"} {
		said += keyword + "\n"
	}
	return said, nil
}

// TestWhatSSHDSaysOfMatchLines: a block for some is asked about, whomever it is for
// and in whatever file it stands.
func TestWhatSSHDSaysOfMatchLines(t *testing.T) {
	const ours, oursFirst = "/etc/ssh/sshd_config.d/00-ringwall.conf", "Match all\n\tPermitRootLogin no\n\tPubkeyAuthentication yes\n\tPasswordAuthentication no\n\tKbdInteractiveAuthentication no\n" +
		"\tHostbasedAuthentication no\n\tGSSAPIAuthentication no\n\tKerberosAuthentication no\n\tPermitEmptyPasswords no\n\tAllowGroups ssh-login\n\tMaxAuthTries 4\n\tMaxSessions 10\n" +
		"\tClientAliveInterval 300\n\tClientAliveCountMax 2\n\tX11Forwarding no\n\tAllowAgentForwarding no\n" +
		"\tAllowTcpForwarding no\n\tAllowStreamLocalForwarding no\n\tPermitTunnel no\n\tGatewayPorts no\n"
	const main, open = "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n", "passwordauthentication yes"
	right := func() texts {
		return texts{
			files: map[string]host.FileState{
				"/etc/os-release": debian, "/run/sshd": {Exists: true, Mode: 0o755}, "/etc/ssh/sshd_config": file(main),
				"/home/deploy/.ssh/authorized_keys": file("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJUkZvDrMpxUFYiTpgZ7GeEoQJdTnUo4XAVOYDtYgH\n"),
			},
			said: map[string]string{
				"ss -Hlntup":              "tcp LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:((\"sshd\",pid=1,fd=3))\n",
				showUnit + "ssh.socket":   "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n",
				"getent passwd -- deploy": "deploy:x:1000:1000::/home/deploy:/bin/bash\n", "id -nG -- deploy": "deploy ssh-login\n",
				"getent passwd":       "root:x:0:0::/root:/bin/bash\nwww:x:33:33::/:/usr/sbin/nologin\ndeploy:x:1000:1000::/home/deploy:/bin/bash\nsftp1:x:1001:1001::/:/usr/sbin/nologin\n" + manyAccounts(200),
				"getent group -- web": "web:x:99:www\n", "getent group -- sftp": "sftp:x:1001:\n",
			},
		}
	}
	for _, tt := range []struct {
		name  string
		files map[string]string // beside sshd_config, or in its place
		but   map[string]string
		want  check.Verdict
		got   string
	}{
		{"no block", nil, map[string]string{"user=alice": open}, check.Pass, "publickey alone"},
		{"ours", map[string]string{"/etc/ssh/sshd_config.d/00-ringwall.conf": "Match all\n\tPasswordAuthentication no\n"}, nil, check.Pass, "publickey alone"},
		{"one that opens nothing", map[string]string{"/etc/ssh/sshd_config": main + "Match User git\n\tMaxAuthTries 3\n\tMaxSessions 2\n"}, map[string]string{"user=git,": "maxauthtries 3"}, check.Pass, "publickey alone"},
		{"more tries", map[string]string{"/etc/ssh/sshd_config": main + "Match User git\n\tMaxAuthTries 30\n"}, map[string]string{"user=git,": "maxauthtries 30"}, check.Fail, "for git, maxauthtries is 30"},
		{"a user", map[string]string{"/etc/ssh/sshd_config": main + "Match User bob,alice\n\tPasswordAuthentication yes\n"}, map[string]string{"user=alice,": open}, check.Fail, "for alice, " + open[:22] + " is yes"},
		{"in quotes, after blanks and =", map[string]string{"/etc/ssh/sshd_config": main + "\tmatch = user \"alice\" # she asked\n"}, map[string]string{"user=alice,": open}, check.Fail, "for alice"},
		{"users by a pattern", map[string]string{"/etc/ssh/sshd_config": main + "Match User dev-*,!dev-a\n"}, map[string]string{"user=dev-x,": open}, check.Fail, "for dev-x"},
		{"a user in quotes", map[string]string{"/etc/ssh/sshd_config": main + "Match User 'bob,alice' # both\n\tPasswordAuthentication yes\n"}, map[string]string{"user=alice,": open}, check.Fail, "for alice, " + open[:22] + " is yes"},
		{"a group", map[string]string{"/etc/ssh/sshd_config": main + "Match Group web\n"}, map[string]string{"user=www,": open}, check.Fail, "for www"},
		{"a group that is somebody's first", map[string]string{"/etc/ssh/sshd_config": main + "Match Group sftp\n"}, map[string]string{"user=sftp1,": open}, check.Fail, "for sftp1"},
		{"root from a network", map[string]string{"/etc/ssh/sshd_config": main + "Match Address 10.0.0.0/8,192.168.*\n"}, map[string]string{"user=root,host=192.168.1.1,addr=192.168.1.1": "permitrootlogin yes"}, check.Fail, "for root from 192.168.1.1, permitrootlogin is yes"},
		{"a name", map[string]string{"/etc/ssh/sshd_config": main + "Match Host *.example.com\n"}, map[string]string{"host=x.example.com": open}, check.Fail, "at x.example.com"},
		{"another port", map[string]string{"/etc/ssh/sshd_config": main + "Match LocalPort 2222 User alice\n"}, map[string]string{"user=alice,host=192.0.2.1,addr=192.0.2.1,laddr=127.0.0.1,lport=2222": open}, check.Fail, "for alice to port 2222"},
		{"an address of the server's", map[string]string{"/etc/ssh/sshd_config": main + "Match LocalAddress 2001:db8::/32\n"}, map[string]string{"laddr=2001:db8::,": open}, check.Fail, "to 2001:db8::"},
		{"in a drop-in", map[string]string{"/etc/ssh/sshd_config.d/x.conf": "Match User alice\n"}, map[string]string{"user=alice,": open}, check.Fail, "for alice"},
		{"in a file that one includes", map[string]string{"/etc/ssh/sshd_config.d/x.conf": "Include more/*\n", "/etc/ssh/more/y": "Match User alice\n"}, map[string]string{"user=alice,": open}, check.Fail, "for alice"},
		{"files in a ring", map[string]string{"/etc/ssh/sshd_config.d/x.conf": "Include sshd_config.d/x.conf\n"}, nil, check.Unknown, "include each other"},
		{"in a file that one includes in quotes", map[string]string{"/etc/ssh/sshd_config": main + "Include '/etc/ssh/more/y' \"/etc/ssh/none\"\n", "/etc/ssh/more/y": "Match User alice\n"}, map[string]string{"user=alice,": open}, check.Fail, "for alice"},
		{"a backslash that is one", map[string]string{"/etc/ssh/sshd_config": main + "Match User web\\alice\n"}, map[string]string{"user=web\\alice,": open}, check.Fail, "for web\\alice"},
		{"what nobody can ask about", map[string]string{"/etc/ssh/sshd_config": main + "Match Moon full\n"}, nil, check.Unknown, "moon"},
		{"no address", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n"}, nil, check.Unknown, "nowhere is no address"},
		{"too many", map[string]string{"/etc/ssh/sshd_config": main + "Match User " + strings.Repeat("u?,", 3) + manyNames(300) + "\n"}, nil, check.Unknown, "more than 100"},
		{"more stars than octets in one", map[string]string{"/etc/ssh/sshd_config": main + "Match Address 10.*.*\n"}, map[string]string{"user=root,host=10.1.1.1,addr=10.1.1.1,": "permitrootlogin yes"}, check.Fail, "for root from 10.1.1.1"},
		{"more accounts than can be asked about", map[string]string{"/etc/ssh/sshd_config": main + "Match Group web\n"}, nil, check.Pass, "publickey alone"},
		{"too many, after ours", map[string]string{"/etc/ssh/sshd_config": main + "Match Group *\n", ours: oursFirst}, nil, check.Pass, "come after ours, and were not asked about"},
		{"no address, after ours", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n", ours: oursFirst}, nil, check.Pass, "nowhere is no address"},
		{"after ours, and root gets in", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n", ours: oursFirst}, map[string]string{"user=root,": "permitrootlogin yes"}, check.Fail, "for root, permitrootlogin is yes"},
		{"ours is not read first", map[string]string{"/etc/ssh/sshd_config": "UsePAM yes\n" + main + "Match Address nowhere\n", ours: oursFirst}, nil, check.Unknown, "nowhere"},
		{"ours is cut short", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n", ours: strings.Replace(oursFirst, "\tMaxSessions 10\n", "", 1)}, nil, check.Unknown, "nowhere"},
		{"ours is for some", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n", ours: strings.Replace(oursFirst, "Match all", "Match User bob", 1)}, nil, check.Unknown, "nowhere"},
		{"ours has been loosened", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n", ours: strings.Replace(oursFirst, "PermitRootLogin no", "PermitRootLogin yes", 1)}, nil, check.Unknown, "nowhere"},
		{"another block within ours", map[string]string{"/etc/ssh/sshd_config": main, ours: strings.Replace(oursFirst, "\tMaxSessions", "Match Address nowhere\n\tMaxSessions", 1)}, nil, check.Unknown, "nowhere"},
		{"a block before ours", map[string]string{"/etc/ssh/sshd_config.d/00-a.conf": "Match Address nowhere\n", ours: oursFirst}, nil, check.Unknown, "nowhere"},
		{"groups that add up", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n\tAllowGroups web\n", ours: oursFirst}, nil, check.Unknown, "nowhere"},
		{"files that may have them", map[string]string{"/etc/ssh/sshd_config": main + "Match Address nowhere\n\tInclude more/*\n", ours: oursFirst}, nil, check.Unknown, "nowhere"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := keysOnly{right(), tt.but}
			for name, content := range tt.files {
				m.files[name] = file(content)
			}
			f, _ := host.Verify("host/ssh", policy.Default(), host.NewFacts(m), time.Now())
			if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s; want %v: %s", f.Verdict, f.Got, tt.want, tt.got)
			}
		})
	}
	m := keysOnly{right(), map[string]string{"user=alice,": open}}
	m.files["/etc/ssh/sshd_config.d/x.conf"] = host.FileState{Exists: true, Mode: 0o777 | 1<<27, Target: "/srv/x"}
	m.files["/srv/x"] = file("Match User alice\n")
	if f, _ := host.Verify("host/ssh", policy.Default(), host.NewFacts(m), time.Now()); f.Verdict != check.Fail {
		t.Errorf("behind a link: %v %s", f.Verdict, f.Got)
	}
}

// TestPlanOfMatchLinesThatNobodySees: what could not be seen to be in force afterwards,
// which undoes an apply, is said before anything is done.
func TestPlanOfMatchLinesThatNobodySees(t *testing.T) {
	i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/ssh" })
	for before, refused := range map[string]bool{"": false, "Match Address nowhere\n": true, "Match User git\n\tForceCommand true\n": false} {
		m := keysOnly{texts: texts{
			files: map[string]host.FileState{
				"/etc/os-release": debian, "/run/sshd": {Exists: true, Mode: 0o755}, "/etc/ssh/sshd_config.d/00-a.conf": file(before),
				"/etc/ssh/sshd_config": file("Include /etc/ssh/sshd_config.d/*.conf\nMatch Address *.?.*.*\n"),
			},
			said: map[string]string{
				isInstalled + "openssh-server": "installed 9.2\n",
				showUnit + "ssh.socket":        "LoadState=loaded\nActiveState=inactive\nUnitFileState=disabled\n",
			},
		}}
		_, err := host.Controls()[i].Plan(policy.Default(), host.NewFacts(m)) // the rest of it has no answers
		if err == nil || strings.Contains(err.Error(), "nowhere is no address), and /etc/ssh/sshd_config.d/00-a.conf, line 1") != refused {
			t.Errorf("%q: %v", before, err)
		}
	}
}

func manyAccounts(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "u%d:x:%d:100::/home/u%d:/bin/bash\n", i, 2000+i, i)
	}
	return b.String()
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(strings.Repeat("a", i+1) + ",")
	}
	return b.String()
}
