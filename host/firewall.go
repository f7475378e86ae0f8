package host

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

const (
	ufwDefaults = "/etc/default/ufw"
	ufwConf     = "/etc/ufw/ufw.conf"
)

var firewall = Control{
	Meta: check.Meta{
		ID:    "host/firewall",
		Title: "Only SSH and the ports that the policy names can be reached",
		Why:   "a database or an API that listens by mistake is found within hours",
		Ref:   "CIS Debian 12, 4.2; ufw(8); blueprint H3, H4, T8, checklist 7",
	},
	Plan:   planFirewall,
	Verify: verifyFirewall,
	Door:   true,
}

// ufwFiles are what ufw keeps its rules and settings in.
var ufwFiles = []string{"/etc/ufw/user.rules", "/etc/ufw/user6.rules", ufwConf, ufwDefaults}

// openings are the rules that should be, as ufw writes them. SSH is where it listens
// once host/ssh is in force.
func openings(p *policy.Policy, f *Facts) ([]string, error) {
	var rules []string
	for _, o := range p.Host.Firewall.Open {
		if o != policy.SSHOpening {
			port, protocol := o.Port()
			rules = append(rules, fmt.Sprintf("allow %d/%s", port, protocol))
			continue
		}
		ports, err := sshPorts(p, f)
		if err != nil {
			return nil, err
		}
		for _, n := range ports {
			rules = append(rules, fmt.Sprintf("limit %d/tcp", n))
		}
	}
	return rules, nil
}

func ufw(title string, early bool, words ...string) Change {
	return Change{Title: title, Early: early, Command: &Command{Argv: append([]string{"ufw"}, words...), Files: ufwFiles, Undo: []string{"ufw", "reload"}}}
}

func planFirewall(p *policy.Policy, f *Facts) ([]Change, error) {
	changes, err := f.install("ufw")
	if err != nil {
		return nil, err
	}
	if other, err := f.Unit("firewalld.service"); err != nil {
		return nil, err
	} else if other.Running() {
		return nil, errors.New("firewalld runs, and two firewalls undo each other's work: systemctl disable --now firewalld, or waive host/firewall")
	}
	if who, err := flushes(f); err != nil {
		return nil, err
	} else if who != "" {
		return nil, errors.New(who + ": systemctl disable nftables, or waive host/firewall")
	}
	want, err := openings(p, f)
	if err != nil {
		return nil, err
	}
	uplinks, err := allUplinks(f)
	if err != nil {
		return nil, err
	}
	there, err := f.UFWRules()
	if err != nil {
		return nil, err
	}
	for _, rule := range want {
		if !slices.Contains(there, rule) {
			changes = append(changes, ufw("firewall: "+rule, true, strings.Fields(rule)...))
		}
	}
	state, err := f.UFW()
	if err != nil {
		return nil, err
	}
	six, err := f.HasIPv6()
	if err != nil {
		return nil, err
	}
	if err := judgeBeside(f, want, uplinks, six); err != nil {
		return nil, err
	}
	more, err := planUFWFamilies(f, six)
	if err != nil {
		return nil, err
	}
	changes = append(changes, more...)
	if state.Incoming != "deny" {
		changes = append(changes, ufw("firewall: refuse what no rule allows", false, "default", "deny", "incoming"))
	}
	for _, rule := range there {
		if forEverybody(rule, uplinks) && !slices.Contains(want, rule) {
			changes = append(changes, ufw("firewall: close what the policy does not name: "+rule, false, append([]string{"--force", "delete"}, strings.Fields(rule)...)...))
		}
	}
	kept, unit, err := ufwAtStart(f)
	if err != nil {
		return nil, err
	}
	if !state.Active || !kept {
		on := ufw("turn the firewall on", false, "--force", "enable")
		if !state.Active { // one that was on stays on, whatever is undone
			on.Command.Undo = []string{"ufw", "--force", "disable"}
		}
		changes = append(changes, on)
	} else if len(more) > 0 {
		changes = append(changes, ufw("firewall: read its settings again", false, "reload"))
	}
	switch {
	case unit.Enabled == "masked":
		return nil, errors.New("ufw.service is masked, so that no firewall comes with the machine's start: systemctl unmask ufw, or waive host/firewall")
	case unit.Load == "loaded" && !unit.Stays(): // its package enables it; to stop it again would open all
		changes = append(changes, Change{Title: "turn the firewall on whenever the machine starts", Command: &Command{
			Argv: []string{"systemctl", "enable", "ufw.service"}, Undo: []string{"systemctl", "disable", "ufw.service"}}})
	}
	return changes, nil
}

