package host_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestWaysIn has an account of every kind, and looks at each way by which it comes in
// or becomes root. What was confirmed passes, and each that is new fails.
func TestWaysIn(t *testing.T) {
	const (
		key  = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJUkZvDrMpxUFYiTpgZ7GeEoQJdTnUo4XAVOYDtYgH"
		sshd = "sshd -T -C user="
		at   = ",host=192.0.2.1,addr=192.0.2.1,laddr=127.0.0.1,lport=22"
		conf = "port 22\nauthorizedkeysfile .ssh/authorized_keys\ntrustedusercakeys none\n"
	)
	right := texts{
		files: map[string]host.FileState{
			"/etc/os-release": debian, "/run/sshd": {Exists: true, Mode: 0o755},
			"/home/a/.ssh/authorized_keys": file("# mine\ncommand=\"rrsync\",restrict " + key + " backup\n"),
		},
		said: map[string]string{
			"getent passwd": "root:x:0:0::/root:/bin/bash\nwww:x:33:33::/var/www:/usr/sbin/nologin\na:x:1000:1000::/home/a:/bin/bash\n",
			"passwd -S -a":  "root L\nwww L\na L\n",
			"dpkg-query -W -f ${db:Status-Status} ${Version}\n -- sudo": "installed 1.9\n",
			"sudo -n -l -U www": "User www is not allowed to run sudo on s.\n",
			"sudo -n -l -U a":   "User a may run the following commands on s:\n    (ALL : ALL) ALL\n",
			sshd + "root" + at:  conf, sshd + "a" + at: conf, sshd + "www" + at: conf,
			"getent group -- docker": "no", "getent group -- lxd": "no", "getent group -- incus-admin": "no",
			"getent group -- disk": "disk:x:6:\n", "getent group -- shadow": "shadow:x:42:\n",
		},
	}
	ways, err := host.WaysIn(host.NewFacts(right))
	if err != nil || len(ways) != 3 || !strings.HasPrefix(ways[0], "key: a SHA256:") || !strings.Contains(ways[0], `with "command=\"rrsync\",restrict"`) || ways[1] != "root: root" || ways[2] != "sudo: a (ALL : ALL) ALL" {
		t.Fatalf("%v: %q", err, ways)
	}
	right.files[host.WaysInFile] = file(strings.Join(ways, "\n") + "\n")
	i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/accounts" })
	for _, tt := range []struct {
		name  string
		said  map[string]string
		files map[string]host.FileState
		want  check.Verdict
		got   string
	}{
		{"confirmed", nil, nil, check.Pass, "each was confirmed"},
		{"the options of a key are gone", nil, map[string]host.FileState{"/home/a/.ssh/authorized_keys": file(key + " backup\n")}, check.Fail, "key: a SHA256:"},
		{"keys behind a link", nil, map[string]host.FileState{"/root/.ssh/authorized_keys": {Exists: true, Mode: 0o777 | 1<<27}}, check.Fail, "key: root, behind the link"},
		{"another source of keys", map[string]string{sshd + "a" + at: conf + "authorizedkeyscommand /bin/echo\n"}, nil, check.Fail, "authorizedkeyscommand /bin/echo"},
		{"one command as root", map[string]string{"sudo -n -l -U www": "    (root) NOPASSWD: /bin/bash\n"}, nil, check.Fail, "sudo: www (root) NOPASSWD: /bin/bash"},
		{"a service that is root", map[string]string{"sudo -n -l -U www": "    (ALL) NOPASSWD: ALL\n"}, nil, check.Fail, "www is the account of a service"},
		{"a group that is root", map[string]string{"getent group -- docker": "docker:x:99:a\n"}, nil, check.Fail, "group docker: a"},
		{"a password", map[string]string{"passwd -S -a": "root L\nwww L\na P\n"}, nil, check.Fail, "password: a"},
		{"a password without a shell", map[string]string{"passwd -S -a": "root L\nwww P\na L\n"}, nil, check.Fail, "password: www (no shell)"},
		{"a key without a shell", nil, map[string]host.FileState{"/var/www/.ssh/authorized_keys": file(key + "\n")}, check.Fail, "key: www (no shell) SHA256:"},
		{"a line that our parser does not take", nil, map[string]host.FileState{"/root/.ssh/authorized_keys": file("ED25519" + strings.TrimPrefix(key, "ssh-ed25519") + "\n")}, check.Fail, "key: root on a line that only sshd may understand"},
		{"a zero byte behind the key", nil, map[string]host.FileState{"/root/.ssh/authorized_keys": file(key + "\x00\n")}, check.Fail, "key: root on a line that only sshd may understand"},
		{"no password is asked for", map[string]string{"passwd -S -a": "a NP\n"}, nil, check.Fail, "a: no password is asked for"},
		{"root by another name", map[string]string{"getent passwd": "root:x:0:0::/root:/bin/bash\ntoor:x:0:0::/:/bin/sh\n"}, nil, check.Fail, "toor has the uid 0"},
		{"nothing was confirmed", nil, map[string]host.FileState{host.WaysInFile: {}}, check.Unknown, "nobody has confirmed"},
		{"no accounts", map[string]string{"getent passwd": "no"}, nil, check.Unknown, "getent passwd"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := texts{files: maps.Clone(right.files), said: maps.Clone(right.said)}
			maps.Copy(m.said, tt.said)
			maps.Copy(m.files, tt.files)
			if f := host.Controls()[i].Verify(policy.Default(), host.NewFacts(m)); f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
				t.Errorf("%v: %s", f.Verdict, f.Got)
			}
		})
	}
}

