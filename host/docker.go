package host

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var containers = Control{
	Meta: check.Meta{
		ID:    "host/containers",
		Title: "No container's port is reached past the firewall",
		Why:   "docker run -p 5432:5432 opens a database to the world, and ufw still says that it is closed",
		Ref:   "moby/moby 4737; docs.docker.com, packet filtering and firewalls; CWE-668; blueprint H3, T8, checklist 7",
	},
	Plan:   planContainers,
	Verify: verifyContainers,
}

const (
	publishedScript = "/etc/ringwall/published.nft"
	publishedUnit   = "ringwall-published.service"
)

// publishedRules are a table of our own, since ufw and the engine each rewrite
// theirs. What is translated to a container was never seen by ufw, which filters
// what comes in, not what goes through. The port is the one that was asked for,
// before the translation. Containers reach each other as before.
func publishedRules(p *policy.Policy) string {
	ports := map[string][]string{}
	for _, o := range p.Host.Firewall.Open {
		if o != policy.SSHOpening {
			n, protocol := o.Port()
			ports[protocol] = append(ports[protocol], strconv.Itoa(n))
		}
	}
	var open strings.Builder
	for _, protocol := range []string{"tcp", "udp"} {
		if len(ports[protocol]) > 0 {
			fmt.Fprintf(&open, "\t\tmeta l4proto %s ct original proto-dst { %s } accept\n", protocol, strings.Join(ports[protocol], ", "))
		}
	}
	return `# Written by ringwall host apply, from the policy: a change here is drift, and reported.
add table inet ringwall_published
delete table inet ringwall_published
table inet ringwall_published {
	chain forward {
		type filter hook forward priority filter - 1; policy accept;
		ct status ! dnat accept
		ct state established,related accept
		iifname { "lo", "docker*", "br-*", "podman*", "cni*" } accept
` + open.String() + `		counter drop
	}
}
`
}

const publishedService = `# Written by ringwall host apply: a change here is drift, and reported.
[Unit]
Description=Ports that containers publish, closed but for those of the policy
DefaultDependencies=no
Before=network-pre.target docker.service shutdown.target
Wants=network-pre.target
After=nftables.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f ` + publishedScript + `
ExecReload=/usr/sbin/nft -f ` + publishedScript + `
ExecStop=/usr/sbin/nft delete table inet ringwall_published

[Install]
WantedBy=multi-user.target
`

// engine names what publishes ports on this machine, or may: "" when nothing does.
func engine(f *Facts) (string, error) {
	for _, name := range []string{"docker.io", "docker-ce", "podman"} {
		there, err := f.Installed(name)
		if err != nil {
			return "", err
		}
		if there {
			return name, nil
		}
	}
	if there, err := f.Installed("iptables"); err != nil || !there {
		return "", err
	}
	lines, err := f.Filter(false)
	if slices.ContainsFunc(lines, func(l string) bool { return l == "-N DOCKER-USER" || l == "-N DOCKER" }) {
		return "the chain DOCKER-USER", err
	}
	return "", err
}

func planContainers(p *policy.Policy, f *Facts) ([]Change, error) {
	found, err := engine(f)
	if err != nil || found == "" {
		return nil, err
	}
	changes, err := f.install("nftables")
	if err != nil {
		return nil, err
	}
	rules, err := f.need(Change{Title: "close what " + found + " publishes, but for the policy's ports", File: &File{Path: publishedScript, Mode: 0o644, Content: publishedRules(p), Check: []string{"nft", "-c", "-f", publishedScript}}})
	if err != nil {
		return nil, err
	}
	unit, err := f.need(Change{Title: "do that at every start, before the network is there", File: &File{Path: unitFolder + publishedUnit, Mode: 0o644, Content: publishedService}})
	if err != nil {
		return nil, err
	}
	on, err := f.enable(publishedUnit)
	if err != nil {
		return nil, err
	}
	if len(on) == 0 && len(rules)+len(unit) > 0 {
		on = []Change{{Title: "put the rules in force", Unit: &Unit{Name: publishedUnit, Do: Reload}}}
	}
	return slices.Concat(changes, rules, unit, on), nil
}