// planUFWFamilies has ufw filter IPv6 when there is any, and leaves it alone
// when there is none, since it could not start then.
func planUFWFamilies(f *Facts, six bool) ([]Change, error) {
	file, err := f.File(ufwDefaults)
	if err != nil || !file.Exists && six { // the package will bring it, with IPV6=yes
		return nil, err
	}
	want := "IPV6=no"
	if six {
		want = "IPV6=yes"
	}
	var b strings.Builder
	found := false
	for line := range strings.Lines(file.Content) {
		if strings.HasPrefix(line, "IPV6=") {
			if found {
				continue
			}
			found, line = true, want+"\n"
		}
		b.WriteString(line)
	}
	if !file.Exists {
		return []Change{{Title: "firewall: this machine has no IPv6", Command: &Command{Argv: []string{"sed", "-i", "s/^IPV6=.*/IPV6=no/", ufwDefaults}, Files: []string{ufwDefaults}}}}, nil
	}
	if !found {
		b.WriteString(want + "\n")
	}
	return f.need(Change{Title: "firewall: " + want, File: &File{Path: ufwDefaults, Mode: 0o644, Content: b.String()}})
}

// forEverybody reports a rule that lets the whole Internet in: one without a
// source, or an interface that leads nowhere else. Rules for some, those that
// refuse and those for what goes out are left alone.
func forEverybody(rule string, uplinks []string) bool {
	word := strings.Fields(rule)
	on := after(word, "on")
	return len(word) > 1 && (word[0] == "allow" || word[0] == "limit") && word[1] != "out" && !slices.Contains(word, "from") && (on == "" || leadsOut(on, uplinks))
}

// allUplinks are the interfaces that lead out, over IPv4 or IPv6.
func allUplinks(f *Facts) ([]string, error) {
	four, err := f.Uplinks()
	if err != nil {
		return nil, err
	}
	six, err := f.Uplinks6()
	return slices.Concat(four, six), err
}

func verifyFirewall(p *policy.Policy, f *Facts) check.Finding {
	const want, fix = "everything is refused but the ports that host.firewall.open names", "ringwall host apply"
	rules, err := openings(p, f)
	if err != nil {
		return check.Unseen("%v", err)
	}
	listeners, err := f.Listeners()
	if err != nil {
		return check.Unseen("%v", err)
	}
	six, err := f.HasIPv6()
	if err != nil {
		return check.Unseen("%v", err)
	}
	uplinks, err := allUplinks(f)
	if err != nil {
		return check.Unseen("%v", err)
	}
	for _, ipv6 := range families(six) {
		name := "IPv4"
		if ipv6 {
			name = "IPv6"
		}
		lines, err := f.Filter(ipv6)
		if err != nil {
			return check.Unseen("the live rules of %s: %v", name, err)
		}
		if !slices.Contains(lines, "-P INPUT DROP") {
			return check.Failed(name+": what no rule names comes in", want, fix)
		}
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "-A INPUT -j ufw") }) {
			return check.Failed(name+": the rules of ufw are not in force", want, "ufw reload")
		}
		if f := judgeOpen(name, ipv6, lines, rules, uplinks, listeners); f.Verdict != check.Pass {
			return f
		}
	}
	// What the kernel has is gone with the next start of the machine.
	stays, err := staysOn(f)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if !stays {
		return check.Failed("it is on, and would not be after the next start of the machine", want, "systemctl enable ufw; ufw enable")
	}
	who, err := flushes(f)
	switch {
	case err != nil:
		return check.Unseen("%v", err)
	case who != "":
		return check.Failed(who, want, "systemctl disable nftables")
	}
	return check.Passed("INPUT drops, after the next start of the machine, too, and lets in: %s", strings.Join(rules, ", "))
}

// staysOn reports a firewall that is on again after a start of the machine, as
// far as ufw is installed.
func staysOn(f *Facts) (bool, error) {
	there, err := f.Installed("ufw")
	if err != nil || !there {
		return true, err
	}
	kept, unit, err := ufwAtStart(f)
	return kept && unit.Stays(), err
}

// ufwAtStart is what a start of the machine finds: whether ufw's settings have it on,
// and the unit that reads them.
func ufwAtStart(f *Facts) (kept bool, unit UnitState, err error) {
	conf, err := f.File(ufwConf)
	if err != nil {
		return false, UnitState{}, err
	}
	unit, err = f.Unit("ufw.service")
	return enabledLine.MatchString(conf.Content), unit, err
}

var enabledLine = regexp.MustCompile(`(?mi)^\s*ENABLED=["']?yes\b`)

