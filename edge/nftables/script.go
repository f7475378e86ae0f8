package nftables

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// One set for each length of prefix: an address is looked up as it is masked,
// so that a ban may lie within another one, each with its own end. Sets of
// intervals cannot do that.
//
// Only what begins is dropped. What is under way goes on, as at the edge, which
// hangs up at the next request; the owner's SSH session, too. The chain comes
// before a container engine's translation of addresses.
const (
	none = "add table inet ringwall\ndelete table inet ringwall\n"
	look = "list chain inet ringwall bans\n"

	frame = none + `table inet ringwall {
	set spared4 {
		type ipv4_addr
		flags interval
		auto-merge
%s	}
	set spared6 {
		type ipv6_addr
		flags interval
		auto-merge
%s	}
	chain bans {
		type filter hook prerouting priority mangle; policy accept;
		iifname "lo" accept
		ct state established,related accept
		icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert, packet-too-big } accept
		ip saddr @spared4 accept
		ip6 saddr @spared6 accept
	}
}
`
)

// table is the whole table, in one transaction.
func table(spared []netip.Prefix, bans []ban) (script string, sets map[string]bool) {
	var four, six []string
	for _, p := range spared {
		if p.Addr().Is4() {
			four = append(four, p.String())
		} else {
			six = append(six, p.String())
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, frame, elements(four), elements(six))
	sets = map[string]bool{}
	for _, ban := range bans {
		if name := set(ban.prefix); !sets[name] {
			sets[name] = true
			b.WriteString(newSet(ban.prefix))
		}
	}
	b.WriteString(add(bans))
	return b.String(), sets
}

func elements(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return "\t\telements = { " + strings.Join(list, ", ") + " }\n"
}

// set is the name of the set that a prefix belongs in.
func set(p netip.Prefix) string {
	if p.Addr().Is4() {
		return fmt.Sprintf("banned4_%d", p.Bits())
	}
	return fmt.Sprintf("banned6_%d", p.Bits())
}

// newSet makes a set, and the rule that drops whom it holds.
func newSet(p netip.Prefix) string {
	kind, match := "ipv4_addr", "ip saddr"
	if p.Addr().Is6() {
		kind, match = "ipv6_addr", "ip6 saddr"
	}
	if !p.IsSingleIP() {
		match += " & " + net.IP(net.CIDRMask(p.Bits(), p.Addr().BitLen())).String()
	}
	return fmt.Sprintf("add set inet ringwall %[1]s { type %[2]s; flags timeout; size %[4]d; }\nadd rule inet ringwall bans %[3]s @%[1]s counter drop\n", set(p), kind, match, maxBans+maxBans/4)
}

// lift removes a prefix whether it is there or not.
func lift(p netip.Prefix) string {
	return fmt.Sprintf("add element inet ringwall %[1]s { %[2]s timeout 1s }\ndelete element inet ringwall %[1]s { %[2]s }\n", set(p), p.Addr())
}

// perLine is how many elements an order has, so that no line is endless.
const perLine = 256

// add adds prefixes to their sets, which are there and do not have them.
func add(bans []ban) string {
	of := map[string][]string{}
	for _, b := range bans {
		of[set(b.prefix)] = append(of[set(b.prefix)], fmt.Sprintf("%s timeout %ds", b.prefix.Addr(), b.seconds))
	}
	var out strings.Builder
	for name, list := range of {
		for len(list) > 0 {
			n := min(perLine, len(list))
			fmt.Fprintf(&out, "add element inet ringwall %s { %s }\n", name, strings.Join(list[:n], ", "))
			list = list[n:]
		}
	}
	return out.String()
}
