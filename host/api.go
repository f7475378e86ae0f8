package host

import (
	"errors"
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

// A sandbox is what systemd says of a unit that has it in force.
type sandbox []struct{ property, want string }

func (s sandbox) properties() (names []string) {
	for _, line := range s {
		names = append(names, line.property)
	}
	return names
}

// missing is the first that a unit has not, with what it has; "" for none.
func (s sandbox) missing(has map[string]string) string {
	for _, line := range s {
		got := strings.Fields(has[line.property])
		slices.Sort(got)
		tighter := line.property == "ProtectSystem" && has[line.property] == "strict"
		if strings.Join(got, " ") != line.want && !tighter {
			return line.property + "=" + has[line.property]
		}
	}
	return ""
}

var apiSandbox = sandbox{
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
		return nil, Hint(fmt.Sprintf("the unit %s of host.api.unit is %s: write it, or correct its name, then apply again", name, unit.Load))
	case !unit.Running():
		return nil, Hint(fmt.Sprintf("the unit %s of host.api.unit is %s: start it, so that it can be seen to run in its sandbox, then apply again", name, unit.Active))
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
	has, err := f.UnitProperties(name, append([]string{"ActiveState", "NeedDaemonReload", "MainPID", "ControlGroup"}, apiSandbox.properties()...)...)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case has["ActiveState"] != "active":
		return check.Failed(name+" is "+has["ActiveState"], want, "systemctl start "+name+", then: ringwall host apply; if it does not start: journalctl -u "+name+" -n 20")
	case has["NeedDaemonReload"] != "no":
		return check.Failed("systemd has not read what was changed in the files of "+name, want, "systemctl daemon-reload && systemctl restart "+name)
	}
	if got := apiSandbox.missing(has); got != "" {
		return check.Failed(name+" has "+got, want, fix)
	}
	if f := judgeProcess(name, has["MainPID"], f); f.Verdict != check.Pass {
		return f
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
	return judgeAPIReach(name, has["ControlGroup"], f)
}

// judgeProcess looks at the process itself: one that was started before its
// sandbox goes on without it, whatever systemd says of the unit.
func judgeProcess(name, pid string, f *Facts) check.Finding {
	want, fix := "the process of "+name+" is in its sandbox", "systemctl restart "+name
	if pid == "" || pid == "0" {
		return check.Unseen("%s has no main process that could be looked at", name)
	}
	status, err := f.File("/proc/" + pid + "/status")
	if err == nil && !status.Exists {
		err = errors.New("it is gone")
	}
	if err != nil {
		return check.Unseen("the process %s of %s: %v", pid, name, err)
	}
	in := map[string]string{}
	for line := range strings.Lines(status.Content) {
		if field := strings.Fields(line); len(field) > 1 {
			in[field[0]] = field[1]
		}
	}
	mounts, err := f.File("/proc/" + pid + "/mountinfo")
	if err == nil && !mounts.Exists {
		err = errors.New("it is gone")
	}
	if err != nil {
		return check.Unseen("what the process %s of %s may write: %v", pid, name, err)
	}
	at := map[string]bool{} // of a place, whether its last mount, which is the one that is seen, is read-only; proc_pid_mountinfo(5)
	for line := range strings.Lines(mounts.Content) {
		if field := strings.Fields(line); len(field) > 5 {
			at[field[4]] = slices.Contains(strings.Split(field[5], ","), "ro")
		}
	}
	readOnly, apart := at["/usr"]
	if !apart {
		readOnly = at["/"]
	}
	switch {
	case in["NoNewPrivs:"] != "1":
		return check.Failed("the process of "+name+" runs as it was started, before it was shut in: it may gain privileges", want, fix)
	case in["Seccomp:"] != "2":
		return check.Failed("the process of "+name+" runs as it was started, before it was shut in: no system call is refused to it", want, fix)
	case !readOnly:
		return check.Failed("the process of "+name+" runs as it was started, before it was shut in: it may write to /usr", want, fix)
	}
	return check.Finding{Verdict: check.Pass}
}

// judgeAPIReach has a datagram sent from the unit's cgroup to another machine.
func judgeAPIReach(name, group string, f *Facts) check.Finding {
	said, err := f.ask(askReach, group)
	switch {
	case err != nil || !strings.Contains(said, "inside "):
		return check.Unseen("whether %s reaches other machines: nothing could be sent from its cgroup %q: %v", name, group, err)
	case strings.Contains(said, "inside sent"):
		if around, err := f.Container(); err != nil || around != "" {
			return check.Unseen("%s reaches other machines, whatever IPAddressDeny says: restart it; if it stays, the machine around this container (%s) filters nothing for it", name, around)
		}
		return check.Failed(name+" reaches other machines: a datagram from its cgroup went out", "the kernel keeps what "+name+" sends elsewhere", "systemctl restart "+name+"; if it stays, its kernel has no CONFIG_CGROUP_BPF")
	case !strings.Contains(said, "before sent"):
		return check.Unseen("whether %s reaches other machines: nothing here does just now, such as without a network", name)
	}
	return check.Passed("%s runs, shut in, and listens on loopback alone; what it sends to other machines is kept", name)
}
