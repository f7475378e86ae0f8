package host

import (
	"bufio"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var kernelBans = Control{
	Meta: check.Meta{
		ID:    "host/bans",
		Title: "Whom the edge bans, the kernel drops",
		Why:   "an attack that one ring has seen is over in all of them, SSH too, and costs nothing more",
		Ref:   "nft(8); CWE-307; blueprint H5, T1, T2, T3, checklist 9",
	},
	Plan:   planBans,
	Verify: verifyBans,
}

const (
	bansGroup  = "ringwall-bans"
	bansSocket = "/run/ringwall-bans.sock"
	unitFolder = "/etc/systemd/system/"
)

// never are the prefixes whose packets pass whatever the server says.
func never(p *policy.Policy) []netip.Prefix {
	return slices.Concat(p.Host.Allow, p.Edge.Bans.Allow, p.Edge.TrustedProxies)
}

// bansService is the process that may write to the kernel's table, and nothing
// else: the server itself has no privilege at all. Told to stop, it has nft remove
// the table, which systemd must not tell to stop as well (KillMode).
func bansService(p *policy.Policy) string {
	allow := ""
	for _, prefix := range never(p) {
		allow += " --allow " + prefix.String()
	}
	return `# Written by ringwall host apply, from the policy: a change here is drift, and reported.
[Unit]
Description=Whom Ringwall bans, dropped by the kernel
Requires=ringwall-bans.socket
After=ringwall-bans.socket nftables.service

[Service]
Type=notify
ExecStart=/usr/local/bin/ringwall ban enforce` + allow + `
KillMode=mixed
Restart=always
RestartSec=2s
DynamicUser=yes
User=ringwall-kernel
AmbientCapabilities=CAP_NET_ADMIN
CapabilityBoundingSet=CAP_NET_ADMIN
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RestrictAddressFamilies=AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@resources
SystemCallErrorNumber=EPERM
UMask=0077
LimitCORE=0

[Install]
WantedBy=multi-user.target
`
}

const bansSocketUnit = `# Written by ringwall host apply: a change here is drift, and reported.
[Unit]
Description=Bans that Ringwall tells the kernel of

[Socket]
ListenStream=` + bansSocket + `
SocketMode=0660
SocketGroup=` + bansGroup + `
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`

const bansDropIn = `# Written by ringwall host apply: a change here is drift, and reported.
[Unit]
Wants=ringwall-bans.socket
After=ringwall-bans.socket

[Service]
SupplementaryGroups=` + bansGroup + `
Environment=RINGWALL_BANS_SOCKET=` + bansSocket + `
`

func planBans(p *policy.Policy, f *Facts) ([]Change, error) {
	changes, err := f.install("nftables")
	if err != nil {
		return nil, err
	}
	add := func(more []Change, err2 error) {
		changes = append(changes, more...)
		if err == nil {
			err = err2
		}
	}
	add(f.need(Change{Title: "name the group that may tell the kernel of bans", File: &File{Path: "/etc/sysusers.d/ringwall-bans.conf", Mode: 0o644,
		Content: "# Written by ringwall host apply.\ng " + bansGroup + " -\n"}}))
	if _, there, err2 := f.Members(bansGroup); err2 != nil || !there {
		add([]Change{{Title: "make that group", Command: &Command{Argv: []string{"systemd-sysusers", "/etc/sysusers.d/ringwall-bans.conf"},
			Undo: []string{"sh", "-c", "! getent group " + bansGroup + " >/dev/null || groupdel " + bansGroup}}}}, err2)
	}
	before := len(changes)
	add(f.need(Change{Title: "the socket that bans are told over", File: &File{Path: unitFolder + "ringwall-bans.socket", Mode: 0o644, Content: bansSocketUnit}}))
	add(f.need(Change{Title: "the process that tells the kernel, with that one privilege", File: &File{Path: unitFolder + "ringwall-bans.service", Mode: 0o644, Content: bansService(p)}}))
	written := len(changes) > before
	before = len(changes)
	add(f.need(Change{Title: "have Ringwall tell it of bans", File: &File{Path: unitFolder + "ringwall.service.d/bans.conf", Mode: 0o644, Content: bansDropIn}}))
	told := len(changes) > before
	on, err2 := f.enable("ringwall-bans.socket")
	add(on, err2)
	on, err2 = f.enable("ringwall-bans.service")
	add(on, err2)
	if written && len(on) == 0 {
		add([]Change{{Title: "start it again", Unit: &Unit{Name: "ringwall-bans.service", Do: Restart}}}, nil)
	}
	if served, err2 := f.Unit("ringwall.service"); err2 != nil || told && served.Running() {
		add([]Change{{Title: "start Ringwall again", Unit: &Unit{Name: "ringwall.service", Do: Restart}}}, err2)
	}
	return changes, err
}

func verifyBans(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "ringwall-bans.service runs, its table is in the kernel, and the server tells it", "ringwall host apply; then: journalctl -u ringwall-bans -n 20"
	unit, err := f.Unit("ringwall-bans.service")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !unit.Running():
		return check.Failed("ringwall-bans.service is "+unit.Active, want, fix)
	}
	for _, name := range []string{"ringwall-bans.service", "ringwall-bans.socket"} {
		if unit, err := f.Unit(name); err != nil {
			return check.Unseen("%v", err)
		} else if !unit.Stays() {
			return check.Failed(name+" is "+unit.Enabled+", and would not start with the machine", want, fix)
		}
	}
	tables, err := f.NFTTables()
	if err != nil {
		return check.Unseen("the kernel's rules: %v", err)
	}
	i := slices.IndexFunc(tables, func(t NFTTable) bool { return t.Name == "inet ringwall" })
	if i < 0 {
		return check.Failed("the kernel has no table inet ringwall", want, "systemctl restart ringwall-bans")
	}
	table := tables[i]
	if hole := bansHole(table); hole != "" {
		return check.Failed(hole, want, "systemctl restart ringwall-bans")
	}
	for _, prefix := range never(p) {
		spared := table.Sets["spared4"]
		if prefix.Addr().Is6() {
			spared = table.Sets["spared6"]
		}
		if !within(spared, prefix) {
			return check.Failed("a ban could shut out "+prefix.String()+", which the policy spares", want, fix)
		}
	}
	served, err := f.Unit("ringwall.service")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case served.Load != "loaded":
		return check.Passed("nobody is banned: there is no ringwall.service yet; the kernel's table is ready")
	}
	has, err := f.UnitProperties("ringwall.service", "Environment", "SupplementaryGroups")
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !strings.Contains(has["Environment"], "RINGWALL_BANS_SOCKET="+bansSocket), !slices.Contains(strings.Fields(has["SupplementaryGroups"]), bansGroup):
		return check.Failed("ringwall.service does not tell the kernel of its bans", want, fix)
	}
	bans, err := f.served()
	if err != nil {
		return check.Unseen("the server's bans: %v", err)
	}
	held := map[string]bool{} // by set and address
	for name, set := range table.Sets {
		for _, word := range set {
			held[name+" "+word] = true
		}
	}
	for _, ban := range bans {
		if served.Running() && !held[bannedSet(ban)+" "+ban.Addr().String()] {
			return check.Failed(fmt.Sprintf("the server bans %s, and the kernel lets it in", ban), want, "journalctl -u ringwall -u ringwall-bans | grep ban.failed")
		}
	}
	return check.Passed("the kernel drops the %d addresses that the server bans, and spares %d prefixes", len(bans), len(never(p)))
}

