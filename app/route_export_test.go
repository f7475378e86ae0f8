package app

import "github.com/ringwall/ringwall/policy"

// A Matcher gives tests the routes of a policy without a ring around them.
type Matcher struct{ rs *routes }

func NewMatcher(p *policy.Policy) (Matcher, error) {
	rs, err := compileRoutes(p)
	return Matcher{rs}, err
}

// Match is the index of the route, -1 for none, and the names of the rate
// classes of a request.
func (m Matcher) Match(method, path string) (route int, classes []string, ambiguous bool) {
	r, set, ambiguous := m.rs.match(method, path)
	return r.Index, m.rs.classNames(set), ambiguous
}
