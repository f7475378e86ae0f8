package app

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// An Explanation says what a policy does with the requests of one method and
// path, as the ring itself decides it.
type Explanation struct {
	Method, Path string
	Refused      string   // why no such request gets past app/path or app/method; "" when it does
	Route        *Route   // nil when refused
	Classes      []string // names of the rate classes that count it, global first
	Controls     []Explained
}

// Explained is one control and what is in force of it.
type Explained struct {
	ID, Title string
	Value     string // "" when the control has no value to tell
	Waived    string // until when and why it is off; "" when it is in force
}

// Explain finds what the policy decides for a request target, a path with or
// without a query. A policy that the ring would not take is an error.
func Explain(p *policy.Policy, method, target string, now time.Time) (*Explanation, error) {
	rs, err := compileRoutes(p)
	if err != nil {
		return nil, err
	}
	if err := checkWaivers(p, controls); err != nil {
		return nil, err
	}
	u, err := url.ParseRequestURI(target)
	if err != nil || !strings.HasPrefix(target, "/") {
		return nil, fmt.Errorf("%q is not a path: it starts with a slash", target)
	}
	e := &Explanation{Method: strings.ToUpper(method), Path: u.Path}
	canonical, err := CanonicalPath(u)
	if err != nil {
		e.Refused = "app/path: " + err.Error()
		return e, nil
	}
	if methodBits[e.Method] == 0 {
		e.Refused = "app/method: " + e.Method + " is none of " + servedMethods
		return e, nil
	}
	route, classes, ambiguous := rs.match(e.Method, canonical)
	if ambiguous {
		e.Refused = "app/path: with another letter case, other rules would hold for this path"
		return e, nil
	}
	e.Path, e.Route = canonical, route
	if _, ok := p.App.Limits["global"]; ok {
		e.Classes = []string{"global"}
	}
	e.Classes = append(e.Classes, slices.DeleteFunc(rs.classNames(classes), func(name string) bool { return name == "global" })...)
	for _, c := range controls {
		x := Explained{ID: c.ID, Title: c.Title}
		if c.Value != nil {
			x.Value = c.Value(p, route)
		}
		if w, ok := p.Waived(c.ID); ok && !inForce(p, c, now) {
			x.Waived = "until " + w.Until.Format(time.DateOnly) + ": " + w.Reason
		}
		e.Controls = append(e.Controls, x)
	}
	return e, nil
}
