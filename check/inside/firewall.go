package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// A syn is the first packet of a connection, from somebody else, to an address of
// this machine's own: it comes in through an interface that leads out.
type syn struct {
	ipv6 bool
	port int // unnamed: of what no rule names
}

const unnamed = -1

// share is how many of those packets a rule is about.
type share int

const (
	none share = iota
	few        // some of them, or what is not known
	every
)

func (s share) not() share { return every - s }

// rule is one of a chain, whoever wrote it.
type rule struct {
	of    []func(syn) share
	to    string // accept, drop, return, jump, goto; "" goes on; or what is not known
	chain string // where jump and goto lead
	text  string
}

func (r rule) share(p syn) share {
	least := every
	for _, of := range r.of {
		least = min(least, of(p))
	}
	return least
}

// gate is a chain that the kernel asks about each packet that comes in. All let it
// in, or it stays out.
type gate struct {
	name   string // of the firewall
	first  string
	chains map[string][]rule
	drops  bool // what comes to its end
	only   func(syn) bool
	copied bool // iptables told of it, and better: of what it does alone counts what is sure
}

// ask says what becomes of a packet. Where perhaps names a rule, some may have been
// let in by it before they were dropped.
func (g gate) ask(p syn) (dropped bool, perhaps string) {
	end, perhaps := g.walk(g.first, p, 0)
	if end == "accept" || end == "" && !g.drops {
		return false, ""
	}
	return true, perhaps
}

func (g gate) walk(chain string, p syn, deep int) (end, perhaps string) {
	early := false // some may have left the chain before
	for _, r := range g.chains[chain] {
		of := r.share(p)
		if of == none || r.to == "" {
			continue
		}
		to, maybe := r.to, ""
		switch _, known := g.chains[r.chain]; {
		case to == "accept", to == "drop", to == "return":
		case known && deep < 16: // as deep as the kernel goes
			to, maybe = g.walk(r.chain, p, deep+1)
			if to == "" && r.to == "goto" {
				to = "return"
			}
		default: // a target that lets in whom it wants
			to, maybe = "", r.text
		}
		if perhaps == "" {
			perhaps = maybe
		}
		switch {
		case to == "accept" && of == every:
			return to, perhaps
		case to == "accept" && perhaps == "":
			perhaps = r.text
		case to == "drop" && of == every:
			if early {
				return "", perhaps
			}
			return to, perhaps
		case to == "return" && of == every:
			return "", perhaps
		case to == "return":
			early = true
		}
	}
	return "", perhaps
}

// firewall is what the kernel has in force, as far as it could be seen.
type firewall struct {
	gates  []gate
	ipv6   bool  // this machine has it
	unseen error // what could not be asked
}

// firewall reads the rules of both families, whoever set them.
func (m *Machine) firewall(ctx context.Context) (*firewall, error) {
	if m.UID != 0 {
		return nil, errNotRoot
	}
	f, u := &firewall{ipv6: m.hasIPv6()}, m.uplinks()
	asked := 0
	ask := func(argv []string, read func(string) ([]gate, error)) bool {
		text, err := m.Run(ctx, argv...)
		var gates []gate
		if err == nil {
			gates, err = read(text)
		}
		switch {
		case errors.Is(err, exec.ErrNotFound):
			return false
		case err != nil:
			f.unseen = fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
			return false
		}
		asked++
		f.gates = append(f.gates, gates...)
		return true
	}
	xtables := ask([]string{"iptables", "-S"}, func(text string) ([]gate, error) { return u.iptables(text, false) })
	if f.ipv6 {
		xtables = ask([]string{"ip6tables", "-S"}, func(text string) ([]gate, error) { return u.iptables(text, true) }) && xtables
	}
	if ask([]string{"nft", "-j", "--terse", "list", "ruleset"}, func(text string) ([]gate, error) { return u.nftables(text, xtables) }) {
		_, _ = m.Run(ctx, "nft", "--handle", "--terse", "list", "ruleset") // the same as people read it, as evidence
	}
	if asked == 0 {
		if f.unseen == nil {
			f.unseen = errors.New("neither iptables nor nft is installed")
		}
		return nil, f.unseen
	}
	return f, nil
}

