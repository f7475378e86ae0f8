package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
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

// nginxWaits keeps the nginx of a package that is just being installed from being
// started, as Debian does at once, with the package's page open to everybody.
const (
	nginxWaits     = unitFolder + nginxService + ".d/ringwall-first.conf"
	nginxWaitsText = `# Written by ringwall host apply, which takes it away again: nginx has to wait for its configuration.
[Unit]
ConditionPathExists=!` + nginxWaits + "\n"
)

// packagedNginx is what nginx -V says of each distribution's package, which keeps its
// version for as long as the distribution lasts.
var packagedNginx = map[System]string{
	{"debian", "12"}:    "nginx/1.22.1 built with OpenSSL 3.0",
	{"debian", "13"}:    "nginx/1.26.3 built with OpenSSL 3.5",
	{"ubuntu", "22.04"}: "nginx/1.18.0 built with OpenSSL 3.0",
	{"ubuntu", "24.04"}: "nginx/1.24.0 built with OpenSSL 3.0",
}

// nginxParts is what ringwall nginx parts says: only that program knows what nginx
// is to have.
type nginxParts struct {
	Files   []File
	Private []string // what ringwall nginx prepare writes, as it holds a secret
	Left    []string // what it makes of edge.nginx.state, which the service writes from then on
	Ready   bool     // there is nothing to prepare
}

// nginxParts is the configuration that the policy's nginx is to have: the one that is
// there, or the package's. A Hint says why there can be none.
func (f *Facts) nginxParts(there bool) (parts nginxParts, err error) {
	var args []string
	if !there {
		sys, err := f.System()
		if err != nil {
			return parts, err
		}
		if why, err := f.anotherNginx(sys); err != nil {
			return parts, err
		} else if why != "" {
			return parts, Hint(why)
		}
		args = []string{"--nginx-version", packagedNginx[sys]}
	}
	said, err := f.ask(askParts, args...)
	var no *Refusal
	if errors.As(err, &no) {
		return parts, Hint("nginx is left as it is: " + strings.TrimPrefix(no.Said, "error: "))
	}
	if err == nil {
		err = json.Unmarshal([]byte(said), &parts)
	}
	return parts, err
}

// anotherNginx says why apt would not install the distribution's nginx, for which all is
// planned, "" when it would: nginx.org's, which other files come with, or one of somebody's
// own archive. Lists that do not know nginx yet are fetched when it is installed.
func (f *Facts) anotherNginx(sys System) (why string, err error) {
	said, err := f.ask(askInstall, "nginx")
	var no *Refusal
	switch {
	case errors.As(err, &no) && strings.Contains(no.Said, "Unable to locate package"):
		return "", nil
	case errors.As(err, &no) && strings.Contains(no.Said, "Held packages"):
		return "apt would not install nginx, which is held: apt-mark unhold nginx", nil
	case errors.As(err, &no):
		return "apt would not install nginx: " + firstLine(strings.TrimPrefix(no.Said, "E: ")), nil
	case err != nil:
		return "", err
	}
	want, _, _ := strings.Cut(strings.TrimPrefix(packagedNginx[sys], "nginx/"), " ")
	m := wouldInstall.FindStringSubmatch(said)
	if m == nil {
		return "", nil // it is installed, and nginx.service is not there: what that is parts says
	}
	upstream := m[1]
	if i := strings.LastIndexByte(upstream, '-'); i >= 0 {
		upstream = upstream[:i]
	}
	if upstream == want && strings.Contains(said, "\nInst nginx-common ") {
		return "", nil
	}
	return fmt.Sprintf("apt would install nginx %s, which is not that of %s (%s): apt-get install nginx, and then ringwall host apply sets up the one that is there", m[1], sys, want), nil
}

// wouldInstall is apt's line of the package itself, with its version.
var wouldInstall = regexp.MustCompile(`(?m)^Inst nginx \(([^ )]+)`)

