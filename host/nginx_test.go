package host_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"slices"
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
		"not read by it": {func(m texts) { m.said[nginxDiff] = "no: /etc/x.conf: nginx has not read this" }, check.Fail,
			"/etc/x.conf: nginx has not read this"},
		"not compared":   {func(m texts) { delete(m.said, nginxDiff) }, check.Unknown, errDark.Error()},
		"no nginx":       {says(nginxShow, "=loaded", "=not-found"), check.Fail, "nginx.service is not-found"},
		"stopped":        {says(nginxUnit, "=active", "=failed"), check.Fail, "nginx.service is failed"},
		"not at boot":    {says(nginxUnit, "=enabled", "=disabled"), check.Fail, "nginx.service is disabled"},
		"told by nobody": {says(nginxPath, "=active", "=inactive"), check.Fail, "ringwall-nginx.path is inactive"},
		"no path":        {says(nginxPath, "=loaded", "=not-found"), check.Fail, "ringwall-nginx.path is not-found"},
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

// partsOf is what ringwall nginx parts says.
func partsOf(ready bool, files ...host.File) string {
	b, _ := json.Marshal(map[string]any{"files": files, "private": []string{"/etc/nginx/ringwall/proof.conf"}, "ready": ready})
	return string(b)
}

const (
	nginxParts    = "ringwall nginx parts --policy /etc/ringwall/ringwall.yaml"
	nginxPackaged = nginxParts + " --nginx-version nginx/1.22.1 built with OpenSSL 3.0"
	nginxInstall  = "apt-get --simulate --no-install-recommends -y install -- nginx"
	nginxOfDebian = "0 upgraded, 2 newly installed, 0 to remove and 15 not upgraded.\nInst nginx-common (1.22.1-9+deb12u11 Debian-Security:12/oldstable-security [all])\n" +
		"Inst nginx (1.22.1-9+deb12u11 Debian-Security:12/oldstable-security [amd64])\nConf nginx-common (1.22.1-9+deb12u11 Debian-Security:12/oldstable-security [all])\n"
)

var (
	nginxFolder = host.File{Path: "/etc/nginx/ringwall", Mode: 0o700, Folder: true}
	nginxWatch  = host.File{Path: "/etc/systemd/system/ringwall-nginx.path", Mode: 0o644, Content: "watch"}
	nginxConf   = host.File{Path: "/etc/nginx/conf.d/ringwall.conf", Mode: 0o644, Content: "server"}
	welcome     = host.File{Path: "/etc/nginx/sites-enabled/default", Absent: true}
)

// has is a file as a change makes it.
func (m texts) has(f host.File) {
	state := file(f.Content)
	state.Mode = fs.FileMode(f.Mode)
	if f.Folder {
		state.Mode |= fs.ModeDir
	}
	m.files[f.Path] = state
}

