package inside

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// nftables reads what `nft -j list ruleset` prints (libnftables-json(5)): each chain
// that hangs on the hook input is a gate. With told, iptables has told of its own.
func (u uplinks) nftables(text string, told bool) ([]gate, error) {
	var doc struct {
		Nftables []struct {
			Chain *struct {
				Family, Table, Name, Type, Hook, Policy string
			}
			Rule *struct {
				Family, Table, Chain string
				Handle               int
				Expr                 []map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		return nil, err
	}
	if len(doc.Nftables) == 0 { // not even who speaks
		return nil, errors.New("it says nothing")
	}
	type table struct{ family, name string }
	chains := map[table]map[string][]rule{}
	var gates []gate
	for _, o := range doc.Nftables {
		c := o.Chain
		if c == nil {
			continue
		}
		t := table{c.Family, c.Table}
		if chains[t] == nil {
			chains[t] = map[string][]rule{}
		}
		chains[t][c.Name] = nil
		if c.Hook != "input" || c.Type != "filter" || !slices.Contains([]string{"ip", "ip6", "inet"}, c.Family) {
			continue
		}
		gates = append(gates, gate{name: "nftables", first: c.Name, chains: chains[t], drops: c.Policy == "drop",
			only:   func(p syn) bool { return c.Family == "inet" || (c.Family == "ip6") == p.ipv6 },
			copied: told && c.Family != "inet" && c.Table == "filter" && c.Name == "INPUT"})
	}
	for _, o := range doc.Nftables {
		if r := o.Rule; r != nil {
			t := table{r.Family, r.Table}
			if chains[t] == nil {
				return nil, fmt.Errorf("it tells of a rule of %s %s, and of no chain there", r.Family, r.Table)
			}
			text := fmt.Sprintf("handle %d in the chain %s of the table %s %s", r.Handle, r.Chain, r.Family, r.Table)
			chains[t][r.Chain] = append(chains[t][r.Chain], u.nftRules(r.Expr, text)...)
		}
	}
	return gates, nil
}

// idle are statements that neither choose packets nor decide about them.
var idle = []string{"counter", "log", "notrack", "mangle"}

// nftRules reads one rule: more than one when it decides by a map. A statement that
// is not known here is one that may or may not be met, and may let in.
func (u uplinks) nftRules(statements []map[string]any, text string) []rule {
	r := rule{text: text}
	odd := false
	var maps []rule
	for _, s := range statements {
		for kind, value := range s {
			v, _ := value.(map[string]any)
			switch {
			case kind == "match":
				r.of = append(r.of, u.nftMatch(v))
			case kind == "accept", kind == "drop", kind == "return":
				r.to = kind
			case kind == "reject":
				r.to = "drop"
			case kind == "jump", kind == "goto":
				r.to = kind
				r.chain, _ = v["target"].(string)
			case kind == "vmap":
				maps = append(maps, u.nftMap(v, text)...)
			case slices.Contains(idle, kind):
			default:
				odd = true
			}
		}
	}
	if odd {
		r.of = append(r.of, func(syn) share { return few })
	}
	if r.to == "" && len(maps) > 0 {
		for i := range maps {
			maps[i].of = append(maps[i].of, r.of...)
		}
		return maps
	}
	if r.to == "" && odd {
		r.to = "odd"
	}
	return []rule{r}
}

// nftMap makes a rule of each entry of a map of verdicts.
func (u uplinks) nftMap(v map[string]any, text string) (out []rule) {
	data, _ := v["data"].(map[string]any)
	set, ok := data["set"].([]any)
	if !ok { // one that has a name, and is not shown
		return []rule{{of: []func(syn) share{func(syn) share { return few }}, to: "odd", text: text}}
	}
	for _, e := range set {
		pair, ok := e.([]any)
		verdict := map[string]any{"odd": nil}
		if ok && len(pair) == 2 {
			if v, ok := pair[1].(map[string]any); ok {
				verdict = v
			}
		}
		one := u.nftRules([]map[string]any{verdict}, text)
		for i := range one {
			if ok && len(pair) == 2 {
				one[i].of = append(one[i].of, u.nftMatch(map[string]any{"op": "==", "left": v["key"], "right": pair[0]}))
			}
		}
		out = append(out, one...)
	}
	return out
}

// nftMatch says which packets a comparison is about.
func (u uplinks) nftMatch(v map[string]any) func(syn) share {
	op, _ := v["op"].(string)
	within, is := u.nftIs(v["left"])
	values := nftValues(v["right"])
	return func(p syn) share {
		if !within(p) { // of another protocol, whatever it is compared with
			return none
		}
		if op != "==" && op != "in" && op != "!=" || len(values) == 0 {
			return few
		}
		most := none
		for _, value := range values {
			if s, ok := value.(string); ok && strings.HasPrefix(s, "@") { // a set that has a name, and is not shown
				value = nil
			}
			most = max(most, is(value, p))
		}
		if op == "!=" {
			return most.not()
		}
		return most
	}
}

// nftValues are those on the right, of a set or list each.
func nftValues(right any) []any {
	switch v := right.(type) {
	case []any:
		var out []any
		for _, one := range v {
			out = append(out, nftValues(one)...)
		}
		return out
	case map[string]any:
		if set, ok := v["set"]; ok {
			return nftValues(set)
		}
		if elem, ok := v["elem"].(map[string]any); ok {
			return nftValues(elem["val"])
		}
	}
	return []any{right}
}

// nftIs says of which packets what is on the left has a value, within those that
// have it at all.
func (u uplinks) nftIs(left any) (within func(syn) bool, is func(value any, p syn) share) {
	kind, of := "", map[string]any{}
	if l, ok := left.(map[string]any); ok && len(l) == 1 {
		for k, v := range l {
			kind = k
			of, _ = v.(map[string]any)
		}
	}
	word := func(key string) string { s, _ := of[key].(string); return s }
	within = func(syn) bool { return true }
	is = func(any, syn) share { return few }
	named := func(right func(name string, p syn) bool) func(any, syn) share {
		return func(value any, p syn) share {
			if name, ok := value.(string); ok {
				return whether(right(name, p))
			}
			return few
		}
	}
	number := func(n any) int {
		if f, ok := n.(float64); ok {
			return int(f)
		}
		return -2
	}
	protocol := func(value any, _ syn) share {
		if s, ok := value.(string); ok {
			return whether(s == "tcp")
		}
		if n := number(value); n >= 0 {
			return whether(n == 6)
		}
		return few
	}
	switch kind + " " + word("key") + word("protocol") + " " + word("field") {
	case "meta iif ", "meta iifname ":
		is = func(value any, _ syn) share {
			if name, ok := value.(string); ok {
				return u.through(name)
			}
			return few
		}
	case "meta nfproto ":
		is = named(func(name string, p syn) bool { return name == map[bool]string{false: "ipv4", true: "ipv6"}[p.ipv6] })
	case "meta protocol ":
		is = named(func(name string, p syn) bool { return name == map[bool]string{false: "ip", true: "ip6"}[p.ipv6] })
	case "meta pkttype ":
		is = named(func(name string, _ syn) bool { return name == "host" || name == "unicast" })
	case "meta l4proto ", "payload ip protocol", "payload ip6 nexthdr":
		is = protocol
	case "payload tcp dport", "payload th dport":
		is = func(value any, p syn) share {
			lo, hi := number(value), number(value)
			if v, ok := value.(map[string]any); ok {
				if span, ok := v["range"].([]any); ok && len(span) == 2 {
					lo, hi = number(span[0]), number(span[1])
				}
			}
			if lo < 0 || hi < 0 {
				return few
			}
			return whether(lo <= p.port && p.port <= hi)
		}
	case "payload ip saddr", "payload ip6 saddr":
		is = func(value any, _ syn) share {
			network, _ := value.(string)
			if v, ok := value.(map[string]any); ok {
				if p, ok := v["prefix"].(map[string]any); ok {
					network = fmt.Sprintf("%v/%v", p["addr"], p["len"])
				}
			}
			return from(network)
		}
	case "ct state ":
		is = func(value any, p syn) share {
			if value == "untracked" { // by notrack, or not
				return few
			}
			return named(func(name string, _ syn) bool { return name == "new" })(value, p)
		}
	case "fib  ":
		if word("result") == "type" && fmt.Sprint(of["flags"]) == "[daddr]" {
			is = named(func(name string, _ syn) bool { return name == "local" })
		}
	}
	if kind == "payload" {
		switch proto := word("protocol"); proto {
		case "ip", "ip6":
			within = func(p syn) bool { return (proto == "ip6") == p.ipv6 }
		case "udp", "udplite", "icmp", "icmpv6", "igmp", "sctp", "dccp", "esp", "ah":
			within = func(syn) bool { return false }
		}
	}
	return within, is
}