// flushes says whether nftables.service would take away the rules of ufw, and ours,
// when the machine starts: both begin at the same time.
func flushes(f *Facts) (who string, err error) {
	unit, err := f.Unit("nftables.service")
	if err != nil || unit.Enabled != "enabled" {
		return "", err
	}
	statements, err := f.NFTStatements()
	for _, s := range statements {
		if takesAway.MatchString(s.Text) {
			return fmt.Sprintf("nftables.service is enabled, and its %s takes away the rules of others when the machine starts: %s", s.File, s.Text), nil
		}
	}
	return "", err
}

// takesAway is what empties tables that are not of the file's own: those of ufw, which
// has iptables write them, and with all others ours.
var takesAway = regexp.MustCompile(`^(flush ruleset\b|(flush|delete|destroy) table (ip |ip6 )?filter\b)`)

// judgeOpen compares what the kernel lets everybody reach, by whatever chain, with
// the rules.
func judgeOpen(name string, ipv6 bool, lines, rules, uplinks []string, listeners []Listener) check.Finding {
	const want, fix = "everything is refused but the ports that host.firewall.open names", "ringwall host apply"
	holes, closed, err := compareOpen(ipv6, lines, rules, uplinks, listeners)
	switch {
	case err != nil:
		return check.Unseen("the live rules of %s: %v", name, err)
	case len(holes) > 0 && !holes[0].through(ufwChain(ipv6)):
		return check.Failed(name+": "+besideUFW+holes[0].last(), want, findHole)
	case len(holes) > 0:
		return check.Failed(name+": open to everybody, and not in the policy: "+holes[0].last(), want, fix+", or name it in host.firewall.open")
	case len(closed) > 0:
		return check.Failed(name+": "+closed[0]+" is closed, and the policy opens it", want, fix)
	}
	return check.Finding{Verdict: check.Pass}
}

const (
	besideUFW = "another program, or a file of ufw's, lets in: "
	findHole  = "name its port in host.firewall.open, or find who adds it and remove it: iptables -S; grep -n ACCEPT /etc/ufw/*.rules"
)

// compareOpen returns the ways in for everybody that the rules do not name, and those
// ports of the rules that no way leads to. What ufw has from some addresses alone is
// its owner's own word; of others that counts for networks that are no part of the
// Internet.
func compareOpen(ipv6 bool, lines, rules, uplinks []string, listeners []Listener) (holes []inlet, closed []string, err error) {
	open := map[string]bool{}
	for _, rule := range rules {
		open[strings.Fields(rule)[1]] = false
	}
	chains := filterRules(lines)
	s := newStranger(chains, uplinks, ipv6)
	ways, err := inlets(chains, s)
	for _, way := range ways {
		own := way.through(ufwChain(ipv6))
		if way.leases() || own && way.from(func(p netip.Prefix) bool { return !tooMany(p) }) {
			continue
		}
		for i, protocol := range s.protocols {
			ports := way.ports(i)
			for at := range open {
				port, of, _ := strings.Cut(at, "/")
				one, ok := portSpans(port)
				if !ok || len(ports.and(one)) == 0 {
					continue
				}
				// ufw allow 80 opens it for UDP, too, where as a rule nothing listens.
				twin := own && of == "tcp" && protocol == "udp" && !slices.ContainsFunc(listeners, func(l Listener) bool { return fmt.Sprintf("%d/%s", l.Port, l.Protocol) == port+"/"+protocol })
				if of == protocol {
					open[at] = true
				}
				if of == protocol || twin {
					ports = ports.and(one.not())
				}
			}
			if len(ports) > 0 {
				holes = append(holes, way)
				break
			}
		}
	}
	for at, seen := range open {
		if !seen {
			closed = append(closed, at)
		}
	}
	slices.Sort(closed)
	return holes, closed, err
}

// families are IPv4, and IPv6 if the kernel speaks it.
func families(six bool) []bool {
	if six {
		return []bool{false, true}
	}
	return []bool{false}
}

// ufwChain is where ufw has its owner's rules.
func ufwChain(ipv6 bool) string {
	if ipv6 {
		return "ufw6-user-input"
	}
	return "ufw-user-input"
}

// judgeBeside is an error when more comes in than ufw could close, so that an apply
// would undo itself at its end.
func judgeBeside(f *Facts, rules, uplinks []string, six bool) error {
	there, err := f.Installed("iptables")
	if err != nil || !there {
		return err
	}
	for _, ipv6 := range families(six) {
		lines, err := f.Filter(ipv6)
		if err != nil {
			return err
		}
		holes, _, err := compareOpen(ipv6, lines, rules, uplinks, nil)
		if err != nil {
			return err
		}
		for _, way := range holes {
			if !way.through(ufwChain(ipv6)) {
				return errors.New(besideUFW + way.last() + ": " + findHole + ", or waive host/firewall")
			}
		}
	}
	return nil
}

// after is the word that follows another, "" when there is none.
func after(words []string, option string) string {
	if i := slices.Index(words, option); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}
