package inside

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// iptables reads what `iptables -S` prints of the table filter, or ip6tables.
func (u uplinks) iptables(text string, ipv6 bool) ([]gate, error) {
	g := gate{name: "iptables", first: "INPUT", chains: map[string][]rule{}, only: func(p syn) bool { return p.ipv6 == ipv6 }}
	part := ""
	for line := range strings.Lines(text) {
		// A comment may go on in the next line.
		if part += line; strings.Count(escaped.Replace(part), `"`)%2 == 1 {
			continue
		}
		line, part = part, ""
		words := quoted(line)
		if len(words) < 2 {
			continue
		}
		name := words[1]
		switch words[0] {
		case "-P":
			g.chains[name] = nil
			if name == g.first {
				g.drops = len(words) > 2 && words[2] == "DROP"
			}
		case "-N":
			g.chains[name] = nil
		case "-A":
			r := u.iptablesRule(words[2:])
			r.text = strings.TrimSpace(line)
			g.chains[name] = append(g.chains[name], r)
			if name == g.first && strings.HasPrefix(r.chain, "ufw") {
				g.name = "ufw"
			}
		}
	}
	if _, ok := g.chains[g.first]; !ok || part != "" {
		return nil, errors.New("it tells of no INPUT, or not all of it")
	}
	return []gate{g}, nil
}

var escaped = strings.NewReplacer(`\\`, "", `\"`, "")

// goesOn are targets after which the next rule is asked.
var goesOn = []string{"LOG", "NFLOG", "ULOG", "AUDIT", "TRACE", "MARK", "CONNMARK", "SECMARK", "CONNSECMARK", "SET", "TCPMSS", "CT", "NOTRACK"}

// says nothing of which packets a rule is about.
var plain = []string{"tcp", "udp", "icmp", "icmp6", "ipv6-icmp", "conntrack", "state", "comment", "multiport", "addrtype"}

// iptablesRule reads one rule. An option that is not known here is one that may or
// may not be met.
func (u uplinks) iptablesRule(words []string) (r rule) {
	not := false
	about := func(of func(syn) share) {
		if not {
			yes := of
			of = func(p syn) share { return yes(p).not() }
		}
		r.of, not = append(r.of, of), false
	}
	always := func(s share) func(syn) share { return func(syn) share { return s } }
	for i := 0; i < len(words); i++ {
		option, value := words[i], ""
		if option == "!" {
			not = true
			continue
		}
		if option == "--comment" { // whatever it is like
			i++
			continue
		}
		for i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") && words[i+1] != "!" {
			i++
			value = strings.TrimSpace(value + " " + words[i])
		}
		switch option {
		case "-j", "-g":
			switch {
			case value == "ACCEPT":
				r.to = "accept"
			case value == "DROP", value == "REJECT":
				r.to = "drop"
			case value == "RETURN":
				r.to = "return"
			case slices.Contains(goesOn, value):
			case option == "-g":
				r.to, r.chain = "goto", value
			default:
				r.to, r.chain = "jump", value
			}
			return r // what follows is the target's
		case "-p":
			about(always(whether(value == "tcp" || value == "all" || value == "6")))
		case "-i":
			about(always(u.through(value)))
		case "-s":
			about(always(from(value)))
		case "-m":
			if !slices.Contains(plain, value) {
				about(always(few))
			}
		case "--dport", "--dports", "--destination-port", "--destination-ports":
			about(func(p syn) share { return whether(portIn(strings.ReplaceAll(value, ":", "-"), p.port)) })
		case "--ctstate", "--state":
			states := strings.Split(value, ",")
			switch {
			case slices.Contains(states, "NEW"):
				about(always(every))
			case slices.Contains(states, "DNAT"), slices.Contains(states, "SNAT"), slices.Contains(states, "UNTRACKED"):
				about(always(few))
			default:
				about(always(none))
			}
		case "--dst-type":
			about(always(whether(value == "LOCAL")))
		case "--syn":
			about(always(every))
		case "--tcp-flags":
			about(always(max(few, whether(value == "FIN,SYN,RST,ACK SYN"))))
		default:
			about(always(few))
		}
	}
	return r
}

func whether(yes bool) share {
	if yes {
		return every
	}
	return none
}

// portIn reports a port in a list such as 80,443,8000-8010.
func portIn(list string, port int) bool {
	for one := range strings.SplitSeq(list, ",") {
		from, to, span := strings.Cut(one, "-")
		lo, err := strconv.Atoi(from)
		hi := lo
		if span {
			hi, _ = strconv.Atoi(to)
		}
		if err == nil && lo <= port && port <= hi {
			return true
		}
	}
	return false
}

// quoted splits a line into words, of which those in quotes stay whole.
func quoted(line string) (words []string) {
	var word strings.Builder
	in, begun := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			in, begun = !in, true
		case c == '\\' && in && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case !in && (c == ' ' || c == '\t' || c == '\n'):
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			begun = true
			word.WriteByte(c)
		}
	}
	if begun {
		words = append(words, word.String())
	}
	return words
}