// TestPlansOfNginx: nothing is touched where nginx cannot have what the policy says, and
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
			switch {
			case c.Early:
				out += "early "
			}
			switch {
			case c.Unit != nil:
				out += string(c.Unit.Do) + " " + c.Unit.Name + "; "
			case c.Package != nil:
				out += strings.Join(c.Package.Names, " ") + "; "
			case c.Command != nil:
				out += strings.Join(c.Command.Argv[:3], " ") + "; "
			case c.File.Absent:
				out += "no " + c.File.Path + "; "
			default:
				out += c.File.Path + "; "
			}
		}
		return out
	}
	const waits = "/etc/systemd/system/nginx.service.d/ringwall-first.conf"
	whole := func(ready bool) texts { // an nginx that has all
		m, _ := nginxMachine()
		m.said[nginxParts] = partsOf(ready, welcome, nginxFolder, nginxWatch, nginxConf)
		for _, f := range []host.File{nginxFolder, nginxWatch, nginxConf} {
			m.has(f)
		}
		m.files[nginxDropIn] = file(dropInOf(t))
		return m
	}
	for name, tt := range map[string]struct {
		change func(texts)
		want   string
	}{
		"right": {func(texts) {}, ""},
		"from a bare server": {func(m texts) {
			m.said[nginxUnit], m.said[nginxPath] = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n", "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
			m.said[nginxInstall] = nginxOfDebian
			m.said[nginxPackaged] = partsOf(false, welcome, nginxFolder, nginxWatch, nginxConf)
			delete(m.said, nginxParts)
			for _, f := range []host.File{nginxFolder, nginxWatch, nginxConf} {
				delete(m.files, f.Path)
			}
			delete(m.files, nginxDropIn)
		}, "early " + waits + "; early nginx; " + nginxDropIn + "; no " + welcome.Path + "; " + nginxFolder.Path + "; ringwall nginx prepare; " + nginxWatch.Path + "; " + nginxConf.Path + "; no " + waits + "; enable ringwall-nginx.path; enable nginx.service; "},
		"the page of welcome": {func(m texts) { m.files[welcome.Path] = host.FileState{Exists: true, Mode: fs.ModeSymlink | 0o777} }, "no " + welcome.Path + "; reload nginx.service; "},
		"a line by hand":      {func(m texts) { m.files[nginxConf.Path] = file("servant") }, nginxConf.Path + "; reload nginx.service; "},
		"no secret":           {func(m texts) { m.said[nginxParts] = partsOf(false, welcome, nginxFolder, nginxWatch, nginxConf) }, "ringwall nginx prepare; reload nginx.service; "},
		"another path":        {func(m texts) { m.files[nginxWatch.Path] = file("elsewhere") }, nginxWatch.Path + "; restart ringwall-nginx.path; reload nginx.service; "},
		"not read": {func(m texts) {
			m.said[nginxDiff] = "no: /etc/nginx/conf.d/ringwall.conf: nginx has not read this since"
		}, "reload nginx.service; "},
		"not shut in": {func(m texts) { delete(m.files, nginxDropIn); delete(m.files, nginxConf.Path) }, nginxDropIn + "; " + nginxConf.Path + "; restart nginx.service; "},
		"stopped": {func(m texts) {
			m.said[nginxUnit] = strings.Replace(on, "=active", "=inactive", 1)
			delete(m.files, nginxConf.Path)
		}, nginxConf.Path + "; enable nginx.service; "},
		"told by nobody": {func(m texts) { m.said[nginxPath] = strings.Replace(on, "=enabled", "=disabled", 1) }, "enable ringwall-nginx.path; "},
	} {
		m := whole(true)
		tt.change(m)
		_, p := nginxMachine()
		changes, err := plan(m, p)
		if got := titles(changes); err != nil || got != tt.want {
			t.Errorf("%s: %q %v, want %q", name, got, err, tt.want)
		}
		for _, c := range changes {
			if c.File != nil && c.File.Path == nginxConf.Path && strings.Join(c.File.Check, " ") != "nginx -t" {
				t.Errorf("%s: nobody judges %s", name, c.File.Path)
			}
		}
	}
	for name, tt := range map[string]struct {
		change func(texts)
		hint   string
	}{
		"masked":         {func(m texts) { m.said[nginxUnit] = strings.Replace(on, "=loaded", "=masked", 1) }, "nginx.service is masked"},
		"no service":     {func(m texts) { delete(m.files, "/usr/local/bin/ringwall") }, "there is no /usr/local/bin/ringwall"},
		"cannot be made": {func(m texts) { m.said[nginxParts] = "no" }, "nginx is left as it is"},
	} {
		m := whole(true)
		tt.change(m)
		_, p := nginxMachine()
		changes, err := plan(m, p)
		var hint host.Hint
		if !errors.As(err, &hint) || !strings.Contains(string(hint), tt.hint) || changes != nil {
			t.Errorf("%s: %q %v", name, titles(changes), err)
		}
	}
	p := policy.Default()
	if changes, err := plan(texts{}, p); err != nil || changes != nil {
		t.Errorf("another edge: %q %v", titles(changes), err)
	}
}

// dropInOf is nginx's sandbox, as the plan writes it where it is missing.
func dropInOf(t *testing.T) string {
	t.Helper()
	m, p := nginxMachine()
	m.said[nginxParts] = partsOf(true)
	changes, _, err := host.Plan(onlyNginx(p), host.NewFacts(m), time.Now())
	for _, c := range changes {
		if c.File != nil && c.File.Path == nginxDropIn {
			return c.File.Content
		}
	}
	t.Fatalf("no drop-in is planned: %v", err)
	return ""
}

// onlyNginx waives all other controls.
func onlyNginx(p *policy.Policy) *policy.Policy {
	for _, c := range host.Controls() {
		if c.ID != "host/nginx" {
			p.Waivers = append(p.Waivers, policy.Waiver{Control: c.ID, Reason: "not what is looked at", Until: time.Now().Add(48 * time.Hour)})
		}
	}
	return p
}

