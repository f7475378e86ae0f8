package check

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// A Pair is a claim that takes two looks to prove: one on the server and one from
// elsewhere.
type Pair struct {
	Meta
	Inside, Outside []string // IDs of the results that speak for it, from each side
}

// pairs are what Join proves. A firewall's rules say what it should do, and a
// closed port from outside may be open to others.
var pairs = []Pair{
	{Meta{ID: "both/ports", Title: "Ports are closed by what listens or the firewall, and nobody answers on them from outside",
		Why: "A look from one side alone is fooled by the other: by Docker's own rules, a cloud's firewall, a network that lets this address in.",
		Ref: "ASVS 5.0 V13.2.5; CWE-668; blueprint E1, H3, H4, T8, checklist 2, checklist 7", Layer: "host"},
		[]string{"inside/listeners", "host/firewall"}, []string{"outside/ports"}},
	{Meta{ID: "both/ssh", Title: "SSH is configured for keys only, and offers nothing else from outside",
		Why: "A file that sshd does not read, or a second sshd, makes the configuration a wish.",
		Ref: "CIS Debian 12, 5.1; CWE-307; blueprint H2, T9, checklist 8", Layer: "host"},
		[]string{"host/ssh"}, []string{"outside/ssh"}},
}

// Both lists the claims that Join proves.
func Both() (out []Meta) {
	for _, p := range pairs {
		out = append(out, p.Meta)
	}
	return out
}

// freshFor is how long before or after one look the other may have been made.
const freshFor = 24 * time.Hour

// Join makes one report of two looks at the same server, one on it and one from
// elsewhere, in either order; now is the one that was made last. What one of them
// could only list apart is judged when the other saw it. The claims that take both
// are proved when both saw them, fail when either does, and are unknown otherwise.
//
// It is an error when nothing says that both are of one server, and when both are
// from the same side. What the other report saw more than 24 hours away from now is
// unknown, and so is what it has carried over from an earlier one (see Carry).
func Join(now, other Report) (Report, error) {
	inside, outside := now, other.within(freshFor, now.Time)
	switch a, b := now.side(), other.side(); {
	case a == bothSides || b == bothSides:
		return now, errors.New("a report of both sides cannot be joined once more")
	case a == b:
		return now, fmt.Errorf("both reports are looks from %s: one of them must be from the other side", a)
	case a == "" || b == "":
		return now, errors.New("a report without any result proves nothing of the server")
	case a != insideOnly:
		inside, outside = outside, inside
	}
	if err := inside.Host.is(outside); err != nil {
		return now, err
	}
	out := join(inside, outside)
	out.Time, out.Version = now.Time, now.Version
	return out, nil
}

func join(inside, outside Report) Report {
	inside, outside = inside.own(), outside.own()
	out := inside
	out.Requests += outside.Requests
	out.Results = slices.Clone(inside.Results)
	for _, r := range outside.Results {
		i := slices.IndexFunc(out.Results, func(o Result) bool { return o.ID == r.ID })
		switch {
		case i < 0:
			out.Results = append(out.Results, r)
		case out.Results[i].Verdict == Unknown, r.Verdict == Fail:
			out.Results[i] = r
		}
	}
	out.Inside = nil
	for _, in := range append(slices.Clone(inside.Inside), outside.Inside...) {
		known := slices.ContainsFunc(out.Results, func(r Result) bool { return r.ID == in.ID }) ||
			slices.ContainsFunc(out.Inside, func(o Inside) bool { return o.ID == in.ID })
		if !known {
			out.Inside = append(out.Inside, in)
		}
	}
	for _, p := range pairs {
		out.Results = append(out.Results, Result{Meta: p.Meta, Finding: p.judge(inside, outside)})
	}
	return out
}

// Sides that a report was made from.
const (
	insideOnly  = "inside"
	outsideOnly = "outside"
	bothSides   = "both sides"
)