func verifyContainers(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "what goes through to a container from outside is dropped, but for the policy's ports", "ringwall host apply"
	there, err := f.Installed("nftables")
	if err != nil {
		return check.Unseen("%v", err)
	}
	if !there {
		return check.Unseen("nft is not installed, so that the kernel's rules cannot be seen")
	}
	rules, err := f.Ruleset()
	if err != nil {
		return check.Unseen("the kernel's rules: %v", err)
	}
	var published []string
	for line := range strings.Lines(rules) {
		if strings.Contains(line, "dnat to ") || strings.Contains(line, "dnat ip to ") || strings.Contains(line, `xt target "DNAT"`) {
			published = append(published, strings.TrimSpace(line))
		}
	}
	found, err := engine(f)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if found == "" && len(published) == 0 {
		return check.Moot("no container engine is here, and nothing is translated to another address: after installing one, ringwall host apply")
	}
	table := block(rules, "table inet ringwall_published {")
	if !strings.Contains(table, "type filter hook forward") {
		return check.Failed(fmt.Sprintf("%d ports are published past ufw, such as by: %s", len(published), strings.Join(published[:min(1, len(published))], "")), want, fix)
	}
	if hole := publishedHole(table, p); hole != "" {
		return check.Failed(hole, want, "systemctl reload "+publishedUnit)
	}
	unit, err := f.Unit(publishedUnit)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case !unit.Stays():
		return check.Failed(strings.TrimSpace(publishedUnit+" is "+unit.Enabled)+": after the next start of the machine the ports would be open", want, fix)
	}
	return check.Passed("%d ports are published; from outside only those of host.firewall.open are reached", len(published))
}

var (
	publishedDrop  = regexp.MustCompile(`^(counter packets \d+ bytes \d+ )?drop$`)
	publishedPorts = regexp.MustCompile(`^meta l4proto (tcp|udp) ct original proto-dst (.+) accept$`)
	internalOnly   = regexp.MustCompile(`^iifname [{] (("lo"|"docker[*]"|"br-[*]"|"podman[*]"|"cni[*]")(, )?)+ [}] accept$`)
	number         = regexp.MustCompile(`\b(0x[0-9a-f]+|[0-9]+)\b`) // some releases of nft print ports as 0x50
)

// publishedHole says what the kernel's table lets through, "" when that is
// nothing but what it should. The first rule that fits a packet decides, so that
// all that stand before the drop for everything are judged, and one that is not
// known there is a hole, whoever put it there. Accepting rules of another table,
// such as in DOCKER-USER, open nothing: what one drops is dropped (nft(8)).
func publishedHole(table string, p *policy.Policy) string {
	for line := range strings.Lines(table) {
		switch line = strings.TrimSpace(line); {
		case publishedDrop.MatchString(line):
			return ""
		case line == "}":
			return "the table inet ringwall_published drops nothing that was not asked for"
		case line == "", line == "chain forward {", strings.HasPrefix(line, "type filter hook forward "),
			line == "ct status ! dnat accept", line == "ct state established,related accept", internalOnly.MatchString(line), strings.HasSuffix(line, " drop"):
		case publishedPorts.MatchString(line):
			m := publishedPorts.FindStringSubmatch(line)
			for _, word := range number.FindAllString(m[2], -1) {
				n, err := strconv.ParseUint(word, 0, 16)
				if err != nil || strings.Contains(m[2], "-") || !slices.ContainsFunc(p.Host.Firewall.Open, func(o policy.Opening) bool {
					port, protocol := o.Port()
					return o != policy.SSHOpening && port == int(n) && protocol == m[1]
				}) {
					return "the kernel lets through what host.firewall.open does not name: " + line
				}
			}
		default:
			return "in the table inet ringwall_published something stands before the drop that is not ours: " + line
		}
	}
	return "the table inet ringwall_published drops nothing that was not asked for"
}
