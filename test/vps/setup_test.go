//go:build linux

package vps_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/hostexec"
	"github.com/ringwall/ringwall/test/vps"
)

// A setup is a server as somebody else left it.
type setup struct {
	name    string
	suite   string // "": vps.Ready
	owner   string // who signs in, before and after; "": root, then deploy
	host    string // lines of the policy's host section
	prepare func(*testing.T, *vps.Server, *vps.Owner)

	// after judges the server once it was applied and confirmed. Nil: the owner
	// cannot come in to confirm, and the timer has to restore.
	after func(*testing.T, *vps.Server, *vps.Owner)
}

func fine(*testing.T, *vps.Server, *vps.Owner) {}

// An obstacle is put in the way, and taken away again. What the plan says that
// cannot be made then, or the apply that does not work, stands in want.
type obstacle struct {
	name      string
	want      string
	put, away func(*vps.Server)
}

const matchRoot = "\nMatch User root\n\tPasswordAuthentication yes\n\tPermitRootLogin yes\n"

var setups = []setup{
	{name: "cloud-init switches passwords on, a Match block lets root in, the firewall has rules of its own", prepare: func(t *testing.T, s *vps.Server, _ *vps.Owner) {
		s.Write("/etc/ssh/sshd_config.d/50-cloud-init.conf", "PasswordAuthentication yes\n", 0o600)
		s.Write("/etc/ssh/sshd_config", s.Read("/etc/ssh/sshd_config")+matchRoot, 0o644)
		s.Run("sh", "-c", "echo root:guessable | chpasswd")
		s.Run("systemctl", "reload", "ssh")
		s.Run("ufw", "allow", "ssh")
		s.Run("ufw", "allow", "8080/tcp")
		s.Run("ufw", "allow", "from", "10.1.2.3", "to", "any", "port", "5432")
		s.Run("ufw", "--force", "enable")
	}, after: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		if out, err := o.SSH("root", "true"); err == nil || !strings.Contains(out, "Permission denied (publickey)") {
			t.Errorf("root: %v: %s", err, out)
		}
		if out := s.Run("passwd", "-S", "root"); !strings.HasPrefix(out, "root L ") {
			t.Errorf("root's password: %s", out)
		}
		out := s.Run("ufw", "status")
		contains(t, "ufw status", out, "5432", "10.1.2.3", "443/tcp")
		if strings.Contains(out, "8080") {
			t.Errorf("8080 is still open:\n%s", out)
		}
	}},
	{name: "another SSH port, and no IPv6 address", prepare: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		s.Run("ip", "-6", "addr", "flush", "dev", "vps")
		s.Write("/etc/ssh/sshd_config.d/10-port.conf", "Port 2222\n", 0o600)
		s.Run("systemctl", "restart", "ssh")
		o.Port = 2222
	}, after: fine},
	{name: "IPv6 switched off, and no systemd-resolved", prepare: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		s.Run("sh", "-c", "mkdir /run/p && mount -t proc proc /run/p && mount --bind /run/p/sys/net /proc/sys/net && umount /run/p")
		s.Run("sysctl", "-w", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1", "net.ipv6.conf.lo.disable_ipv6=1")
		s.Run("systemctl", "restart", "ssh")
		if out := s.Run("sh", "-c", "ip -6 addr; systemctl list-unit-files --no-legend systemd-resolved.service || true"); out != "" {
			t.Fatalf("there is IPv6, or systemd-resolved: %s", out)
		}
	}, after: fine},
	{name: "SSH moves to another port", host: "  ssh: {port: 2200}", prepare: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		s.Run("ufw", "limit", "22/tcp")
		s.Run("ufw", "--force", "enable")
	}, after: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		if out := s.Run("ufw", "status"); strings.Contains(out, "22/tcp") || !strings.Contains(out, "2200/tcp") {
			t.Errorf("ufw: %s", out)
		}
		home(t, s, o)
	}},
	{name: "systemd listens for SSH, at another port", prepare: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		s.Write("/etc/systemd/system/ssh.socket.d/port.conf", "[Socket]\nListenStream=\nListenStream=2022\n", 0o644)
		s.Run("systemctl", "daemon-reload")
		s.Run("systemctl", "disable", "--now", "ssh.service")
		s.Run("systemctl", "enable", "--now", "ssh.socket")
		o.Port = 2022
		// As after a start of the machine when nobody came yet.
		s.Run("systemctl", "stop", "ssh.service")
		s.Run("rm", "-rf", "/run/sshd")
		out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile}, "ringwall", "host", "plan")
		if err != nil || !strings.Contains(out, "$ ufw limit 2022/tcp") {
			t.Errorf("a plan before the first connection: %v\n%s", err, out)
		}
		if _, err := s.Try("test", "-e", "/run/sshd"); err == nil {
			t.Error("planning made /run/sshd")
		}
		o.MustSSH("root", "true") // which starts the service
	}, after: fine},
	{name: "Ubuntu's systemd listens for SSH, where sshd's files say", suite: "noble", prepare: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		// Written, and not in force: after a restart of the machine the firewall
		// would have the wrong one open.
		s.Write("/etc/ssh/sshd_config.d/10-port.conf", "Port 2222\n", 0o600)
		if out, err := o.SSH("root", ringwall+"apply --yes 2>&1"); err == nil || !strings.Contains(out, "port 2222, and ssh.socket listens at 22, until its next start") {
			t.Errorf("an apply with a port that is not in force yet: %v\n%s", err, out)
		}
		if err := o.GetsIn("root"); err != nil {
			t.Error(err)
		}
		s.Run("systemctl", "daemon-reload")
		s.Run("systemctl", "restart", "ssh.socket")
		o.Port = 2222
		s.Run("systemctl", "stop", "ssh.service")
		if out := o.MustSSH("root", ringwall+"plan"); !strings.Contains(out, "$ ufw limit 2222/tcp") || strings.Contains(out, "limit 22/tcp") {
			t.Errorf("the plan: %s", out)
		}
	}, after: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		s.PowerCut()
		s.Boot()
		if err := o.GetsIn("deploy"); err != nil {
			t.Errorf("after a restart: %v", err)
		}
	}},
	{name: "SSH moves to another port, and Ubuntu's systemd listens there", suite: "noble", host: "  ssh: {port: 2200}", prepare: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		o.MustSSH("root", "true") // which starts sshd
		portIsAnothers(t, s, o)
	}, after: func(t *testing.T, s *vps.Server, o *vps.Owner) {
		if out := s.Run("ss", "-Hltn", "sport", "=", ":22"); out != "" {
			t.Errorf("something listens at 22: %s", out)
		}
		s.PowerCut()
		s.Boot()
		if err := o.GetsIn("deploy"); err != nil {
			t.Errorf("after a restart: %v", err)
		}
		home(t, s, o)
	}},
	{name: "a cloud's Ubuntu 22.04", suite: "jammy", owner: "ubuntu", host: "  deploy_user: ubuntu", prepare: cloud, after: fine},
	{name: "a cloud's Ubuntu 24.04", suite: "noble", owner: "ubuntu", host: "  deploy_user: ubuntu", prepare: cloud, after: fine},
	{name: "the key is another's", host: "  keys: [\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJbJUkZvDrMpxUFYiTpgZ7GeEoQJdTnUo4XAVOYDtYgH somebody@else\"]"},
}

