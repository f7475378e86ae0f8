package inside

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
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
	none   share = iota
	chosen       // those from addresses that it names: few of them, by somebody's decision
	few          // some of them, or what is not known
	others       // all but those from addresses that it names
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
// let in by it before they were dropped; but are the rules by which those from
// addresses that they name are let in.
func (g gate) ask(p syn) (dropped bool, perhaps string, but []string) {
	end, perhaps := g.walk(g.first, p, 0, &but)
	if end == "accept" || end == "" && !g.drops {
		return false, "", nil
	}
	return true, perhaps, but
}

func (g gate) walk(chain string, p syn, deep int, but *[]string) (end, perhaps string) {
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
			to, maybe = g.walk(r.chain, p, deep+1, but)
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
		case to == "accept" && of >= others:
			return to, perhaps
		case to == "accept" && of == chosen:
			*but = append(*but, r.text)
		case to == "accept" && perhaps == "":
			perhaps = r.text
		case to == "drop" && of >= others:
			if of == others {
				*but = append(*but, r.text)
			}
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
	f, u := &firewall{ipv6: m.hasIPv6()}, m.uplinks(ctx)
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
	but  string // the rules for those from addresses that they name, who are let in all the same
	why  string // it is not known: a rule, or what was not seen; "" when they are let in
}

func (f *firewall) fate(p syn) (out fate) {
	var shut fate
	for _, g := range f.gates {
		if !g.only(p) {
			continue
		}
		dropped, perhaps, but := g.ask(p)
		switch {
		case dropped && perhaps == "" && len(but) == 0:
			return fate{shut: true, by: g.name}
		case dropped && perhaps == "":
			shut = fate{shut: true, by: g.name, but: some(but)}
		case dropped && !g.copied && out.why == "":
			out.by, out.why = g.name, perhaps
		}
	}
	if shut.shut {
		return shut
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
			out.by, out.but = fate.by, cmp.Or(out.but, fate.but)
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

// uplinks asks the kernel for its main table, and ip(8), where that is installed, for
// those of IPv4 that only rules lead to (ip rule); of IPv6 the kernel lists all.
func (m *Machine) uplinks(ctx context.Context) (out uplinks) {
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
		word := strings.Fields(string(line))
		if len(word) < 10 || word[9] == "lo" {
			continue
		}
		// A default route, or a tunnel's, which has halves of it, or 2000::/3.
		if bits, err := strconv.ParseUint(word[1], 16, 8); err == nil && bits <= 4 {
			out = append(out, word[9])
		}
	}
	tables, err := m.Run(ctx, "ip", "-4", "-o", "route", "show", "table", "all")
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	for line := range strings.Lines(tables) { // default via 192.0.2.1 dev eth1 table 100, or with several: ... \ nexthop via 192.0.2.1 dev eth1
		word := strings.Fields(line)
		if len(word) == 0 || !slices.Contains([]string{"default", "0.0.0.0/1", "128.0.0.0/1"}, word[0]) {
			continue
		}
		for i := range word[1:] {
			if word[i] == "dev" {
				out = append(out, word[i+1])
			}
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

// private are networks that nobody reaches from the internet.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("::1/128"),
}

// from says how many of those who come from anywhere come from an address or a
// network: those that somebody named, where it is private, or as small as one
// customer's (a /24, a /48).
func from(network string) share {
	p, err := netip.ParsePrefix(network)
	if addr, aerr := netip.ParseAddr(network); aerr == nil {
		p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	if err != nil {
		return few
	}
	small := map[bool]int{true: 24, false: 48}[p.Addr().Is4()]
	within := func(n netip.Prefix) bool { return n.Bits() <= p.Bits() && n.Contains(p.Addr()) }
	switch {
	case p.Bits() == 0:
		return every
	case p.Bits() >= small, slices.ContainsFunc(private, within):
		return chosen
	}
	return few
}
