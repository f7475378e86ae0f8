package check

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// References is a Ref taken apart, so that a report can be read by standard, by
// line of the deployment checklist and by threat. A Ref is clauses with "; "
// between them. The last may be "blueprint", with lines of the guide (A2, E6,
// H3), threats (T5) and "checklist N".
type References struct {
	Blueprint []string // lines: A1 to A10, E1 to E7, H1 to H7
	Threats   []string // T1 to T11
	Checklist []int    // 1 to 11
	ASVS      []string // OWASP ASVS 5.0: V3.4.1
	API       []string // OWASP API Security Top 10 2023: API2:2023
	CIS       []string // sections of the CIS benchmark that the clause names: Debian 12 5.1.20
	CWE       []string // CWE-79
}

var (
	refASVS      = regexp.MustCompile(`ASVS 5\.0 (V[0-9.]+(?:, V[0-9.]+)*)`)
	refAPI       = regexp.MustCompile(`\bAPI(10|[1-9])\b`)
	refCWE       = regexp.MustCompile(`\bCWE-[0-9]+\b`)
	refLine      = regexp.MustCompile(`^[AEH][0-9]+$`)
	refThreat    = regexp.MustCompile(`^T[0-9]+$`)
	refChecklist = regexp.MustCompile(`^checklist ([0-9]+)$`)
)

// References takes Ref apart. What it does not know stays in Ref alone.
func (m Meta) References() (r References) {
	for clause := range strings.SplitSeq(m.Ref, "; ") {
		if lines, ok := strings.CutPrefix(clause, "blueprint "); ok {
			for word := range strings.SplitSeq(lines, ", ") {
				switch n := refChecklist.FindStringSubmatch(word); {
				case n != nil:
					line, _ := strconv.Atoi(n[1])
					r.Checklist = append(r.Checklist, line)
				case refThreat.MatchString(word):
					r.Threats = append(r.Threats, word)
				case refLine.MatchString(word):
					r.Blueprint = append(r.Blueprint, word)
				}
			}
			continue
		}
		if section, ok := strings.CutPrefix(clause, "CIS "); ok {
			r.CIS = append(r.CIS, section)
		}
		if all := refASVS.FindStringSubmatch(clause); all != nil {
			r.ASVS = append(r.ASVS, strings.Split(all[1], ", ")...)
		}
		for _, n := range refAPI.FindAllStringSubmatch(clause, -1) {
			r.API = append(r.API, "API"+n[1]+":2023")
		}
		r.CWE = append(r.CWE, refCWE.FindAllString(clause, -1)...)
	}
	return r
}

// Ring is the ring that answers for a control: app, edge or host. Accounts and
// watching belong to the app. "" when neither Layer nor the ID says.
func (m Meta) Ring() string {
	if m.Layer != "" {
		return m.Layer
	}
	switch ring, _, _ := strings.Cut(m.ID, "/"); ring {
	case "app", "identity", "watch":
		return "app"
	case "edge", "host":
		return ring
	}
	return ""
}

// A View is a way to order a report: by whole lines of the deployment checklist,
// by threats, or by rings.
type View string

// The views. The zero value is the order of the run.
const (
	ByChecklist View = "checklist"
	ByThreat    View = "threat"
	ByRing      View = "ring"
)

// Views are all of them.
func Views() []View { return []View{ByChecklist, ByThreat, ByRing} }

// A Section is a line of a view, with the results that speak for or against it.
type Section struct {
	ID      string // "4", "T5", "edge"
	Title   string
	Results []Result
	Inside  []Inside
}

// shows are the results without one of which nobody has seen a line of the
// checklist whole: what only the server itself shows.
var shows = map[string][]string{
	"2":  {"inside/listeners"},
	"7":  {"host/firewall", "inside/listeners"},
	"10": {"host/logs", "inside/log-rotation"},
	"11": {"inside/tracked"},
}