// bannedSet is the set that holds bans of the length of a prefix.
func bannedSet(p netip.Prefix) string {
	if p.Addr().Is4() {
		return fmt.Sprintf("banned4_%d", p.Bits())
	}
	return fmt.Sprintf("banned6_%d", p.Bits())
}

// sparedRules come before all that drop.
var sparedRules = []string{`iifname "lo" accept`, "ct state established,related accept", "ip saddr @spared4 accept", "ip6 saddr @spared6 accept"}

var (
	sparedICMP = regexp.MustCompile(`^icmpv6 type [{] [a-z, -]+ [}] accept$`)
	bannedRule = regexp.MustCompile(`^(ip6? saddr) (?:& (\S+) == )?@(banned[46]_(\d+)) (?:counter packets \d+ bytes \d+ )?drop$`)
)

// bansHole says why the kernel's table does not drop whom its sets hold, or could drop
// whom it spares; "" when it does as it should. The first rule that fits a packet
// decides, so that one that is not known is a hole, whoever put it there.
func bansHole(t NFTTable) string {
	lines := t.Chains["bans"]
	if t.Dormant || len(lines) == 0 || !strings.HasPrefix(lines[0], "type filter hook prerouting ") {
		return "the kernel has no table inet ringwall that is in force"
	}
	spared, drops := map[string]bool{}, map[string]bool{}
	for _, line := range lines[1:] {
		m := bannedRule.FindStringSubmatch(line)
		switch {
		case m != nil && len(spared) < len(sparedRules):
			return "in the table inet ringwall a rule drops before all that spare: " + line
		case m != nil && masks(m[1], m[2], m[3], m[4]):
			drops[m[3]] = true
		case slices.Contains(sparedRules, line):
			spared[line] = true
		case !sparedICMP.MatchString(line):
			return "in the table inet ringwall stands what is not ours: " + line
		}
	}
	for _, line := range sparedRules {
		if !spared[line] {
			return "in the table inet ringwall is missing: " + line
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.Sets)) {
		if strings.HasPrefix(name, "banned") && !drops[name] {
			return "in the table inet ringwall no rule drops whom the set " + name + " holds"
		}
	}
	return ""
}

