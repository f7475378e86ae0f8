package host

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
)

// A filterRule is one of a chain of the live filter table.
type filterRule struct {
	line string
	word []string // of the line, without quotes
}

// is returns what a rule wants of a packet, by an option; "" when it does not ask
// for it, or for anything but that.
func (r filterRule) is(options ...string) string {
	for i := 1; i+1 < len(r.word); i++ {
		if slices.Contains(options, r.word[i]) && r.word[i-1] != "!" {
			return r.word[i+1]
		}
	}
	return ""
}

// filterRules are those of a listing, by their chains.
func filterRules(lines []string) map[string][]filterRule {
	chains := map[string][]filterRule{}
	for _, line := range lines {
		if r := (filterRule{line, unquoted(line)}); len(r.word) > 2 && r.word[0] == "-A" {
			chains[r.word[1]] = append(chains[r.word[1]], r)
		}
	}
	return chains
}

// unquoted are the words of a line, where quotes make one of several and a
// backslash takes the next sign as it is: a comment is one word, whatever it says.
func unquoted(line string) (words []string) {
	var word strings.Builder
	var in, quoted, escaped bool
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\':
			in, escaped = true, true
		case r == '"':
			in, quoted = true, !quoted
		case r == ' ' && !quoted:
			if in {
				words = append(words, word.String())
			}
			in = false
			word.Reset()
		default:
			in = true
			word.WriteRune(r)
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words
}

// An inlet is a way by which packets come in: the rules that lead from INPUT to one
// that accepts. A packet meets all of them.
type inlet []filterRule

// inlets are all ways in. What drops on one is not looked at: it may let pass more
// than it seems to. A queue is a way in, since a program decides there.
func inlets(chains map[string][]filterRule) ([]inlet, error) {
	var out []inlet
	left := 100_000
	var walk func(chain string, path inlet) error
	walk = func(chain string, path inlet) error {
		for _, r := range chains[chain] {
			if left--; left < 0 {
				return errors.New("there are more ways through the rules than can be looked at")
			}
			way := append(slices.Clone(path), r)
			to := r.is("-j", "-g")
			if to == "ACCEPT" || to == "NFQUEUE" {
				out = append(out, way)
			} else if err := walk(to, way); err != nil {
				return err
			}
		}
		return nil
	}
	return out, walk("INPUT", nil)
}

// wants reports whether one of the rules does.
func (in inlet) wants(what func(filterRule) bool) bool { return slices.ContainsFunc(in, what) }

// through reports whether a way leads through a chain.
func (in inlet) through(chain string) bool {
	return in.wants(func(r filterRule) bool { return r.word[1] == chain })
}

// last is the rule that accepts.
func (in inlet) last() string { return in[len(in)-1].line }

// protocol is tcp, udp or another, "" when it may be any.
func (in inlet) protocol() string {
	for _, r := range in {
		if p := r.is("-p"); p != "" {
			return p
		}
	}
	return ""
}

// ports are those of each rule that names some, as iptables writes them.
func (in inlet) ports() (sets [][]string) {
	for _, r := range in {
		if p := r.is("--dport", "--dports"); p != "" {
			sets = append(sets, strings.Split(p, ","))
		}
	}
	return sets
}

// harmless reports what every server lets in, and ufw too: from the machine itself,
// answers, what the network says of itself, an address for its interface, and what
// is sent to a group of machines.
func (in inlet) harmless() bool {
	switch in.protocol() {
	case "icmp", "ipv6-icmp":
		return true
	case "udp":
		if in.wants(func(r filterRule) bool {
			return r.is("--sport") == "67" && r.is("--dport") == "68" || r.is("--sport") == "547" && r.is("--dport") == "546"
		}) {
			return true
		}
	}
	return in.wants(func(r filterRule) bool {
		if r.is("-i") == "lo" {
			return true
		}
		if to, err := netip.ParsePrefix(r.is("-d")); err == nil && (to.Addr().IsMulticast() && (to.Bits() >= 8 || to.Addr().Is4() && to.Bits() >= 4) || to.Addr().IsLoopback() && to.Bits() >= 8) {
			return true
		}
		state := r.is("--ctstate", "--state")
		return state != "" && !slices.ContainsFunc(strings.Split(state, ","), func(s string) bool { return s != "RELATED" && s != "ESTABLISHED" })
	})
}

// fromInside reports a way for those behind an interface that does not lead out, such
// as a bridge of containers.
func (in inlet) fromInside(uplinks []string) bool {
	return in.wants(func(r filterRule) bool { return r.is("-i") != "" && !leadsOut(r.is("-i"), uplinks) })
}

// from reports a way for those of some addresses alone, of which which says.
func (in inlet) from(which func(netip.Prefix) bool) bool {
	return in.wants(func(r filterRule) bool {
		p, err := netip.ParsePrefix(r.is("-s"))
		return err == nil && which(p)
	})
}

// leadsOut reports whether the name of an interface, or the beginning of some as
// eth+ is, is that of an uplink.
func leadsOut(name string, uplinks []string) bool {
	begin, many := strings.CutSuffix(name, "+")
	return slices.ContainsFunc(uplinks, func(u string) bool { return u == name || many && strings.HasPrefix(u, begin) })
}