// TestLinesThatOnlySSHDUnderstands: two that begin alike are two, whatever is shown of them.
func TestLinesThatOnlySSHDUnderstands(t *testing.T) {
	m := texts{files: map[string]host.FileState{"/run/sshd": {Exists: true, Mode: 0o755}}, said: map[string]string{
		"getent passwd": "root:x:0:0::/root:/bin/bash\n", "passwd -S -a": "root L\n", "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- sudo": "no",
		"sshd -T -C user=root,host=192.0.2.1,addr=192.0.2.1,laddr=127.0.0.1,lport=22": "port 22\nauthorizedkeysfile .ssh/authorized_keys\n",
	}}
	for _, group := range []string{"docker", "lxd", "incus-admin", "disk", "shadow"} {
		m.said["getent group -- "+group] = "no"
	}
	line := "ED25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJUkZvDrMpxUFYiTpgZ7GeEoQJdTnUo4XAVOYDtYg"
	m.files["/root/.ssh/authorized_keys"] = file(line + "H\n\n # a comment\n" + line + "I")
	ways, err := host.WaysIn(host.NewFacts(m))
	if err != nil || len(ways) != 3 {
		t.Errorf("%v: %q", err, ways)
	}
}

// crowd answers slowly, for very many accounts.
type crowd struct{ texts }

func (c crowd) Ask(q host.Query, args ...string) (string, error) {
	switch q {
	case "getent passwd, of all", "passwd -S, of all", "getent group", "dpkg-query":
		return c.texts.Ask(q, args...)
	}
	time.Sleep(20 * time.Millisecond)
	return "port 22\n", nil
}

// TestVeryManyAccounts: those of a large directory are looked at for a while, and what is
// left is unknown.
func TestVeryManyAccounts(t *testing.T) {
	if testing.Short() {
		t.Skip("20,000 accounts")
	}
	for name, uid := range map[string]string{"people": "5000", "services": "500"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const number = 20000
				var passwd strings.Builder
				passwd.WriteString("root:x:0:0::/root:/bin/bash\n")
				for i := range number {
					fmt.Fprintf(&passwd, "u%d:x:%s:1::/:/bin/sh\n", i, uid)
				}
				m := crowd{texts{files: map[string]host.FileState{"/etc/os-release": debian, "/run/sshd": {Exists: true, Mode: 0o755}, host.WaysInFile: file("root: root\n")}, said: map[string]string{
					"getent passwd": passwd.String(), "passwd -S -a": "root L\n", "dpkg-query -W -f ${db:Status-Status} ${Version}\n -- sudo": "installed 1.9\n",
				}}}
				for _, group := range []string{"docker", "lxd", "incus-admin", "disk", "shadow"} {
					m.said["getent group -- "+group] = "no"
				}
				began := time.Now()
				i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/accounts" })
				f := host.Controls()[i].Verify(policy.Default(), host.NewFacts(m))
				if f.Verdict != check.Unknown || !strings.Contains(f.Got, "of 20001 accounts") {
					t.Errorf("%v: %s", f.Verdict, f.Got)
				}
				if took := time.Since(began); took > 3*time.Minute {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}
