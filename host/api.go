package host

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var apiService = Control{
	Meta: check.Meta{
		ID:    "host/api",
		Title: "The API's own service reaches, and is reached from, this machine alone",
		Why:   "an API that listens on every address is asked past the edge, and a hole in it is worth what its process may reach and write",
		Ref:   "systemd.exec(5); systemd.resource-control(5), IPAddressDeny; CWE-250; CWE-668; blueprint H7, T8",
	},
	Plan:   planAPI,
	Verify: verifyAPI,
}

// apiText takes nothing away that a server of HTTP behind an edge needs: not its
// user, its folders below /srv, /var and /home, nor memory that a compiler writes.
// IPAddressDeny holds for both directions, so that its database is local, too.
const apiText = `# Written by ringwall host apply: a change here is drift, and reported.
[Service]
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=full
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
IPAddressDeny=any
IPAddressAllow=localhost
`

// apiSandbox is what systemd says of a unit that has it in force.
var apiSandbox = []struct{ property, want string }{
	{"NoNewPrivileges", "yes"}, {"PrivateTmp", "yes"}, {"PrivateDevices", "yes"}, {"ProtectSystem", "full"},
	{"ProtectClock", "yes"}, {"ProtectControlGroups", "yes"}, {"ProtectKernelLogs", "yes"}, {"ProtectKernelModules", "yes"}, {"ProtectKernelTunables", "yes"},
	{"RestrictRealtime", "yes"}, {"RestrictSUIDSGID", "yes"}, {"LockPersonality", "yes"},
	{"IPAddressDeny", "0.0.0.0/0 ::/0"}, {"IPAddressAllow", "127.0.0.0/8 ::1/128"},
}

func planAPI(p *policy.Policy, f *Facts) ([]Change, error) {
	name := p.Host.API.Unit
	if name == "" {
		return nil, nil
	}
	unit, err := f.Unit(name)
	switch {
	case err != nil:
		return nil, err
	case unit.Load != "loaded":
		return nil, fmt.Errorf("the unit %s of host.api.unit is %s: write it first, or correct its name", name, unit.Load)
	case !unit.Running():
		return nil, fmt.Errorf("the unit %s of host.api.unit is %s: start it first, so that it can be seen to run afterwards", name, unit.Active)
	}
	changes, err := f.need(Change{Title: "shut " + name + " in: loopback alone, and nothing of the system to write", File: &File{Path: unitFolder + name + ".d/ringwall.conf", Mode: 0o644, Content: apiText}})
	if err == nil && len(changes) > 0 {
		changes = append(changes, Change{Title: "start it anew", Unit: &Unit{Name: name, Do: Restart}})
	}
	return changes, err
}

func verifyAPI(p *policy.Policy, f *Facts) check.Finding {
	listeners, err := f.Listeners()
	if err != nil {
		return check.Unseen("what listens: %v", err)
	}
	name := p.Host.API.Unit
	if name == "" {
		return check.Moot("host.api.unit names no service of the API's own")
	}
	want, fix := name+" runs, shut in, and listens on loopback alone", "ringwall host apply; then: journalctl -u "+name+" -n 20"
	properties := []string{"ActiveState"}
	for _, s := range apiSandbox {
		properties = append(properties, s.property)
	}
	has, err := f.UnitProperties(name, properties...)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case has["ActiveState"] != "active":
		return check.Failed(name+" is "+has["ActiveState"], want, fix)
	}
	for _, s := range apiSandbox {
		got := strings.Fields(has[s.property])
		slices.Sort(got)
		tighter := s.property == "ProtectSystem" && has[s.property] == "strict"
		if strings.Join(got, " ") != s.want && !tighter {
			return check.Failed(fmt.Sprintf("%s has %s=%s", name, s.property, has[s.property]), want, fix)
		}
	}
	for _, l := range listeners {
		if l.Loopback() || l.PID == "" {
			continue
		}
		group, err := f.File("/proc/" + l.PID + "/cgroup")
		if err != nil {
			return check.Unseen("whose %s/%d is: %v", l.Protocol, l.Port, err)
		}
		if strings.Contains(group.Content, "/"+name+"\n") {
			return check.Failed(fmt.Sprintf("%s listens on %s, port %d", name, l.Address, l.Port), want, "have it listen on 127.0.0.1")
		}
	}
	return check.Passed("%s runs, shut in, and listens on loopback alone", name)
}
