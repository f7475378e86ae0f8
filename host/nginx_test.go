package host_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

const (
	nginxShow   = "systemctl show --no-pager --property=LoadState,NeedDaemonReload,MainPID,CapabilityBoundingSet,NoNewPrivileges,PrivateDevices,ProtectSystem,ProtectHome,ProtectClock,ProtectControlGroups,ProtectKernelLogs,ProtectKernelModules,ProtectKernelTunables,RestrictAddressFamilies,RestrictRealtime,RestrictSUIDSGID,LockPersonality -- nginx.service"
	nginxShut   = "LoadState=loaded\nNeedDaemonReload=no\nMainPID=7\nCapabilityBoundingSet=cap_chown cap_dac_override cap_dac_read_search cap_fowner cap_kill cap_setgid cap_setuid cap_net_bind_service cap_sys_resource\nNoNewPrivileges=yes\nPrivateDevices=yes\nProtectSystem=full\nProtectHome=read-only\nProtectClock=yes\nProtectControlGroups=yes\nProtectKernelLogs=yes\nProtectKernelModules=yes\nProtectKernelTunables=yes\nRestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX\nRestrictRealtime=yes\nRestrictSUIDSGID=yes\nLockPersonality=yes\n"
	nginxUnit   = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- nginx.service"
	nginxPath   = "systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- ringwall-nginx.path"
	nginxDiff   = "ringwall nginx diff --policy /etc/ringwall/ringwall.yaml"
	on          = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
	nginxDropIn = "/etc/systemd/system/nginx.service.d/ringwall.conf"
)

// nginxMachine has nginx as its edge, as apply leaves it.
func nginxMachine() (texts, *policy.Policy) {
	p := policy.Default()
	p.Edge.Engine = "nginx"
	return texts{
		files: map[string]host.FileState{"/etc/os-release": debian, "/proc/7/status": file("Name:\tnginx\nNoNewPrivs:\t1\nSeccomp:\t2\n"), "/proc/7/mountinfo": file(apiMounts),
			"/etc/ringwall/ringwall.yaml": file(""), "/usr/local/bin/ringwall": file(""), "/etc/ringwall/secrets/edge_nginx_proof": file("")},
		said: map[string]string{nginxShow: nginxShut, nginxUnit: on, nginxPath: on, nginxDiff: "nothing differs\n"},
	}, p
}

func TestVerdictsOfNginx(t *testing.T) {
	says := func(line, old, now string) func(texts) {
		return func(m texts) { m.said[line] = strings.Replace(m.said[line], old, now, 1) }
	}
	for name, tt := range map[string]struct {
		change func(texts)
		want   check.Verdict
		got    string
	}{
		"right":           {func(texts) {}, check.Pass, "with the configuration of /etc/ringwall/ringwall.yaml"},
		"changed by hand": {says(nginxDiff, "nothing differs\n", "no"), check.Fail, "has not what the policy says"},
		"not compared":    {func(m texts) { delete(m.said, nginxDiff) }, check.Unknown, errDark.Error()},
		"no nginx":        {says(nginxShow, "=loaded", "=not-found"), check.Fail, "nginx.service is not-found"},
		"stopped":         {says(nginxUnit, "=active", "=failed"), check.Fail, "nginx.service is failed"},
		"not at boot":     {says(nginxUnit, "=enabled", "=disabled"), check.Fail, "nginx.service is disabled"},
		"told by nobody":  {says(nginxPath, "=active", "=inactive"), check.Fail, "ringwall-nginx.path is inactive"},
		"no path":         {says(nginxPath, "=loaded", "=not-found"), check.Fail, "ringwall-nginx.path is not-found"},
		"path not at boot": {says(nginxPath, "=enabled", "=disabled"), check.Fail,
			"ringwall-nginx.path is disabled"},
		"no drop-in":     {says(nginxShow, "ProtectHome=read-only", "ProtectHome=no"), check.Fail, "ProtectHome=no"},
		"one more":       {says(nginxShow, "cap_chown", "cap_chown cap_sys_admin"), check.Fail, "cap_sys_admin"},
		"strict is more": {says(nginxShow, "ProtectSystem=full", "ProtectSystem=strict"), check.Pass, "shut in"},
		"not read":       {says(nginxShow, "NeedDaemonReload=no", "NeedDaemonReload=yes"), check.Fail, "has not read"},
		"not started anew": {func(m texts) { m.files["/proc/7/status"] = file("NoNewPrivs:\t0\nSeccomp:\t0\n") }, check.Fail,
			"runs as it was started"},
		"no process": {says(nginxShow, "MainPID=7", "MainPID=0"), check.Unknown, "no main process"},
	} {
		m, p := nginxMachine()
		tt.change(m)
		f, _ := host.Verify("host/nginx", p, host.NewFacts(m), time.Now())
		if f.Verdict != tt.want || !strings.Contains(f.Got, tt.got) {
			t.Errorf("%s: %v %q, want %v %q", name, f.Verdict, f.Got, tt.want, tt.got)
		}
	}
	m, p := nginxMachine()
	p.Edge.Engine = "builtin"
	if f, _ := host.Verify("host/nginx", p, host.NewFacts(m), time.Now()); !f.Moot {
		t.Errorf("another edge: %v %q", f.Verdict, f.Got)
	}
}

