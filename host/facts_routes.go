package host

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
)

// Uplinks are the interfaces that lead out of the machine over IPv4, by any table of
// routes: which one a packet goes by, rules decide (ip rule), and marks.
func (f *Facts) Uplinks() ([]string, error) { return f.leadOut(askRoutes4) }

// Uplinks6 are those that lead out over IPv6, if the kernel speaks it.
func (f *Facts) Uplinks6() ([]string, error) {
	if six, err := f.HasIPv6(); err != nil || !six {
		return nil, err
	}
	return f.leadOut(askRoutes6)
}

// A route is one of ip(8).
type route struct {
	Type string // "" for one that packets go by
	Dst  string // default, a network or an address
	hop
	Nexthops []hop // where there are several
}

type hop struct{ Dev string }

// out reports a route to the whole Internet, or to more of it than anybody's network is:
// a tunnel that takes all may have two halves of it.
func (r route) out() bool {
	p, err := netip.ParsePrefix(r.Dst)
	return (r.Type == "" || r.Type == "unicast") && (r.Dst == "default" || err == nil && tooMany(p))
}

func (f *Facts) leadOut(q Query) (out []string, err error) {
	said, err := f.ask(q)
	if err != nil {
		return nil, fmt.Errorf("which interfaces lead out: %w", err)
	}
	var routes []route
	if err := json.Unmarshal([]byte(said), &routes); err != nil {
		return nil, fmt.Errorf("which interfaces lead out: ip route: %w", err)
	}
	for _, r := range routes {
		for _, h := range append(r.Nexthops, r.hop) {
			if r.out() && h.Dev != "" && h.Dev != "lo" && !slices.Contains(out, h.Dev) {
				out = append(out, h.Dev)
			}
		}
	}
	return out, nil
}
