package host_test

import (
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// apiMachine has a unit myapi.service, as systemd 252 shows one that is shut in.
func apiMachine(listens, shows string) texts {
	const line = "systemctl show --no-pager --property=ActiveState,NeedDaemonReload,MainPID,ControlGroup,NoNewPrivileges,PrivateTmp,PrivateDevices,ProtectSystem,ProtectClock,ProtectControlGroups,ProtectKernelLogs,ProtectKernelModules,ProtectKernelTunables,RestrictRealtime,RestrictSUIDSGID,LockPersonality,IPAddressDeny,IPAddressAllow -- myapi.service"
	return texts{
		files: map[string]host.FileState{"/etc/os-release": debian, "/proc/7/cgroup": file("0::/system.slice/myapi.service\n"), "/proc/8/cgroup": file("0::/system.slice/notmyapi.service\n"),
			"/proc/7/status": file("Name:\tnode\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t4\n"), "/proc/7/mountinfo": file(apiMounts)},
		said: map[string]string{"ss -Hlntup": listens, line: shows, strings.Join(host.Query(askReach).Argv("/system.slice/myapi.service"), " "): "before sent\ninside kept\n", "systemd-detect-virt --container": "none\n"},
	}
}

const (
	askReach  = "a datagram from a unit's cgroup"
	apiMounts = "936 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n977 936 8:1 /usr /usr ro,nosuid,relatime shared:342 master:1 - ext4 /dev/sda1 rw\n"
	shut      = "ActiveState=active\nNeedDaemonReload=no\nMainPID=7\nControlGroup=/system.slice/myapi.service\nNoNewPrivileges=yes\nPrivateTmp=yes\nPrivateDevices=yes\nProtectSystem=full\nProtectClock=yes\nProtectControlGroups=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\nProtectKernelTunables=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\nIPAddressDeny=::/0 0.0.0.0/0\nIPAddressAllow=::1/128 127.0.0.0/8\n"
	own       = "tcp LISTEN 0 5 127.0.0.1:8000 0.0.0.0:* users:((\"node\",pid=7,fd=3))\n"
)

func judgeAPI(m texts) check.Finding {
	p := policy.Default()
	p.Host.API.Unit = "myapi.service"
	f, _ := host.Verify("host/api", p, host.NewFacts(m), time.Now())
	return f
}

func TestVerdictsOfTheAPI(t *testing.T) {
	const open, others = "tcp LISTEN 0 5 *:8000 *:* users:((\"node\",pid=7,fd=3))\n", "tcp LISTEN 0 5 *:443 *:* users:((\"x\",pid=8,fd=3))\n"
	for name, tt := range map[string]struct {
		listens, shows string
		want           check.Verdict
		got            string
	}{
		"right":           {own + others, shut, check.Pass, "loopback alone"},
		"strict is more":  {own, strings.Replace(shut, "=full", "=strict", 1), check.Pass, "loopback alone"},
		"every address":   {open, shut, check.Fail, "listens on *, port 8000"},
		"no drop-in":      {own, strings.Replace(shut, "IPAddressDeny=::/0 0.0.0.0/0", "IPAddressDeny=", 1), check.Fail, "IPAddressDeny="},
		"more is allowed": {own, strings.Replace(shut, "127.0.0.0/8", "127.0.0.0/8 10.0.0.0/8", 1), check.Fail, "10.0.0.0/8"},
		"stopped":         {own, strings.Replace(shut, "=active", "=failed", 1), check.Fail, "is failed"},
		"not read":        {own, strings.Replace(shut, "NeedDaemonReload=no", "NeedDaemonReload=yes", 1), check.Fail, "has not read"},
		"no process":      {own, strings.Replace(shut, "MainPID=7", "MainPID=0", 1), check.Unknown, "no main process"},
		"gone":            {own, strings.Replace(shut, "MainPID=7", "MainPID=70", 1), check.Unknown, "it is gone"},
	} {
		f := judgeAPI(apiMachine(tt.listens, tt.shows))
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
			t.Errorf("%s: %v %q, want %v %q", name, f.Verdict, f.Got, tt.want, tt.got)
		}
	}
}

// TestVerdictsOfTheAPIsProcess: systemd says that all is right, and the process
// was started before, or the kernel filters nothing.
func TestVerdictsOfTheAPIsProcess(t *testing.T) {
	status := func(text string) func(texts) { return func(m texts) { m.files["/proc/7/status"] = file(text) } }
	mounts := func(text string) func(texts) { return func(m texts) { m.files["/proc/7/mountinfo"] = file(text) } }
	sent := func(text string) func(texts) {
		return func(m texts) {
			m.said[strings.Join(host.Query(askReach).Argv("/system.slice/myapi.service"), " ")] = text
		}
	}
	for name, tt := range map[string]struct {
		change func(texts)
		want   check.Verdict
		got    string
	}{
		"it may gain privileges":  {status("NoNewPrivs:\t0\nSeccomp:\t2\n"), check.Fail, "may gain privileges"},
		"no filter of calls":      {status("NoNewPrivs:\t1\nSeccomp:\t0\n"), check.Fail, "no system call is refused"},
		"an empty status":         {status(""), check.Fail, "may gain privileges"},
		"/usr is open":            {mounts(strings.Replace(apiMounts, "/usr ro", "/usr rw", 1)), check.Fail, "may write to /usr"},
		"/usr is opened again":    {mounts(apiMounts + "978 977 8:1 /usr /usr rw - ext4 /dev/sda1 rw\n"), check.Fail, "may write to /usr"},
		"all is read-only":        {mounts("936 1 8:1 / / ro,relatime - ext4 /dev/sda1 rw\n"), check.Pass, "kept"},
		"it has only /":           {mounts("936 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"), check.Fail, "may write to /usr"},
		"a datagram goes out":     {sent("before sent\ninside sent\n"), check.Fail, "a datagram from its cgroup went out"},
		"nothing goes out at all": {sent("before kept\ninside kept\n"), check.Unknown, "nothing here does"},
		"nothing was tried":       {sent("before sent\n"), check.Unknown, "nothing could be sent"},
		"no cgroup to join":       {sent("no"), check.Unknown, "nothing could be sent"},
		"in a container": {func(m texts) {
			sent("before sent\ninside sent\n")(m)
			m.said["systemd-detect-virt --container"] = "lxc\n"
		}, check.Unknown, "the machine around this container (lxc)"},
	} {
		m := apiMachine(own, shut)
		tt.change(m)
		f := judgeAPI(m)
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
			t.Errorf("%s: %v %q, want %v %q", name, f.Verdict, f.Got, tt.want, tt.got)
		}
	}
}