// TestPlansOfNginx: nothing is touched before nginx has what the policy says, and
// nothing of an nginx that is not the edge.
func TestPlansOfNginx(t *testing.T) {
	plan := func(m texts, p *policy.Policy) ([]host.Change, error) {
		for _, c := range host.Controls() {
			if c.ID == "host/nginx" {
				return c.Plan(p, host.NewFacts(m))
			}
		}
		t.Fatal("there is no host/nginx")
		return nil, nil
	}
	titles := func(changes []host.Change) (out string) {
		for _, c := range changes {
			if c.Unit != nil {
				out += string(c.Unit.Do) + " " + c.Unit.Name + "; "
			} else {
				out += c.File.Path + "; "
			}
		}
		return out
	}
	m, p := nginxMachine()
	changes, err := plan(m, p)
	if got := titles(changes); err != nil || got != nginxDropIn+"; restart nginx.service; " {
		t.Errorf("%q %v", got, err)
	}
	m.files[nginxDropIn] = file(changes[0].File.Content)
	if changes, err := plan(m, p); err != nil || len(changes) != 0 {
		t.Errorf("a second plan: %q %v", titles(changes), err)
	}
	delete(m.files, nginxDropIn)
	m.said[nginxUnit] = strings.Replace(on, "=active", "=inactive", 1)
	m.said[nginxPath] = strings.Replace(on, "=enabled", "=disabled", 1)
	changes, err = plan(m, p)
	if got := titles(changes); err != nil || got != nginxDropIn+"; enable nginx.service; enable ringwall-nginx.path; " {
		t.Errorf("%q %v", got, err)
	}
	for name, tt := range map[string]struct {
		change func(texts)
		hint   string
	}{
		"no nginx":     {func(m texts) { m.said[nginxUnit] = strings.Replace(on, "=loaded", "=not-found", 1) }, "apt-get install nginx"},
		"no proof":     {func(m texts) { delete(m.files, "/etc/ringwall/secrets/edge_nginx_proof") }, "which ringwall nginx install makes"},
		"not as it is": {func(m texts) { m.said[nginxDiff] = "no" }, "ringwall nginx install, then apply again"},
	} {
		m, p := nginxMachine()
		tt.change(m)
		changes, err := plan(m, p)
		var hint host.Hint
		if !errors.As(err, &hint) || !strings.Contains(string(hint), tt.hint) || changes != nil {
			t.Errorf("%s: %q %v", name, titles(changes), err)
		}
	}
	p.Edge.Engine = "builtin"
	if changes, err := plan(texts{}, p); err != nil || changes != nil {
		t.Errorf("another edge: %q %v", titles(changes), err)
	}
}