// masks reports whether a rule looks a source up in a set as the set has it.
func masks(source, mask, set, length string) bool {
	bits, err := strconv.Atoi(length)
	most, family := 32, "ip saddr"
	if strings.HasPrefix(set, "banned6") {
		most, family = 128, "ip6 saddr"
	}
	if err != nil || bits > most || source != family {
		return false
	}
	want := net.IP(net.CIDRMask(bits, most)).String()
	return mask == want || bits == most && mask == ""
}

// served are the bans in force of the file that the server keeps. It is a
// second behind at most, so that those of the last seconds are left out.
func (f *Facts) served() ([]netip.Prefix, error) {
	const slack = 10 * time.Second
	for _, folder := range []string{"/var/lib/ringwall/serve", "/var/lib/private/ringwall/serve", "/var/lib/private/ringwall", "/var/lib/ringwall"} {
		s, err := f.File(folder + "/bans.json")
		if err != nil {
			return nil, err
		}
		if !s.Exists {
			continue
		}
		var out []netip.Prefix
		lines := bufio.NewScanner(strings.NewReader(s.Content))
		lines.Buffer(nil, 1<<20)
		for n := 0; lines.Scan(); n++ {
			var ban struct {
				Address netip.Prefix `json:"address"`
				Began   time.Time    `json:"began"`
				Until   time.Time    `json:"until"`
			}
			if n == 0 { // the version
				continue
			}
			if err := json.Unmarshal(lines.Bytes(), &ban); err != nil {
				return nil, fmt.Errorf("%s/bans.json: line %d: %w", folder, n+1, err)
			}
			if now := time.Now(); ban.Until.After(now.Add(slack)) && ban.Began.Before(now.Add(-slack)) {
				out = append(out, ban.Address)
			}
		}
		return out, lines.Err()
	}
	return nil, nil
}

// block is the part of a listing that begins with a line, up to the next one
// that is not indented.
func block(text, first string) string {
	_, rest, found := strings.Cut("\n"+text, "\n"+first+"\n")
	if !found {
		return ""
	}
	rest, _, _ = strings.Cut(rest, "\n}")
	return rest
}