// portIsAnothers ends an apply while the port that SSH moves to is another program's, as
// a start of the machine finds it: systemd cannot listen for SSH there, and does again
// where it did once the files are back.
func portIsAnothers(t *testing.T, s *vps.Server, o *vps.Owner) {
	before := snap(t, s)
	step := slices.IndexFunc(steps(t, o), func(title string) bool { return strings.HasPrefix(title, "keys only") }) + 1
	out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile, fmt.Sprintf("HOSTEXEC_FAULT=%d:noted", step)}, "ringwall", "host", "apply", "--yes")
	if err == nil {
		t.Fatalf("it was to be killed: %s", out)
	}
	s.Run("systemd-run", "-q", "--unit=another", "--socket-property=ListenStream=2200", "--socket-property=Accept=no", "sleep", "infinity")
	s.Run("systemctl", "daemon-reload")
	if out, err := s.Try("systemctl", "restart", "ssh.socket"); err == nil {
		t.Fatalf("SSH listens at another's port: %s", out)
	}
	if err := o.GetsIn("root"); err == nil {
		t.Error("root gets in, and nothing listens for SSH")
	}
	s.Run("ringwall", "host", "rollback")
	s.Run("systemctl", "stop", "another.socket")
	o.MustSSH("root", "true")
	same(t, "rolled back where the port was another's", before, snap(t, s))
}

