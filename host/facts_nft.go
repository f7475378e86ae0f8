package host

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"
)

// An NFTTable is a table of the kernel's, as nft lists it.
type NFTTable struct {
	Name    string // with its family: inet ringwall
	Dormant bool   // nothing of it is in force
	Sets    map[string][]string
	Chains  map[string][]string // their lines
}

// NFTTables are the tables that the kernel filters by, those that iptables made too.
func (f *Facts) NFTTables() ([]NFTTable, error) {
	said, err := f.Ruleset()
	if err != nil {
		return nil, err
	}
	var all []NFTTable
	var add func(line string) // to what is open
	for line := range strings.Lines(said) {
		text := strings.TrimSpace(line)
		word := strings.Fields(text)
		opens := len(word) > 2 && slices.Contains(word, "{")
		switch {
		case opens && line[0] != '\t' && word[0] == "table" && len(word) > 3:
			all = append(all, NFTTable{Name: word[1] + " " + word[2], Sets: map[string][]string{}, Chains: map[string][]string{}})
			add = nil
		case len(all) == 0:
		case strings.HasPrefix(line, "\t\t"):
			if add != nil {
				add(text)
			}
		case opens && (word[0] == "set" || word[0] == "chain"):
			table, name := all[len(all)-1], word[1]
			if word[0] == "chain" {
				table.Chains[name] = nil
				add = func(line string) { table.Chains[name] = append(table.Chains[name], line) }
			} else {
				table.Sets[name] = nil
				add = func(line string) { table.Sets[name] = append(table.Sets[name], elements(line)...) }
			}
		case len(word) > 0 && word[0] == "flags":
			all[len(all)-1].Dormant = strings.Contains(text, "dormant")
		default:
			add = nil
		}
	}
	return all, nil
}

// elements are the words of a listing.
func elements(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" ,\t\n{}=", r) })
}

var (
	nftTakes = regexp.MustCompile(`^type filter hook (input|prerouting|ingress) `)
	nftGoes  = regexp.MustCompile(`\b(?:jump|goto) (\S+)`)
	nftDrops = regexp.MustCompile(`(?:^| )(?:drop|reject|xt target "(?:DROP|REJECT)")(?: |$)`)
	nftFrom  = regexp.MustCompile(`\bip6? saddr (@\S+|\{[^}]*\}|[0-9a-f:./-]+) `)
	nftRate  = regexp.MustCompile(`\blimit rate |xt match "(limit|hashlimit|statistic)"`)
)

// Dropped are the addresses whose packets a rule of a table drops, if only at some
// ports: rules of chains that what comes in is led through.
func (t NFTTable) Dropped() (addresses []string) {
	seen := map[string]bool{}
	var walk func(chain string)
	walk = func(chain string) {
		if seen[chain] {
			return
		}
		seen[chain] = true
		for _, line := range t.Chains[chain] {
			if m := nftGoes.FindStringSubmatch(line); m != nil {
				walk(m[1])
			}
			from := nftFrom.FindStringSubmatch(line)
			if from == nil || !nftDrops.MatchString(line) || nftRate.MatchString(line) {
				continue
			}
			if set, ok := strings.CutPrefix(from[1], "@"); ok {
				addresses = append(addresses, t.Sets[set]...)
			} else {
				addresses = append(addresses, elements(from[1])...)
			}
		}
	}
	for chain, lines := range t.Chains {
		if !t.Dormant && slices.ContainsFunc(lines, nftTakes.MatchString) {
			walk(chain)
		}
	}
	return addresses
}

// within reports whether one of some words, each an address, a network or a range,
// holds all of p.
func within(words []string, p netip.Prefix) bool {
	return slices.ContainsFunc(words, func(word string) bool {
		if low, high, ok := strings.Cut(word, "-"); ok { // adjacent prefixes are listed as one range
			from, err1 := netip.ParseAddr(low)
			to, err2 := netip.ParseAddr(high)
			return err1 == nil && err2 == nil && from.Compare(p.Addr()) <= 0 && p.Addr().Compare(to) <= 0
		}
		q, err := prefix(word)
		return err == nil && holds([]netip.Prefix{q}, p)
	})
}

// among is within for many words and many questions.
func among(words []string) func(netip.Prefix) bool {
	single := map[netip.Prefix]bool{}
	var rest []string
	for _, word := range words {
		if p, err := prefix(word); err == nil && p.IsSingleIP() {
			single[p] = true
		} else {
			rest = append(rest, word)
		}
	}
	return func(p netip.Prefix) bool { return single[p] || within(rest, p) }
}

// prefix reads a network, or an address as one.
func prefix(word string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(word); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	return netip.ParsePrefix(word)
}
