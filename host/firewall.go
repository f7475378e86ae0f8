package host

import (
	"errors"
	"fmt"
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

// openings are the rules that should be, as ufw writes them. SSH is where the
// policy wants it, which is where it listens once host/ssh is in force, and
// otherwise where it listens now.
func openings(p *policy.Policy, f *Facts) ([]string, error) {
	var rules []string
	for _, o := range p.Host.Firewall.Open {
		if o != policy.SSHOpening {
			port, protocol := o.Port()
			rules = append(rules, fmt.Sprintf("allow %d/%s", port, protocol))
			continue
		}
		ports := []int{p.Host.SSH.Port}
		if _, waived := p.Waived(sshServer.ID); waived || p.Host.SSH.Port == 0 {
			var err error
			if ports, err = f.SSHPorts(); err != nil {
				return nil, err
			}
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
	more, err := planUFWFamilies(f, six)
	if err != nil {
		return nil, err
	}
	changes = append(changes, more...)
	if state.Incoming != "deny" {
		changes = append(changes, ufw("firewall: refuse what no rule allows", false, "default", "deny", "incoming"))
	}
	for _, rule := range there {
		if forEverybody(rule) && !slices.Contains(want, rule) {
			changes = append(changes, ufw("firewall: close what the policy does not name: "+rule, false, append([]string{"--force", "delete"}, strings.Fields(rule)...)...))
		}
	}
	conf, err := f.File(ufwConf)
	if err != nil {
		return nil, err
	}
	if kept := enabledLine.MatchString(conf.Content); !state.Active || !kept {
		on := ufw("turn the firewall on", false, "--force", "enable")
		if !state.Active { // one that was on stays on, whatever is undone
			on.Command.Undo = []string{"ufw", "--force", "disable"}
		}
		changes = append(changes, on)
	} else if len(more) > 0 {
		changes = append(changes, ufw("firewall: read its settings again", false, "reload"))
	}
	switch unit, err := f.Unit("ufw.service"); {
	case err != nil:
		return nil, err
	case unit.Enabled == "masked":
		return nil, errors.New("ufw.service is masked, so that no firewall comes with the machine's start: systemctl unmask ufw, or waive host/firewall")
	case unit.Enabled == "disabled": // its package enables it; to stop it again would open all
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
// source or an interface. Rules for some, and those that refuse, are left alone.
func forEverybody(rule string) bool {
	word := strings.Fields(rule)
	return len(word) > 0 && (word[0] == "allow" || word[0] == "limit") && !slices.Contains(word, "from") && !slices.Contains(word, "on")
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
	families := []bool{false}
	if six {
		families = append(families, true)
	}
	for _, ipv6 := range families {
		name, chain := "IPv4", "ufw-user-input"
		if ipv6 {
			name, chain = "IPv6", "ufw6-user-input"
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
		for _, line := range lines {
			if strings.HasPrefix(line, "-A INPUT ") && strings.HasSuffix(line, "-j ACCEPT") {
				return check.Failed(name+": another program lets in: "+line, want, "find who adds it, and remove it: iptables -S INPUT")
			}
		}
		if f := judgeOpen(name, chain, lines, rules, listeners); f.Verdict == check.Fail {
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
	conf, err := f.File(ufwConf)
	if err != nil {
		return false, err
	}
	unit, err := f.Unit("ufw.service")
	return enabledLine.MatchString(conf.Content) && unit.Enabled != "disabled" && unit.Enabled != "masked", err
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

// judgeOpen compares what ufw's own chain lets everybody reach with the rules.
func judgeOpen(name, chain string, lines, rules []string, listeners []Listener) check.Finding {
	const want, fix = "everything is refused but the ports that host.firewall.open names", "ringwall host apply"
	open := map[string]bool{}
	for _, rule := range rules {
		open[strings.Fields(rule)[1]] = false
	}
	for _, line := range lines {
		rest, ok := strings.CutPrefix(line, "-A "+chain+" ")
		word := strings.Fields(rest)
		if !ok || slices.Contains(word, "-s") || slices.Contains(word, "-i") || !slices.Contains([]string{"ACCEPT", "ufw-user-limit-accept", "ufw6-user-limit-accept"}, after(word, "-j")) {
			continue
		}
		port := after(word, "--dport")
		if port == "" {
			port = after(word, "--dports")
		}
		for n := range strings.SplitSeq(port, ",") {
			at := n + "/" + after(word, "-p")
			if _, named := open[at]; !named {
				// ufw allow 80 opens it for UDP, too, where as a rule nothing listens.
				if _, tcp := open[n+"/tcp"]; tcp && !slices.ContainsFunc(listeners, func(l Listener) bool { return fmt.Sprintf("%d/%s", l.Port, l.Protocol) == at }) {
					continue
				}
				return check.Failed(name+": open to everybody, and not in the policy: "+line, want, fix+", or name it in host.firewall.open")
			}
			open[at] = true
		}
	}
	for at, seen := range open {
		if !seen {
			return check.Failed(name+": "+at+" is closed, and the policy opens it", want, fix)
		}
	}
	return check.Finding{Verdict: check.Pass}
}

// after is the word that follows another, "" when there is none.
func after(words []string, option string) string {
	if i := slices.Index(words, option); i >= 0 && i+1 < len(words) {
		return words[i+1]
	}
	return ""
}