// home takes host.ssh.port out of the policy: SSH goes back to port 22, and the
// firewall with it; and to where it was, when that is rolled back.
func home(t *testing.T, s *vps.Server, o *vps.Owner) {
	door(s, "")
	contains(t, "the plan", o.MustSSH("deploy", "sudo env "+ringwall+"plan"), "$ ufw limit 22/tcp", "SSH moves to port 22, and no longer listens at 2200")
	o.MustSSH("deploy", "sudo env "+ringwall+"apply --yes 2>&1")
	from := o.Port
	o.Port = 22
	o.MustSSH("deploy", "sudo env "+ringwall+"confirm 2>&1")
	if out := o.MustSSH("deploy", "sudo env "+ringwall+"plan"); !strings.Contains(out, "nothing to do") {
		t.Errorf("home, a second plan: %s", out)
	}
	if out := s.Run("ufw", "status"); strings.Contains(out, "2200") {
		t.Errorf("ufw: %s", out)
	}
	s.Run("ringwall", "host", "rollback")
	o.Port = from
	if err := o.GetsIn("deploy"); err != nil {
		t.Errorf("back at the port: %v", err)
	}
}

// cloud makes of a server what cloud-init makes of Ubuntu's image: the owner is
// ubuntu, and root's key only says so.
func cloud(t *testing.T, s *vps.Server, o *vps.Owner) {
	s.Run("useradd", "-m", "-s", "/bin/bash", "-G", "adm,sudo", "ubuntu")
	s.Write("/etc/sudoers.d/90-cloud-init-users", "ubuntu ALL=(ALL) NOPASSWD:ALL\n", 0o440)
	s.Run("install", "-d", "-m", "700", "-o", "ubuntu", "-g", "ubuntu", "/home/ubuntu/.ssh")
	s.Run("install", "-m", "600", "-o", "ubuntu", "-g", "ubuntu", "/root/.ssh/authorized_keys", "/home/ubuntu/.ssh/")
	s.Write("/root/.ssh/authorized_keys", `no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command="echo 'Please login as the user \"ubuntu\" rather than the user \"root\".';echo;sleep 1;exit 142" `+o.Line+"\n", 0o600)
	s.Write("/etc/ssh/sshd_config.d/50-cloud-init.conf", "PasswordAuthentication yes\n", 0o600)
	s.Write("/etc/ssh/sshd_config.d/60-cloudimg-settings.conf", "PasswordAuthentication no\n", 0o644)
	s.Run("systemctl", "try-restart", "ssh.service")
	mine := s.Read(policyFile)
	s.Write(policyFile, strings.Replace(mine, "deploy_user: ubuntu", "deploy_user: deploy", 1), 0o644)
	if out, err := o.SSH("ubuntu", sudo("ubuntu")+ringwall+"apply --yes 2>&1"); err == nil || !strings.Contains(out, "you came in as ubuntu, who could not sign in any more") {
		t.Errorf("an apply that would leave ubuntu out: %v\n%s", err, out)
	}
	s.Write(policyFile, mine, 0o644)
}

