package host

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A point is an address, a port, or the number of a name in a list.
type point struct{ high, low uint64 }

var lastPoint = point{math.MaxUint64, math.MaxUint64}

func (p point) less(q point) bool { return p.high < q.high || p.high == q.high && p.low < q.low }

func (p point) next() point {
	if p.low++; p.low == 0 {
		p.high++
	}
	return p
}

func (p point) before() point {
	if p.low--; p.low == math.MaxUint64 {
		p.high--
	}
	return p
}

func pointOf(a netip.Addr) point {
	b := a.As16()
	return point{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// A span is all points from one to another, both with it.
type span struct{ from, to point }

// spans are apart, and in order.
type spans []span

var anything = spans{{point{}, lastPoint}}

func numbers(from, to int) span { return span{point{0, uint64(from)}, point{0, uint64(to)}} }

// numbered are some numbers of a list, in order.
func numbered(which func(int) bool, length int) (s spans) {
	for i := range length {
		if which(i) {
			s = append(s, numbers(i, i))
		}
	}
	return s
}

// network is a prefix's; none when that is not valid.
func network(p netip.Prefix) spans {
	if !p.IsValid() {
		return nil
	}
	from := pointOf(p.Masked().Addr())
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	to := from
	switch {
	case bits == 0:
		to = lastPoint
	case bits <= 64:
		to.high |= 1<<(64-bits) - 1
		to.low = math.MaxUint64
	default:
		to.low |= 1<<(128-bits) - 1
	}
	return spans{{from, to}}
}

func (s spans) and(t spans) (both spans) {
	if len(t) > len(s) {
		s, t = t, s
	}
	for _, one := range t {
		first := sort.Search(len(s), func(i int) bool { return !s[i].to.less(one.from) })
		after := sort.Search(len(s), func(i int) bool { return one.to.less(s[i].from) })
		if first >= after {
			continue
		}
		begin := len(both)
		both = append(both, s[first:after]...)
		if both[begin].from.less(one.from) {
			both[begin].from = one.from
		}
		if last := &both[len(both)-1]; one.to.less(last.to) {
			last.to = one.to
		}
	}
	return both
}

// not are all other points.
func (s spans) not() (others spans) {
	at := point{}
	for _, one := range s {
		if at.less(one.from) {
			others = append(others, span{at, one.from.before()})
		}
		if one.to == lastPoint {
			return others
		}
		at = one.to.next()
	}
	return append(others, span{at, lastPoint})
}

// or are the points of either.
func (s spans) or(t spans) spans { return s.not().and(t.not()).not() }

// What is asked of a packet.
const (
	aProtocol = iota // its number in a list
	aPort            // that it goes to
	aSource
	aLink  // the interface that it comes in by, as its number in a list
	aState // that of its connection, as its number in unknownStates
	parts
)

// packets are all those of which each part is in its set.
type packets [parts]spans

func allPackets() (p packets) {
	for i := range p {
		p[i] = anything
	}
	return p
}

// size is what it takes to look at all of p's parts.
func (p packets) size() int {
	n := 60
	for _, s := range p {
		n += len(s)
	}
	return n
}

func (p packets) none() bool {
	return slices.ContainsFunc(p[:], func(s spans) bool { return len(s) == 0 })
}

func (p packets) and(q packets) packets {
	for i := range p {
		p[i] = p[i].and(q[i])
	}
	return p
}

// without are those of p that are not of q, each once.
func (p packets) without(q packets) (rest []packets) {
	for i := range p {
		part := p
		if part[i] = p[i].and(q[i].not()); !part.none() {
			rest = append(rest, part)
		}
		p[i] = p[i].and(q[i])
	}
	return rest
}

func (p packets) same(q packets) bool { return slices.EqualFunc(p[:], q[:], slices.Equal[spans]) }

// unknownStates are those that the kernel knows no connection of.
var unknownStates = []string{"NEW", "INVALID", "UNTRACKED"}

// A stranger is somebody on the Internet, as the rules of one family see him: he
// comes by an interface that leads out, from an address that is not private, and begins.
type stranger struct {
	protocols []string // that rules name, and "" for all others
	links     []string
	all       packets // that he may send
}

func newStranger(chains map[string][]filterRule, uplinks []string, ipv6 bool) stranger {
	s := stranger{protocols: []string{"", "tcp", "udp"}, links: uplinks}
	if len(s.links) == 0 { // one that no rule names
		s.links = []string{""}
	}
	for _, rules := range chains {
		for _, r := range rules {
			if p := after(r.word, "-p"); p != "" && !slices.Contains(s.protocols, p) {
				s.protocols = append(s.protocols, p)
			}
		}
	}
	far, near := network(netip.MustParsePrefix("0.0.0.0/0")), []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"}
	if ipv6 {
		far, near = network(netip.MustParsePrefix("::/0")), []string{"fc00::/7"}
	}
	for _, p := range near {
		far = far.and(network(netip.MustParsePrefix(p)).not())
	}
	s.all = packets{
		// What the network says of itself every server lets in.
		aProtocol: numbered(func(i int) bool { return s.protocols[i] != "icmp" && s.protocols[i] != "ipv6-icmp" }, len(s.protocols)),
		aPort:     spans{numbers(0, math.MaxUint16)},
		aSource:   far,
		aLink:     numbered(func(int) bool { return true }, len(s.links)),
		aState:    numbered(func(int) bool { return true }, len(unknownStates)),
	}
	return s
}

// A reading is what a rule says of a stranger's packets.
type reading struct {
	most    packets // that it is about
	sure    bool    // it is about all of those, and else about some
	to      string  // its target, "" for none
	forGood bool    // -g: who comes back from there leaves this chain, too
}

func (s stranger) read(r filterRule) reading {
	said := reading{most: allPackets(), sure: true}
	not, module := false, ""
	about := func(part int, set spans, known bool) {
		if not {
			set = set.not()
		}
		if not = false; known {
			said.most[part] = said.most[part].and(set)
		} else {
			said.sure = false
		}
	}
	for i := 2; i < len(r.word); i++ {
		option, value := r.word[i], ""
		if i+1 < len(r.word) {
			value = r.word[i+1]
		}
		switch { // what stands before the first module is of every packet
		case option == "!":
			not = true
			continue
		case option == "-j" || option == "-g":
			said.to, said.forGood = value, option == "-g"
			return said // what follows is the target's
		case option == "-m":
			module = value
			said.sure = said.sure && (slices.Contains(withPorts, module) || slices.Contains(knownModules, module))
		case module == "" && option == "-p":
			about(aProtocol, numbered(func(i int) bool { return s.protocols[i] == value }, len(s.protocols)), true)
		case module == "" && option == "-s":
			p, err := netip.ParsePrefix(value)
			about(aSource, network(p), err == nil)
		case module == "" && option == "-d":
			about(aSource, nil, toGroup(value)) // else an address of this machine's: 127.0.0.1, too, by DNAT
		case module == "" && option == "-i":
			about(aLink, numbered(func(i int) bool { return leadsOut(value, s.links[i:i+1]) }, len(s.links)), true)
		case slices.Contains(withPorts, module) && (option == "--dport" || option == "--dports"):
			set, ok := portSpans(value)
			about(aPort, set, ok)
		case (module == "conntrack" || module == "state") && (option == "--ctstate" || option == "--state"):
			set, ok := stateSpans(value)
			about(aState, set, ok)
		case module == "iprange" && option == "--src-range":
			set, ok := addressSpans(value)
			about(aSource, set, ok)
		case module == "comment" && option == "--comment":
		case slices.Contains(chosen, option): // whatever it is like, -j too
			about(0, nil, false)
		default:
			about(0, nil, false)
			continue
		}
		i++
	}
	return said
}

// knownModules have no opinion of their own: what their options say is read, or unsure.
var knownModules = []string{"comment", "conntrack", "icmp", "icmp6", "iprange", "state"}

// chosen are options with a name, or a text, that somebody chose.
var chosen = []string{"--string", "--hex-string", "--name", "--hashlimit-name", "--helper"}

var withPorts = []string{"tcp", "udp", "sctp", "dccp", "udplite", "multiport"}

func stateSpans(list string) (s spans, known bool) {
	states := strings.Split(list, ",")
	for _, one := range states {
		if one != "RELATED" && one != "ESTABLISHED" && !slices.Contains(unknownStates, one) {
			return nil, false
		}
	}
	return numbered(func(i int) bool { return slices.Contains(states, unknownStates[i]) }, len(unknownStates)), true
}

func addressSpans(pair string) (s spans, known bool) {
	low, high, _ := strings.Cut(pair, "-")
	from, err1 := netip.ParseAddr(low)
	to, err2 := netip.ParseAddr(high)
	if err1 != nil || err2 != nil || to.Less(from) {
		return nil, false
	}
	return spans{{pointOf(from), pointOf(to)}}, true
}

// ports are those that a way opens of a protocol.
func (in inlet) ports(protocol int) (ports spans) {
	for _, p := range in.in {
		if len(p[aProtocol].and(spans{numbers(protocol, protocol)})) > 0 {
			ports = ports.or(p[aPort])
		}
	}
	return ports
}

// toGroup reports a group of machines, which nobody reaches from afar.
func toGroup(network string) bool {
	to, err := netip.ParsePrefix(network)
	return err == nil && to.Addr().IsMulticast() && (to.Bits() >= 8 || to.Addr().Is4() && to.Bits() >= 4)
}

// portSpans are a list of ports as iptables writes it.
func portSpans(list string) (s spans, ok bool) {
	for one := range strings.SplitSeq(list, ",") {
		low, high, many := strings.Cut(one, ":")
		if !many {
			high = low
		}
		from, err1 := strconv.ParseUint(low, 10, 16)
		to, err2 := strconv.ParseUint(high, 10, 16)
		if err1 != nil || err2 != nil || to < from {
			return nil, false
		}
		s = s.or(spans{numbers(int(from), int(to))})
	}
	return s, true
}
