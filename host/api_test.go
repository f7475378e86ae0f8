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
	const line = "systemctl show --no-pager --property=ActiveState,NoNewPrivileges,PrivateTmp,PrivateDevices,ProtectSystem,ProtectClock,ProtectControlGroups,ProtectKernelLogs,ProtectKernelModules,ProtectKernelTunables,RestrictRealtime,RestrictSUIDSGID,LockPersonality,IPAddressDeny,IPAddressAllow -- myapi.service"
	return texts{
		files: map[string]host.FileState{"/etc/os-release": debian, "/proc/7/cgroup": file("0::/system.slice/myapi.service\n"), "/proc/8/cgroup": file("0::/system.slice/notmyapi.service\n")},
		said:  map[string]string{"ss -Hlntup": listens, line: shows},
	}
}

func TestVerdictsOfTheAPI(t *testing.T) {
	const shut = "ActiveState=active\nNoNewPrivileges=yes\nPrivateTmp=yes\nPrivateDevices=yes\nProtectSystem=full\nProtectClock=yes\nProtectControlGroups=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\nProtectKernelTunables=yes\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\nIPAddressDeny=::/0 0.0.0.0/0\nIPAddressAllow=::1/128 127.0.0.0/8\n"
	const own, open, others = "tcp LISTEN 0 5 127.0.0.1:8000 0.0.0.0:* users:((\"node\",pid=7,fd=3))\n", "tcp LISTEN 0 5 *:8000 *:* users:((\"node\",pid=7,fd=3))\n", "tcp LISTEN 0 5 *:443 *:* users:((\"x\",pid=8,fd=3))\n"
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
	} {
		p := policy.Default()
		p.Host.API.Unit = "myapi.service"
		f, _ := host.Verify("host/api", p, host.NewFacts(apiMachine(tt.listens, tt.shows)), time.Now())
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
			t.Errorf("%s: %v %q, want %v %q", name, f.Verdict, f.Got, tt.want, tt.got)
		}
	}
}