// refusals are found before anything is done.
var refusals = []obstacle{
	{"no key at all", "no key would let deploy in",
		func(s *vps.Server) { s.Run("mv", "/root/.ssh/authorized_keys", "/root/.ssh/authorized_keys2") },
		func(s *vps.Server) { s.Run("mv", "/root/.ssh/authorized_keys2", "/root/.ssh/authorized_keys") }},
	{"a drop-in that is read before ours", "/etc/ssh/sshd_config.d/00-a.conf, line 1",
		func(s *vps.Server) {
			s.Write("/etc/ssh/sshd_config.d/00-a.conf", "PasswordAuthentication yes\n", 0o600)
		},
		func(s *vps.Server) { s.Run("rm", "/etc/ssh/sshd_config.d/00-a.conf") }},
	{"sshd asks for two factors", "AuthenticationMethods publickey,password publickey",
		func(s *vps.Server) {
			s.Write("/etc/ssh/sshd_config.d/10-two.conf", "AuthenticationMethods publickey,password publickey\n", 0o600)
		},
		func(s *vps.Server) { s.Run("rm", "/etc/ssh/sshd_config.d/10-two.conf") }},
	{"no room", "MB free",
		func(s *vps.Server) { s.Run("sh", "-c", "dd if=/dev/zero of=/filler bs=1M 2>/dev/null; true") },
		func(s *vps.Server) { s.Run("rm", "/filler") }},
	{"a distribution that nobody knows", "it is gentoo 2.15",
		func(s *vps.Server) {
			s.Run("rm", "/etc/os-release")
			s.Write("/etc/os-release", "ID=gentoo\nVERSION_ID=2.15\n", 0o644)
		},
		func(s *vps.Server) { s.Run("ln", "-sf", "../usr/lib/os-release", "/etc/os-release") }},
}

// failures are met on the way.
var failures = []obstacle{
	{"sudoers cannot be written", "read-only file system", readOnly("/etc/sudoers.d"), writable("/etc/sudoers.d")},
	{"sshd's drop-ins cannot be written", "read-only file system", readOnly("/etc/ssh/sshd_config.d"), writable("/etc/ssh/sshd_config.d")},
	{"ufw's rules cannot be written", "ufw", readOnly("/etc/ufw"), writable("/etc/ufw")},
	{"home cannot be written", "useradd", readOnly("/home"), writable("/home")},
	{"sshd lets in other users only", "takes no key of deploy's",
		func(s *vps.Server) {
			s.Write("/etc/ssh/sshd_config.d/10-users.conf", "AllowUsers root\n", 0o600)
			s.Run("systemctl", "reload", "ssh")
		},
		func(s *vps.Server) {
			s.Run("rm", "/etc/ssh/sshd_config.d/10-users.conf")
			s.Run("systemctl", "reload", "ssh")
		}},
	{"the API cannot start in its sandbox", "cannot touch '/usr/local/api.lock': Read-only file system",
		confined("[Service]\nExecStartPre=touch /usr/local/api.lock\nExecStart=sleep infinity\n"), free},
	{"the API ends in its sandbox", "/usr/local/api.lock: Read-only file system",
		confined("[Service]\nExecStart=sh -c 'echo >/usr/local/api.lock && exec sleep infinity'\n"), free},
	{"fail2ban's settings are broken", "Have not found any log file for sshd jail",
		func(s *vps.Server) {
			s.Run("apt-get", "install", "-y", "-q", "--no-install-recommends", "fail2ban", "python3-systemd")
			s.Write("/etc/fail2ban/jail.d/zz.local", "[sshd]\nbackend = polling\nlogpath = /var/log/nobody-writes-it.log\n", 0o644)
			also(s, "host/fail2ban")
		},
		func(s *vps.Server) {
			s.Run("apt-get", "purge", "-y", "-q", "fail2ban", "python3-systemd")
			s.Run("rm", "-rf", "/etc/fail2ban")
			door(s, "")
		}},
	{"no network for packages", "apt-get",
		func(s *vps.Server) {
			s.Run("apt-get", "purge", "-y", "-q", "ufw")
			s.Run("apt-get", "clean")
			s.Write("/etc/apt/apt.conf.d/00proxy", "Acquire::http::Proxy \"http://127.0.0.1:9\";\nAcquire::Retries \"0\";\n", 0o644)
		},
		func(s *vps.Server) {
			s.Write("/etc/apt/apt.conf.d/00proxy", "Acquire::http::Proxy \"http://"+s.Gate()+":3142\";\n", 0o644)
		}},
}