// A fate is what becomes of those who come: kept out, let in, or not known.
type fate struct {
	shut bool
	by   string // the firewall that keeps them out, or most of them
	why  string // it is not known: a rule, or what was not seen; "" when they are let in
}

func (f *firewall) fate(p syn) (out fate) {
	for _, g := range f.gates {
		if !g.only(p) {
			continue
		}
		dropped, perhaps := g.ask(p)
		switch {
		case dropped && perhaps == "":
			return fate{shut: true, by: g.name}
		case dropped && !g.copied && out.why == "":
			out.by, out.why = g.name, perhaps
		}
	}
	if out.why == "" && f.unseen != nil {
		out.why = f.unseen.Error()
	}
	return out
}

// worst is the fate of who comes to a listener by the family that is less guarded:
// on [::], IPv4 reaches it, too.
func (f *firewall) worst(l listener) (out fate) {
	if f == nil {
		return out
	}
	out.shut = true
	four, six := l.ip.To4() != nil, l.ip.To4() == nil && f.ipv6
	for _, ipv6 := range []bool{false, true} {
		if ipv6 && !six || !ipv6 && !four && !l.ip.IsUnspecified() {
			continue
		}
		fate := f.fate(syn{ipv6, l.port})
		switch {
		case !fate.shut && fate.why == "":
			return fate
		case !fate.shut:
			out = fate
		case out.shut:
			out.by = fate.by
		}
	}
	return out
}

const forIPv6 = "for IPv6"

// kept says which firewall keeps out what no rule names, in each family; else why
// that is not known, or forIPv6.
func (f *firewall) kept() (by, why string) {
	families := []bool{false}
	if f.ipv6 {
		families = append(families, true)
	}
	for _, ipv6 := range families {
		fate := f.fate(syn{ipv6, unnamed})
		switch {
		case fate.by != "":
			by = fate.by
		case fate.why == "" && ipv6:
			return "", forIPv6
		default:
			return "", fate.why
		}
	}
	return by, ""
}

// hasIPv6 reports an address of IPv6 beside loopback's. What cannot be read counts
// as one.
func (m *Machine) hasIPv6() bool {
	b, err := os.ReadFile(m.path("/proc/net/if_inet6"))
	if err != nil {
		return !os.IsNotExist(err)
	}
	for _, line := range lines(b) {
		// address, interface, length, scope, flags, name: 10 is the machine itself
		if word := strings.Fields(string(line)); len(word) > 3 && word[3] != "10" {
			return true
		}
	}
	return false
}

// uplinks are the interfaces that lead out of this machine, by its default routes;
// none when they are not known.
type uplinks []string

func (m *Machine) uplinks() (out uplinks) {
	four, err := m.head("/proc/net/route", 1<<20)
	six, err6 := m.head("/proc/net/ipv6_route", 1<<20)
	if err != nil || err6 != nil && !absent(err6) {
		return nil
	}
	for _, line := range lines(four) { // interface, destination, gateway, flags, 3 more, mask; * is what leads nowhere
		if word := strings.Fields(string(line)); len(word) > 7 && word[1] == "00000000" && word[7] == "00000000" && word[0] != "*" {
			out = append(out, word[0])
		}
	}
	for _, line := range lines(six) { // destination, its length, 7 more, interface; lo is what leads nowhere
		if word := strings.Fields(string(line)); len(word) > 9 && strings.Trim(word[0]+word[1], "0") == "" && word[9] != "lo" {
			out = append(out, word[9])
		}
	}
	return out
}

// through says how many of those who come from anywhere come through an interface:
// nobody through a VPN's or a container's, which is no uplink. A + or * at the end is
// any name that begins so.
func (u uplinks) through(name string) share {
	is := func(uplink string) bool {
		begin := strings.TrimRight(name, "+*")
		return name == uplink || begin != name && strings.HasPrefix(uplink, begin)
	}
	if name == "lo" || name != "" && len(u) > 0 && !slices.ContainsFunc(u, is) {
		return none
	}
	return few
}