// TestTheServiceBehindNginx: the secret comes before the service that has it, and where
// nginx cannot be had nothing is started that nobody would be served by.
func TestTheServiceBehindNginx(t *testing.T) {
	plan := func(parts string) []host.Change {
		m, p := nginxMachine()
		delete(m.files, "/etc/ringwall/secrets/edge_nginx_proof")
		m.said[nginxParts] = parts
		for _, name := range []string{"ringwall.service", "ringwall-https.socket", "ringwall-redirect.socket", "ringwall-http3.socket"} {
			m.said["systemctl show --no-pager --property=LoadState,ActiveState,UnitFileState -- "+name] = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
		}
		for _, c := range host.Controls() {
			if c.ID == "host/service" {
				changes, err := c.Plan(p, host.NewFacts(m))
				if err != nil {
					t.Fatal(err)
				}
				return changes
			}
		}
		return nil
	}
	changes := plan(partsOf(false))
	if len(changes) == 0 || !changes[0].Early || changes[0].Command == nil || changes[0].Command.Argv[2] != "prepare" || changes[0].Command.Files[0] != "/etc/ringwall/secrets/edge_nginx_proof" {
		t.Fatalf("%+v", changes)
	}
	given := false
	for _, c := range changes {
		given = given || c.File != nil && strings.Contains(c.File.Content, "\nLoadCredential=edge_nginx_proof:/etc/ringwall/secrets/edge_nginx_proof\n")
	}
	if !given {
		t.Error("the service is not given the secret")
	}
	if changes := plan("no"); changes != nil {
		t.Errorf("without an nginx: %+v", changes)
	}
}

// TestAnotherNginx: where apt would install another nginx than the distribution's, or none,
// the plan says so, before an apply could fail at it.
func TestAnotherNginx(t *testing.T) {
	const bare = "LoadState=not-found\nActiveState=inactive\nUnitFileState=\n"
	for name, tt := range map[string]struct{ said, refused, hint string }{
		"the distribution's": {nginxOfDebian, "", ""},
		"nginx.org's": {"Inst nginx (1.28.0-1~bookworm nginx:stable [amd64])\nConf nginx (1.28.0-1~bookworm nginx:stable [amd64])\n", "",
			"apt would install nginx 1.28.0-1~bookworm, which is not that of debian 12 (1.22.1): apt-get install nginx, and then ringwall host apply sets up the one that is there"},
		"nginx.org's of that version": {"Inst nginx (1.22.1-1~bookworm nginx:stable [amd64])\n", "", "apt would install nginx 1.22.1-1~bookworm"},
		"another archive's":           {strings.ReplaceAll(nginxOfDebian, "1.22.1-9+deb12u11", "1:1.26.3-2+ubuntu"), "", "apt would install nginx 1:1.26.3-2+ubuntu"},
		"held":                        {"", "E: Held packages were changed and -y was used without --allow-change-held-packages.", "nginx, which is held: apt-mark unhold nginx"},
		"pinned away":                 {"", "E: Package 'nginx' has no installation candidate", "apt would not install nginx: Package 'nginx' has no installation candidate"},
		"lists that are not there":    {"", "E: Unable to locate package nginx", ""},
		"no answer":                   {"", "", errDark.Error()},
	} {
		m, p := nginxMachine()
		m.said[nginxUnit], m.said[nginxPath] = bare, bare
		m.said[nginxPackaged] = partsOf(false, welcome, nginxFolder, nginxWatch, nginxConf)
		words := map[string]string{}
		if tt.said != "" {
			m.said[nginxInstall] = tt.said
		}
		if tt.refused != "" {
			words[nginxInstall] = tt.refused
		}
		i := slices.IndexFunc(host.Controls(), func(c host.Control) bool { return c.ID == "host/nginx" })
		changes, err := host.Controls()[i].Plan(p, host.NewFacts(refusing{m, words}))
		if tt.hint == "" && (err != nil || len(changes) == 0) || tt.hint != "" && (err == nil || !strings.Contains(err.Error(), tt.hint) || changes != nil) {
			t.Errorf("%s: %d changes, %v", name, len(changes), err)
		}
		var hint host.Hint
		if tt.hint != "" && name != "no answer" && !errors.As(err, &hint) {
			t.Errorf("%s: it stands in the way of all: %v", name, err)
		}
	}
}