// also takes the waiver of a control out of a policy of the door.
func also(s *vps.Server, control string) {
	s.Write(policyFile, regexp.MustCompile(`(?m)^.*control: `+control+`,.*\n`).ReplaceAllString(s.Read(policyFile), ""), 0o644)
}

// confined gives the server an API of its own that cannot live in the sandbox:
// it is the policy's api.unit, and its control is on.
func confined(unit string) func(*vps.Server) {
	return func(s *vps.Server) {
		s.Write("/etc/systemd/system/confined.service", unit, 0o644)
		s.Run("systemctl", "daemon-reload")
		s.Run("systemctl", "start", "confined.service")
		door(s, "  api: {unit: confined.service}")
		also(s, "host/api")
	}
}

// free: rolled back, the API runs again as before.
func free(s *vps.Server) {
	s.Run("systemctl", "is-active", "confined.service")
	s.Run("systemctl", "stop", "confined.service")
	s.Run("rm", "/etc/systemd/system/confined.service")
	s.Run("systemctl", "daemon-reload")
	door(s, "")
}

// readOnly makes a folder one that even root cannot write to.
func readOnly(dir string) func(*vps.Server) {
	return func(s *vps.Server) {
		s.Run("mount", "--bind", dir, dir)
		s.Run("mount", "-o", "remount,ro,bind", dir)
	}
}

func writable(dir string) func(*vps.Server) { return func(s *vps.Server) { s.Run("umount", dir) } }

// TestServersAsOthersLeftThem has a server of every kind: the owner gets in in
// every case, and the state is complete, or as it was.
func TestServersAsOthersLeftThem(t *testing.T) {
	t.Parallel()
	for _, tt := range setups {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			first, then := cmp.Or(tt.owner, "root"), cmp.Or(tt.owner, "deploy")
			s, o := bare(t, cmp.Or(tt.suite, vps.Ready), "")
			door(s, tt.host)
			if tt.prepare != nil {
				tt.prepare(t, s, o)
			}
			before := snap(t, s)
			if tt.after == nil {
				o.MustSSH("root", ringwall+"apply --yes --within 10s 2>&1")
				if out, err := o.SSH("deploy", "true"); err == nil {
					t.Errorf("deploy gets in: %s", out)
				}
				s.Await("everything is put back", 3*time.Minute, func() bool { return s.Read("/etc/systemd/system/ringwall-host-rollback.service") == "" })
				same(t, "not confirmed", before, snap(t, s))
				if err := o.GetsIn("root"); err != nil {
					t.Error(err)
				}
				return
			}
			o.MustSSH(first, sudo(first)+ringwall+"apply --yes 2>&1")
			if strings.Contains(tt.host, "port: 2200") {
				o.Port = 2200
			}
			o.MustSSH(then, sudo(then)+ringwall+"confirm 2>&1")
			if out := o.MustSSH(then, sudo(then)+ringwall+"plan"); !strings.Contains(out, "nothing to do") {
				t.Errorf("a second plan: %s", out)
			}
			if out, err := o.SSH(then, sudo(then)+ringwall+"status"); err != nil {
				t.Errorf("status: %v\n%s", err, out)
			}
			tt.after(t, s, o)
			s.Run("ringwall", "host", "rollback")
			same(t, "rolled back", before, snap(t, s))
		})
	}
}

// sudo is what a user writes before a command of root's.
func sudo(user string) string {
	if user == "root" {
		return ""
	}
	return "sudo env "
}

