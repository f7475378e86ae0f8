package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
)

//go:embed page.css
var css string

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"anchor": anchor,
	"bad":    bad,
}).Parse(pageHTML))

// HTML writes the report as one page that needs nothing else: no script, no font,
// no address. Its own Content-Security-Policy allows its style alone, so that
// nothing that a target said can run or load, even if it were not escaped. It
// prints.
func HTML(w io.Writer, r check.Report) error {
	sum := sha256.Sum256([]byte(css))
	d := pageData{
		Report: r, Summary: r.Summary(), Day: day(r.Time), Host: host(r.Target),
		CSS:       template.CSS(css),
		Policy:    "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'",
		Checklist: lines(r, check.ByChecklist), Threats: lines(r, check.ByThreat), Rings: lines(r, check.ByRing),
	}
	d.Headline = headline(r)
	v, _ := worst(r)
	d.Verdict = v.String()
	d.ToDo = r.ToDo()
	// What belongs to no ring is shown all the same.
	rest := line{ID: "rest", Title: "Others"}
	for _, res := range r.Results {
		if res.Ring() == "" {
			rest.Results = append(rest.Results, res)
		}
	}
	if len(rest.Results) > 0 {
		d.Rings = append(d.Rings, rest)
	}
	return page.Execute(w, d)
}

type pageData struct {
	check.Report
	Summary                   check.Summary
	Day, Host, Headline       string
	Verdict, Policy           string
	CSS                       template.CSS
	ToDo                      []check.Result
	Checklist, Threats, Rings []line
}

// A line is a section of a view, ready to be written.
type line struct {
	ID, Title, Word string
	Results         []check.Result
	Inside          []check.Inside
	Counts          string
}

func lines(r check.Report, v check.View) (out []line) {
	for _, s := range r.Sections(v) {
		l := line{ID: s.ID, Title: s.Title, Word: s.Word(), Results: s.Results, Inside: s.Inside}
		var sum check.Report
		sum.Results = s.Results
		n := sum.Summary()
		var parts []string
		for _, c := range []struct {
			n    int
			word string
		}{{n.Fail, "fail"}, {n.Unknown, "unknown"}, {n.Waived, "waived"}, {n.Pass, "pass"}} {
			if c.n > 0 {
				parts = append(parts, strconv.Itoa(c.n)+" "+c.word)
			}
		}
		if n := len(s.Inside); n > 0 {
			parts = append(parts, strconv.Itoa(n)+" on the server only")
		}
		if l.Counts = strings.Join(parts, ", "); l.Counts == "" {
			l.Counts = "nothing looked at"
		}
		out = append(out, l)
	}
	return out
}

// headline says in one sentence what came of it.
func headline(r check.Report) string {
	s := r.Summary()
	of := "of " + strconv.Itoa(len(r.Results))
	switch {
	case len(r.Results) == 0:
		return "Nothing was checked, so nothing is proved."
	case s.Fail == 1:
		return "1 " + of + " controls is not in force."
	case s.Fail > 0:
		return strconv.Itoa(s.Fail) + " " + of + " controls are not in force."
	case s.Unknown > 0:
		return "Nothing failed, but " + strconv.Itoa(s.Unknown) + " " + of + " controls could not be seen."
	case s.Waived > 0:
		return strconv.Itoa(s.Pass) + " " + of + " controls are proved; " + strconv.Itoa(s.Waived) + " are waived."
	}
	return "All " + strconv.Itoa(len(r.Results)) + " controls are proved."
}
