package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// A Guard is the controls in force under one policy. It is safe for concurrent
// use.
type Guard struct {
	// Admit judges a peer as it connects. A peer in edge.trusted_proxies is
	// always admitted: it speaks for many clients, who are judged at the gate.
	Admit Admit

	// Judge judges a request: the first control that refuses it does.
	Judge Judge

	MaxConnections int  // in all
	ProxyProtocol  bool // connections begin with a header, of edge.trusted_proxies

	trusted  []netip.Prefix
	on       map[string]bool // the controls in force
	refusals refusals
	slow     func(client netip.Addr, why string) // says that one was cut
}

// enforces reports whether a control is in the list and not waived.
func (g *Guard) enforces(id string) bool { return g.on[id] }

// Proxied is the guard of connections that a proxy of ours opens: each speaks for
// many clients, who are judged at the gate. Framing and pace hold for it too.
func (g *Guard) Proxied() *Guard {
	own := *g
	own.Admit = func(netip.Addr) (func(), bool) { return nil, true }
	own.ProxyProtocol = false
	return &own
}

// NewGuard builds what the controls in force ask, in the order of the list. All
// errors are joined, of waivers for controls that there are not too; a guard
// with any of them is not built.
func NewGuard(p *policy.Policy, st *State) (*Guard, error) {
	return newGuard(p, st, controls)
}

func newGuard(p *policy.Policy, st *State, controls []Control) (*Guard, error) {
	var errs []error
	for i, w := range p.Waivers {
		known := func(c Control) bool { return c.ID == w.Control }
		if strings.HasPrefix(w.Control, "edge/") && !slices.ContainsFunc(controls, known) {
			var ids []string
			for _, c := range controls {
				ids = append(ids, c.ID)
			}
			errs = append(errs, p.NoControl(i, ids))
		}
	}
	var admits []Admit
	var judges []Judge
	now := st.now()
	on := map[string]bool{}
	for _, c := range controls {
		if !inForce(p, c, now) {
			continue
		}
		on[c.ID] = true
		if c.Conn != nil {
			a, err := c.Conn(p, st)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.ID, err))
			}
			admits = append(admits, a)
		}
		if c.Gate != nil {
			j, err := c.Gate(p, st)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", c.ID, err))
			}
			judges = append(judges, named(c.ID, j))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	trusted := slices.Clone(p.Edge.TrustedProxies)
	return &Guard{
		Admit: admitAll(trusted, admits), Judge: judgeAll(judges),
		MaxConnections: maxConnections(p), ProxyProtocol: p.Edge.ProxyProtocol,
		trusted: trusted, on: on, refusals: newRefusals(p, st.Headers), slow: st.cut,
	}, nil
}

// inForce reports whether no unexpired waiver switches c off.
func inForce(p *policy.Policy, c Control, now time.Time) bool {
	w, ok := p.Waived(c.ID)
	return !ok || w.Expired(now)
}

// named says in refusals whose they are.
func named(id string, j Judge) Judge {
	return func(v *Visit) *Refusal {
		r := j(v)
		if r == nil || r.Control == id {
			return r
		}
		own := *r // it may be shared
		own.Control = id
		return &own
	}
}

func judgeAll(judges []Judge) Judge {
	return func(v *Visit) *Refusal {
		for _, j := range judges {
			if r := j(v); r != nil {
				return r
			}
		}
		return nil
	}
}

// admitAll admits whom every control admits, and releases him from all.
func admitAll(trusted []netip.Prefix, admits []Admit) Admit {
	return func(peer netip.Addr) (release func(), ok bool) {
		peer = peer.Unmap().WithZone("")
		for _, p := range trusted {
			if p.Contains(peer) {
				return nil, true
			}
		}
		for _, admit := range admits {
			r, ok := admit(peer)
			if !ok {
				if release != nil {
					release()
				}
				return nil, false
			}
			release = both(release, r)
		}
		return release, true
	}
}

func both(a, b func()) func() {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	return func() { b(); a() }
}