// TestObstacles puts one after the other in the way of an apply: nothing is
// changed, or all is as it was, and the owner gets in. With all of them away,
// the same apply works.
func TestObstacles(t *testing.T) { onBoth(t, obstacles) }

func obstacles(t *testing.T, s *vps.Server, o *vps.Owner) {
	for _, tt := range refusals {
		tt.put(s)
		before := snap(t, s)
		if out, err := s.RunEnv([]string{"RINGWALL_POLICY=" + policyFile}, "ringwall", "host", "apply", "--yes"); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
		same(t, tt.name, before, snap(t, s))
		tt.away(s)
	}
	for _, tt := range failures {
		tt.put(s)
		before := snap(t, s)
		out, err := o.SSH("root", ringwall+"apply --yes 2>&1")
		if err == nil || !strings.Contains(out, tt.want) || !strings.Contains(out, "everything is as it was") {
			t.Errorf("%s: %v\n%s", tt.name, err, out)
		}
		same(t, tt.name, before, snap(t, s))
		if err := o.GetsIn("root"); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		tt.away(s)
	}
	apply(t, o)
}

// TestNoFileCanBeWritten takes one folder after the other that an apply writes to, and
// Ringwall's own, and makes it one that even root cannot write to: nothing is changed
// then, or all is as it was, and the owner gets in.
func TestNoFileCanBeWritten(t *testing.T) {
	t.Parallel()
	s, o := bare(t, vps.Full, "")
	site(s)
	whole := s.Read(policyFile)
	var plan struct {
		Changes []struct {
			Control string
			File    *struct{ Path string }
		}
	}
	if err := json.Unmarshal([]byte(o.MustSSH("root", ringwall+"plan --json 2>/dev/null")), &plan); err != nil {
		t.Fatal(err)
	}
	// Folder to controls. To /etc/pam.d a package writes, which is content when it cannot.
	writes := map[string]map[string]bool{hostexec.Dir: {}, "/etc/systemd/system": {}, "/etc/pam.d": {"host/passwords": true}}
	s.Run("mkdir", "-p", hostexec.Dir)
	s.Run("chmod", "700", hostexec.Dir)
	for _, c := range plan.Changes {
		if c.File == nil {
			continue
		}
		folder := filepath.Dir(c.File.Path)
		for ; s.Run("sh", "-c", "test -d "+folder+" && echo yes || echo no") != "yes\n"; folder = filepath.Dir(folder) {
		}
		if writes[folder] == nil {
			writes[folder] = map[string]bool{}
		}
		writes[folder][c.Control] = true
	}
	if len(writes) < 12 {
		t.Errorf("an apply writes to %d folders: %v", len(writes), writes)
	}
	edge := whole[strings.Index(whole, "edge:\n"):]
	before := snap(t, s)
	for _, folder := range slices.Sorted(maps.Keys(writes)) {
		door(s, "")
		for control := range writes[folder] {
			also(s, control)
		}
		s.Write(policyFile, s.Read(policyFile)+edge, 0o640)
		readOnly(folder)(s)
		out, err := o.SSH("root", ringwall+"apply --yes 2>&1")
		nothing := strings.HasPrefix(hostexec.Dir+"/", folder+"/") // can even begin
		if err == nil || !nothing && !strings.Contains(out, "everything is as it was") {
			t.Errorf("%s: %v\n%s", folder, err, out)
		}
		writable(folder)(s)
		same(t, folder, before, snap(t, s))
		if err := o.GetsIn("root"); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
		if out := s.Run("ringwall", "host", "rollback"); !strings.Contains(out, "nothing to undo") {
			t.Errorf("%s: there was something left to undo: %s", folder, out)
		}
		lines := strings.Split(strings.TrimSpace(out), "\n")
		t.Logf("%s (%s): %s", folder, strings.Join(slices.Sorted(maps.Keys(writes[folder])), " "), lines[max(0, len(lines)-3):])
	}
	s.Write(policyFile, whole, 0o640)
	apply(t, o)
}