// planNginx has nginx installed, kept from being started, and started once Ringwall
// serves and the configuration is there, which nginx -t judges. Another site of an nginx that is there is
// left alone; one that is in the way is a Hint.
func planNginx(p *policy.Policy, f *Facts) ([]Change, error) {
	if !p.NginxIsEdge() {
		return nil, nil
	}
	unit, err := f.Unit(nginxService)
	if err != nil {
		return nil, err
	}
	there := unit.Load == "loaded"
	if !there && unit.Load != "not-found" {
		return nil, Hint(nginxService + " is " + unit.Load + ": systemctl unmask nginx, or take it away")
	}
	why, err := noService(p, f)
	if err != nil {
		return nil, err
	}
	if why != "" {
		return nil, Hint(why)
	}
	if left, _ := f.ask(askPackage, "nginx-common"); strings.HasPrefix(left, "config-files ") {
		return nil, Hint("nginx was removed, and what it was set up with is still in /etc/nginx: apt-get install nginx, or apt-get purge nginx-common, first")
	}
	parts, err := f.nginxParts(there)
	if err != nil {
		return nil, err
	}
	var changes []Change
	if !there {
		changes = append(changes,
			Change{Title: "have nginx wait for its configuration", Early: true, File: &File{Path: nginxWaits, Mode: 0o644, Content: nginxWaitsText}},
			Change{Title: "install nginx", Early: true, Package: &Package{Names: []string{"nginx"}}})
	}
	shut, err := f.need(Change{Title: "shut nginx in: its ports and files, and nothing of the system to write", File: &File{Path: unitFolder + nginxService + ".d/ringwall.conf", Mode: 0o644, Content: nginxText}})
	if err != nil {
		return nil, err
	}
	files, err := nginxFiles(p, f, parts, there)
	if err != nil {
		return nil, err
	}
	changes = append(append(changes, shut...), files...)
	if !there {
		changes = append(changes, Change{Title: "nginx waits no more", File: &File{Path: nginxWaits, Absent: true}})
	}
	// Before nginx reads anything: what is written after that is told to it.
	told, err := f.enable(nginxPath)
	if err != nil {
		return nil, err
	}
	if len(told) == 0 && slices.ContainsFunc(files, func(c Change) bool { return c.File != nil && c.File.Path == unitFolder+nginxPath }) {
		told = []Change{{Title: "watch what the policy names now", Unit: &Unit{Name: nginxPath, Do: Restart}}}
	}
	changes = append(changes, told...)
	on, err := f.enable(nginxService)
	if err != nil {
		return nil, err
	}
	changes = append(changes, on...)
	switch {
	case !unit.Running():
	case len(shut) > 0:
		changes = append(changes, Change{Title: "start nginx anew, which ends the connections that it has", Unit: &Unit{Name: nginxService, Do: Restart}})
	case len(files) > 0 || f.nginxIsBehind():
		changes = append(changes, Change{Title: "have nginx read its configuration", Unit: &Unit{Name: nginxService, Do: Reload}})
	}
	return changes, nil
}

// nginxFiles are the changes of the configuration, the folders first and what
// includes all else last.
func nginxFiles(p *policy.Policy, f *Facts, parts nginxParts, there bool) (changes []Change, err error) {
	prepared := parts.Ready
	for _, file := range parts.Files {
		change := Change{Title: "for nginx: " + file.Path, File: &file}
		switch {
		case file.Absent:
			change.Title = "take away " + file.Path + ", which is in the way"
		case file.Path == p.Edge.Nginx.Conf:
			change.Title, file.Check = "the configuration of "+p.Site, []string{"nginx", "-t"}
		}
		if !file.Folder && !file.Absent && !prepared { // the folders are there, and what includes it comes after it
			prepared = true
			changes = append(changes, Change{Title: "make what nginx proves itself with, and what only Ringwall writes later",
				Command: &Command{Argv: []string{"ringwall", "nginx", "prepare", "--policy", servicePolicy}, Files: parts.Private, Leaves: parts.Left}})
		}
		if file.Absent && !there { // the package brings it
			changes = append(changes, change)
			continue
		}
		more, err := f.need(change)
		if err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	return changes, nil
}

// nginxIsBehind reports that nginx runs with what was there before: an error is for
// Verify to tell.
func (f *Facts) nginxIsBehind() bool {
	said, err := f.ask(askNginx)
	var no *Refusal
	return errors.As(err, &no) && no.Code == 1 && strings.Contains(said, "nginx has not read this")
}

func verifyNginx(p *policy.Policy, f *Facts) check.Finding {
	const want = "nginx has the configuration of the policy, and runs in its sandbox; " + nginxPath + " has it read bans and certificates"
	const apply, differs = "ringwall host apply; then: journalctl -u nginx -n 20", "ringwall host apply; ringwall nginx diff shows what differs"
	has, err := f.UnitProperties(nginxService, append([]string{"LoadState", "NeedDaemonReload", "MainPID"}, nginxSandbox.properties()...)...)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !p.NginxIsEdge():
		return check.Moot("edge.engine is %s: the policy has no nginx to look at", p.Edge.Engine)
	case has["LoadState"] != "loaded":
		return check.Failed(nginxService+" is "+has["LoadState"], want, "ringwall host apply")
	}
	for _, name := range []string{nginxService, nginxPath} {
		switch u, err := f.Unit(name); {
		case err != nil:
			return check.Unseen("%v", err)
		case u.Load != "loaded":
			return check.Failed(name+" is "+u.Load, want, differs)
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
		return check.Failed("nginx has not what the policy says: "+firstLine(said), want, differs)
	case err != nil:
		return check.Unseen("whether nginx has what the policy says: %v", err)
	}
	return check.Passed("nginx runs, shut in, with the configuration of %s; %s has it read bans and certificates", servicePolicy, nginxPath)
}

func firstLine(text string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return first
}