// side tells from which side the report was made, "" when it has nothing.
func (r Report) side() (side string) {
	add := func(s string) {
		if side == "" {
			side = s
		}
		if side != s {
			side = bothSides
		}
	}
	of := func(id string) {
		switch ring, _, _ := strings.Cut(id, "/"); ring {
		case "both":
			add(bothSides)
		case "inside", "host":
			add(insideOnly)
		default:
			add(outsideOnly)
		}
	}
	if r.Host != nil {
		add(insideOnly)
	}
	for i := range r.Results {
		of(r.Results[i].ID)
	}
	for _, in := range r.Inside {
		of(in.ID)
	}
	return side
}

// is says why nothing tells that a look from outside was at h, nil when it was.
func (h *Host) is(outside Report) error {
	if h == nil {
		return errors.New("the report from inside does not say of which server it is: make it anew")
	}
	name := outside.Target
	if u, err := url.Parse(name); err == nil && u.Hostname() != "" {
		name = u.Hostname()
	}
	same := name != "" && (strings.EqualFold(name, h.Name) && name != "localhost" || strings.EqualFold(name, h.Site))
	for _, a := range outside.Addresses() {
		same = same || slices.Contains(h.Addresses, a)
	}
	if same {
		return nil
	}
	return fmt.Errorf("the look from outside is at %s, and nothing says that this is %s: it is reached at none of the server's own addresses (%s); when another machine passes its address on, name it as the site of the policy there, and look from inside anew",
		orUnnamed(clean(outside.Target)), orUnnamed(clean(h.Name)), clean(strings.Join(h.Addresses, ", ")))
}

func orUnnamed(s string) string {
	if s == "" {
		return "an unnamed one"
	}
	return s
}

// within is the report as it counts at another time: what it saw longer than d
// before or after that is unknown.
func (r Report) within(d time.Duration, at time.Time) Report {
	if away := at.Sub(r.Time).Abs(); away <= d {
		return r
	}
	r.Results = slices.Clone(r.Results)
	for i := range r.Results {
		f := &r.Results[i].Finding
		seen, at := f.Verdict, f.Addresses
		*f = Unseen("%s on %s, which is not within a day of this look: make that report anew", seen, r.Time.Format(time.DateOnly))
		f.Addresses = at
	}
	return r
}

// own is the report without what it has from earlier ones.
func (r Report) own() Report {
	r.Results = slices.Clone(r.Results)
	for i := range r.Results {
		if f := &r.Results[i].Finding; !f.Seen.IsZero() {
			*f = Unseen("not made in the run of that report; %s on %s", f.Verdict, f.Seen.Format(time.DateOnly))
			f.Unmade = true
		}
	}
	return r
}

func (p Pair) judge(inside, outside Report) Finding {
	within, f := side(inside, p.Inside, "inside")
	if f.Verdict == Fail {
		return f
	}
	from, g := side(outside, p.Outside, "outside")
	if g.Verdict == Fail {
		return g
	}
	if !within || !from {
		for _, u := range []Finding{f, g} {
			if u.Verdict == Unknown {
				return u
			}
		}
	}
	return Passed("inside: %s; outside: %s", f.Got, g.Got)
}

// side is what one report says: the worst of the results, and whether there is a
// pass among them and nothing else.
func side(r Report, ids []string, name string) (proved bool, f Finding) {
	f = Unseen("the report from %s has no result of %v", name, ids)
	found := false
	for _, res := range r.Results {
		if !slices.Contains(ids, res.ID) {
			continue
		}
		if !found || res.Verdict == Fail || f.Verdict == Pass {
			f = res.Finding
		}
		if found = true; f.Verdict == Fail {
			f.Got = name + ": " + f.Got
			return false, f
		}
	}
	if f.Verdict == Waived {
		f.Verdict = Unknown
	}
	if f.Verdict == Unknown && found {
		f.Got = name + ": " + f.Got
	}
	return f.Verdict == Pass, f
}