// Seen reports whether the whole of a section was looked at.
func (s Section) Seen() bool {
	need := shows[s.ID]
	return len(s.Results) > 0 && (need == nil || slices.ContainsFunc(s.Results, func(r Result) bool { return slices.Contains(need, r.ID) }) ||
		slices.ContainsFunc(s.Inside, func(in Inside) bool { return slices.Contains(need, in.ID) })) // looked at, and there is none
}

// Word is what is said of a section: its verdict; unseen, when nothing was looked
// at; or partly, when what was looked at is right and is not all.
func (s Section) Word() string {
	switch {
	case len(s.Results) == 0:
		return "unseen"
	case !s.Seen() && s.Verdict() == Unknown && !slices.ContainsFunc(s.Results, func(r Result) bool { return r.Verdict == Unknown }):
		return "partly"
	}
	return s.Verdict().String()
}

// Verdict of a section: the worst of its results. One that was not seen whole is
// unknown, unless something failed.
func (s Section) Verdict() Verdict {
	if len(s.Results) == 0 {
		return Unknown
	}
	worst := Waived
	for _, r := range s.Results {
		switch r.Verdict {
		case Fail:
			return Fail
		case Unknown:
			worst = Unknown
		case Pass:
			if worst == Waived {
				worst = Pass
			}
		}
	}
	if !s.Seen() {
		return Unknown
	}
	return worst
}

// A Heading is what a section of a view is called.
type Heading struct{ ID, Title string }

// Headings are the sections of a view, in order.
func Headings(v View) []Heading { return slices.Clone(headings[v]) }

var headings = map[View][]Heading{
	ByChecklist: {
		{"1", "HTTPS is enabled and forced"},
		{"2", "The API listens on 127.0.0.1 only"},
		{"3", "The proxy passes traffic to the API, and nothing that was not asked"},
		{"4", "CORS is restricted to trusted origins"},
		{"5", "Input is validated on all routes"},
		{"6", "Rates are limited at the app and at the proxy"},
		{"7", "The firewall blocks unused ports"},
		{"8", "SSH is hardened and takes keys only"},
		{"9", "fail2ban, or its like, is active"},
		{"10", "Logs are monitored and rotated"},
		{"11", "Secrets are not committed, and not served"},
	},
	ByThreat: {
		{"T1", "Brute-force login"},
		{"T2", "API abuse and scraping"},
		{"T3", "Credential stuffing"},
		{"T4", "Injection"},
		{"T5", "Misconfigured CORS"},
		{"T6", "Token theft"},
		{"T7", "Vulnerability scanners"},
		{"T8", "Bypass of the reverse proxy"},
		{"T9", "Server compromise through weak SSH"},
		{"T10", "Cross-site request forgery"},
		{"T11", "Cross-site scripting"},
	},
	ByRing: {
		{"app", "Ring 1, the app"},
		{"edge", "Ring 2, the edge"},
		{"host", "Ring 3, the host"},
	},
}

// Sections sorts the report's results into the lines of a view. A result that
// speaks for several stands under each; what speaks for none is left out.
func (r Report) Sections(v View) []Section {
	var out []Section
	for _, h := range headings[v] {
		s := Section{ID: h.ID, Title: h.Title}
		for _, res := range r.Results {
			if res.speaksFor(v, h.ID) {
				s.Results = append(s.Results, res)
			}
		}
		for _, in := range r.Inside {
			if in.Meta.speaksFor(v, h.ID) {
				s.Inside = append(s.Inside, in)
			}
		}
		out = append(out, s)
	}
	return out
}

func (m Meta) speaksFor(v View, id string) bool {
	switch refs := m.References(); v {
	case ByChecklist:
		n, _ := strconv.Atoi(id)
		return slices.Contains(refs.Checklist, n)
	case ByThreat:
		return slices.Contains(refs.Threats, id)
	default:
		return m.Ring() == id
	}
}
