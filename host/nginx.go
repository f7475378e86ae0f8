package host

import (
	"errors"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const (
	nginxService = "nginx.service"
	nginxPath    = "ringwall-nginx.path" // of ringwall nginx install
)

var nginxEdge = Control{
	Meta: check.Meta{
		ID:    "host/nginx",
		Title: "Where nginx is the edge it has what the policy says, is told of bans, and may do little else",
		Why:   "a line changed by hand or a unit that is off opens what the policy closes, and a hole in what faces the Internet is worth what its process may do",
		Ref:   "nginx(8); systemd.exec(5); systemd.path(5); CWE-250; blueprint H7, T1, T8",
	},
	Plan:   planNginx,
	Verify: verifyNginx,
}

// nginxText takes nothing away that the other sites of this nginx may need: it
// reads what is in /home, meets sockets in /tmp, and writes below /var.
const nginxText = `# Written by ringwall host apply: a change here is drift, and reported.
[Service]
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_KILL CAP_NET_BIND_SERVICE CAP_SETGID CAP_SETUID CAP_SYS_RESOURCE
NoNewPrivileges=yes
PrivateDevices=yes
ProtectSystem=full
ProtectHome=read-only
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
`

var nginxSandbox = sandbox{
	{"CapabilityBoundingSet", "cap_chown cap_dac_override cap_dac_read_search cap_fowner cap_kill cap_net_bind_service cap_setgid cap_setuid cap_sys_resource"},
	{"NoNewPrivileges", "yes"}, {"PrivateDevices", "yes"}, {"ProtectSystem", "full"}, {"ProtectHome", "read-only"},
	{"ProtectClock", "yes"}, {"ProtectControlGroups", "yes"}, {"ProtectKernelLogs", "yes"}, {"ProtectKernelModules", "yes"}, {"ProtectKernelTunables", "yes"},
	{"RestrictAddressFamilies", "AF_INET AF_INET6 AF_NETLINK AF_UNIX"},
	{"RestrictRealtime", "yes"}, {"RestrictSUIDSGID", "yes"}, {"LockPersonality", "yes"},
}

// planNginx leaves the configuration to ringwall nginx install, which attacks the
// site before it is content and has a way back of its own. While nginx would not
// start with what is on the disk it is not touched.
func planNginx(p *policy.Policy, f *Facts) ([]Change, error) {
	if !p.NginxIsEdge() {
		return nil, nil
	}
	unit, err := f.Unit(nginxService)
	if err != nil {
		return nil, err
	}
	if unit.Load != "loaded" {
		return nil, Hint(nginxService + " is " + unit.Load + ": apt-get install nginx, then: ringwall nginx install")
	}
	why, err := noService(p, f)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, Hint(why)
	}
	said, err := f.ask(askNginx)
	var no *Refusal
	switch {
	case errors.As(err, &no) && no.Code == 1:
		return nil, Hint("nginx has not what the policy says (" + firstLine(said) + "): ringwall nginx install, then apply again")
	case errors.As(err, &no):
		return nil, Hint("nginx cannot be compared with the policy (" + firstLine(no.Said) + "): ringwall nginx install, then apply again")
	case err != nil:
		return nil, err
	}
	changes, err := f.need(Change{Title: "shut nginx in: its ports and files, and nothing of the system to write", File: &File{Path: unitFolder + nginxService + ".d/ringwall.conf", Mode: 0o644, Content: nginxText}})
	if err != nil {
		return nil, err
	}
	written := len(changes) > 0
	on, err := f.enable(nginxService)
	if err != nil {
		return nil, err
	}
	told, err := f.enable(nginxPath)
	if err != nil {
		return nil, err
	}
	changes = append(append(changes, on...), told...)
	if written && unit.Running() {
		changes = append(changes, Change{Title: "start nginx anew, which ends the connections that it has", Unit: &Unit{Name: nginxService, Do: Restart}})
	}
	return changes, nil
}

func verifyNginx(p *policy.Policy, f *Facts) check.Finding {
	const want = "nginx has the configuration of the policy, and runs in its sandbox; " + nginxPath + " has it read bans and certificates"
	const apply, install = "ringwall host apply; then: journalctl -u nginx -n 20", "ringwall nginx install; ringwall nginx diff shows what differs"
	has, err := f.UnitProperties(nginxService, append([]string{"LoadState", "NeedDaemonReload", "MainPID"}, nginxSandbox.properties()...)...)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !p.NginxIsEdge():
		return check.Moot("edge.engine is %s: the policy has no nginx to look at", p.Edge.Engine)
	case has["LoadState"] != "loaded":
		return check.Failed(nginxService+" is "+has["LoadState"], want, "apt-get install nginx; then: ringwall nginx install")
	}
	for _, name := range []string{nginxService, nginxPath} {
		switch u, err := f.Unit(name); {
		case err != nil:
			return check.Unseen("%v", err)
		case u.Load != "loaded":
			return check.Failed(name+" is "+u.Load, want, install)
		case !u.Running():
			return check.Failed(name+" is "+u.Active, want, apply)
		case u.Enabled != "enabled":
			return check.Failed(name+" is "+u.Enabled+", and does not start with the machine", want, apply)
		}
	}
	if has["NeedDaemonReload"] != "no" {
		return check.Failed("systemd has not read what was changed in the files of "+nginxService, want, "systemctl daemon-reload && systemctl restart nginx")
	}
	if got := nginxSandbox.missing(has); got != "" {
		return check.Failed(nginxService+" has "+got, want, apply)
	}
	if f := judgeProcess(nginxService, has["MainPID"], f); f.Verdict != check.Pass {
		return f
	}
	said, err := f.ask(askNginx)
	var no *Refusal
	switch {
	case errors.As(err, &no) && no.Code == 1:
		return check.Failed("nginx has not what the policy says: "+firstLine(said), want, install)
	case err != nil:
		return check.Unseen("whether nginx has what the policy says: %v", err)
	}
	return check.Passed("nginx runs, shut in, with the configuration of %s; %s has it read bans and certificates", servicePolicy, nginxPath)
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return first
}
