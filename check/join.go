package check

import (
	"slices"
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

// Join makes one report of two looks at the same server, one on it and one from
// elsewhere. What one of them could only list apart is judged when the other saw
// it. The claims that take both are proved when both saw them, fail when either
// does, and are unknown otherwise.
//
// What a report has carried over from an earlier one (see Carry) was not seen by it.
func Join(inside, outside Report) Report {
	inside, outside = inside.own(), outside.own()
	out := inside
	if out.Target == "" {
		out.Target = outside.Target
	}
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
