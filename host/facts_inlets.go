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

// An inlet is a way by which a stranger's packets come in: the rules that lead from
// INPUT to one that accepts, all of which a packet meets.
type inlet struct {
	rules []filterRule
	in    []packets // that come in; or fewer of them
}

// inlets are all ways in for a stranger. The first rule that fits a packet decides, as
// in the kernel; one of which it cannot be told what it fits drops nobody here, and
// accepts all that it may. A queue is a way in, since a program decides there, and so is
// SYNPROXY, which connects from within itself.
func inlets(chains map[string][]filterRule, s stranger) ([]inlet, error) {
	w := walk{chains: chains, said: map[string][]reading{}, left: mostWork}
	for name, rules := range chains {
		for _, r := range rules {
			w.said[name] = append(w.said[name], s.read(r))
		}
	}
	_, err := w.through("INPUT", []packets{s.all}, nil)
	return w.out, err
}

// mostWork is some seconds of it.
const mostWork = 400_000_000

var accepting = []string{"ACCEPT", "NFQUEUE", "QUEUE", "SYNPROXY"}

type walk struct {
	chains map[string][]filterRule
	said   map[string][]reading
	left   int // work that may be done yet: spans that are looked at, about
	out    []inlet
}

var errTooMany = errors.New("there are more ways through the rules than can be looked at: fewer rules, or sets of addresses (ipset), can be")

// through returns the packets that come to the end of a chain, or turn back in it.
func (w *walk) through(chain string, in []packets, path []filterRule) (back []packets, err error) {
	for i, r := range w.chains[chain] {
		said := w.said[chain][i]
		var met, rest []packets
		for _, p := range in {
			if w.left -= p.size(); w.left < 0 {
				return nil, errTooMany
			}
			both := p.and(said.most)
			switch {
			case both.none():
				rest = append(rest, p)
				continue
			case said.sure:
				rest = append(rest, p.without(said.most)...)
			default:
				rest = append(rest, p)
			}
			met = append(met, both)
		}
		if len(met) == 0 {
			continue
		}
		way := append(slices.Clone(path), r)
		switch to := said.to; {
		case slices.Contains(accepting, to):
			w.out = append(w.out, inlet{way, met})
			in = rest
		case to == "DROP", to == "REJECT":
			in = rest
		case to == "RETURN":
			back, in = w.with(back, met), rest
		default: // of a target that is no chain all comes back
			left, err := w.through(to, met, way)
			switch {
			case err != nil:
				return nil, err
			case said.forGood:
				back, in = w.with(back, left), rest
			case said.sure && !slices.EqualFunc(left, met, packets.same): // else in has them all
				in = w.with(rest, left)
			}
		}
	}
	if back = w.with(back, in); w.left < 0 {
		return nil, errTooMany
	}
	return back, nil
}

// with adds packets to some, but for those that are among them: a rule of which it is
// not known whom it fits leaves them where they were, too.
func (w *walk) with(some, more []packets) []packets {
	for _, p := range more {
		if w.left < 0 {
			return some
		}
		if !slices.ContainsFunc(some, func(q packets) bool {
			w.left -= p.size()
			return p.and(q).same(p)
		}) {
			some = append(some, p)
		}
	}
	return some
}

// wants reports whether one of the rules does.
func (in inlet) wants(what func(filterRule) bool) bool { return slices.ContainsFunc(in.rules, what) }

// through reports whether a way leads through a chain.
func (in inlet) through(chain string) bool {
	return in.wants(func(r filterRule) bool { return r.word[1] == chain })
}

// last is the rule that accepts.
func (in inlet) last() string { return in.rules[len(in.rules)-1].line }

// leases reports a way for who gives the machine an address, which every server has.
func (in inlet) leases() bool {
	return in.wants(func(r filterRule) bool {
		return r.is("-p") == "udp" && (r.is("--sport") == "67" && r.is("--dport") == "68" || r.is("--sport") == "547" && r.is("--dport") == "546")
	})
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
