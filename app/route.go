package app

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/ringwall/ringwall/policy"
)

// A Route is what the policy says of the requests it matches, decided when the
// policy loads.
type Route struct {
	Pattern string   // as written; "" when nothing matched
	Index   int      // in app.routes, -1 when nothing matched and for a built-in route
	Builtin bool     // Ringwall serves it itself, before app.routes
	Allow   []string // as written

	Body         int64 // largest body, bytes
	ContentTypes []string
	Timeout      time.Duration // until the answer begins
	Public       bool          // anyone may call

	order    int                 // the least of those that match wins; of the fallback: their number
	signedIn bool                // any known caller may call
	roles    map[string]struct{} // roles that may call, by name or by permission
}

// Admits reports whether the caller may call the route. A nil caller is nobody.
func (r *Route) Admits(c *Caller) bool {
	if r.Public {
		return true
	}
	if c == nil {
		return false
	}
	if r.signedIn {
		return true
	}
	for _, role := range c.Roles {
		if _, ok := r.roles[role]; ok {
			return true
		}
	}
	return false
}

// routes finds the route and the rate classes of a request in one walk over
// the path's segments.
type routes struct {
	fallback *Route   // nothing matched
	classes  []string // rate classes with paths, sorted; a class's bit is its index
	exact    *node
	folded   *node // the same patterns in lower case
	upper    bool  // some pattern has upper-case letters
}

type node struct {
	children map[string]*node
	any      *node // {name}
	here     []entry
	below    []entry // subtree: here and all below
}

type entry struct {
	route   *Route // nil for a rate class
	class   int
	methods methodSet // 0: all
}

type methodSet uint16

var methodBits = map[string]methodSet{
	"GET": 1, "HEAD": 2, "POST": 4, "PUT": 8, "PATCH": 16, "DELETE": 32, "OPTIONS": 64,
}

func methodsOf(names []string) (set methodSet) {
	for _, m := range names {
		set |= methodBits[m]
	}
	if set&methodBits["GET"] != 0 {
		set |= methodBits["HEAD"]
	}
	return set
}

func compileRoutes(p *policy.Policy) (*routes, error) {
	rs := &routes{exact: &node{}, folded: &node{}}
	var errs []error
	cases := map[string]string{} // patterns as written, by their folded form
	builtin := p.Builtin()
	all := slices.Concat(builtin, p.App.Routes)
	rs.fallback = &Route{Index: -1, Allow: []string{"signed-in"}, signedIn: true, order: len(all)}
	setBounds(rs.fallback, p, policy.Route{})
	for order, pr := range all {
		i := max(order-len(builtin), -1)
		pat, err := policy.ParsePattern(pr.Path)
		if err != nil {
			errs = append(errs, p.Errorf(fmt.Sprintf("app.routes[%d].path", i), "", "%v", err))
			continue
		}
		if twin, ok := cases[foldCase(pr.Path)]; ok && twin != pr.Path {
			errs = append(errs, p.Errorf(fmt.Sprintf("app.routes[%d].path", i), "write both in the same letter case",
				"%s and %s differ in letter case only", pr.Path, twin))
			continue
		}
		cases[foldCase(pr.Path)] = pr.Path
		for j, m := range pr.Methods {
			if methodBits[m] == 0 {
				errs = append(errs, p.Errorf(fmt.Sprintf("app.routes[%d].methods[%d]", i, j), "one of "+servedMethods,
					"%q is no method that is served", m))
			}
		}
		r := &Route{Pattern: pr.Path, Index: i, Builtin: i < 0, Allow: pr.Allow, order: order, roles: map[string]struct{}{}}
		setBounds(r, p, pr)
		for _, a := range pr.Allow {
			switch a {
			case "anyone":
				r.Public = true
			case "signed-in":
				r.signedIn = true
			default:
				for role, permissions := range p.Identity.Roles {
					if role == a || slices.ContainsFunc(permissions, func(has string) bool { return grants(has, a) }) {
						r.roles[role] = struct{}{}
					}
				}
			}
		}
		rs.add(pat, pr.Path, entry{route: r, methods: methodsOf(pr.Methods)})
	}
	for name := range p.App.Limits {
		if len(classPaths(p, name)) > 0 {
			rs.classes = append(rs.classes, name)
		}
	}
	slices.Sort(rs.classes)
	if len(rs.classes) > 64 {
		errs = append(errs, p.Errorf("app.limits", "join some", "at most 64 rate classes may have paths"))
		return nil, errors.Join(errs...)
	}
	for bit, name := range rs.classes {
		for i, path := range classPaths(p, name) {
			pat, err := policy.ParsePattern(path)
			if err != nil {
				errs = append(errs, p.Errorf(fmt.Sprintf("app.limits.%s.paths[%d]", name, i), "", "%v", err))
				continue
			}
			rs.add(pat, path, entry{class: bit})
		}
	}
	return rs, errors.Join(errs...)
}

// classPaths are the paths that a rate class counts: the built-in ones that take
// secrets are always in the class auth.
func classPaths(p *policy.Policy, name string) []string {
	paths := p.App.Limits[name].Paths
	if name == "auth" && p.KeepsAccounts() && !slices.Contains(paths, policy.SignInPaths) {
		return append(slices.Clone(paths), policy.SignInPaths)
	}
	return paths
}

func setBounds(r *Route, p *policy.Policy, pr policy.Route) {
	r.Body, r.ContentTypes, r.Timeout = int64(p.App.Body), p.App.ContentTypes, p.App.Timeout
	if pr.Body > 0 {
		r.Body = int64(pr.Body)
	}
	if len(pr.ContentTypes) > 0 {
		r.ContentTypes = pr.ContentTypes
	}
	if pr.Timeout > 0 {
		r.Timeout = pr.Timeout
	}
}

// grants reports whether holding the permission has gives want: the same, *
// for all, or notes:* for all that starts with notes: (never a role's name).
func grants(has, want string) bool {
	if !strings.Contains(want, ":") {
		return false
	}
	if prefix, ok := strings.CutSuffix(has, "*"); ok {
		return strings.HasPrefix(want, prefix)
	}
	return has == want
}

func (rs *routes) add(pat policy.Pattern, written string, e entry) {
	if foldCase(written) != written {
		rs.upper = true
	}
	for _, t := range []struct {
		root *node
		fold bool
	}{{rs.exact, false}, {rs.folded, true}} {
		n := t.root
		for _, seg := range pat.Segments {
			if seg == "" {
				if n.any == nil {
					n.any = &node{}
				}
				n = n.any
				continue
			}
			if t.fold {
				seg = foldCase(seg)
			}
			if n.children == nil {
				n.children = map[string]*node{}
			}
			if n.children[seg] == nil {
				n.children[seg] = &node{}
			}
			n = n.children[seg]
		}
		if pat.Subtree {
			n.below = append(n.below, e)
		} else {
			n.here = append(n.here, e)
		}
	}
}

// match finds the route and the set of rate classes. ambiguous is true when
// the path would meet other rules if letter case and Unicode's ways to write one
// character did not matter: an upstream that ignores these would then serve what
// the written rules protect.
func (rs *routes) match(method, path string) (r *Route, classes uint64, ambiguous bool) {
	m := match{method: methodBits[method]}
	m.walk(rs.exact, path)
	if rs.upper || mayFold(path) {
		f := match{method: m.method}
		f.walk(rs.folded, foldCase(path))
		ambiguous = f.route != m.route || f.classes != m.classes
	}
	if m.route == nil {
		m.route = rs.fallback
	}
	return m.route, m.classes, ambiguous
}

// mayFold reports whether foldCase could change s. It is true for all but ASCII
// without capitals.
func mayFold(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' || s[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// foldCase maps letters that some program takes for the same to one: also the
// long s, the Kelvin sign and the Turkish i, which match s, k and i where case
// is ignored by mapping to upper case. Characters that Unicode calls compatible
// are one too (NFKC, UAX #15): file systems and frameworks compose an e and its
// accent, and take letters of full width for ASCII.
// ASCII without capitals is returned as it is.
func foldCase(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return norm.NFKC.String(strings.ToLower(strings.ToUpper(norm.NFKC.String(s))))
		}
	}
	return strings.ToLower(s)
}

type match struct {
	method  methodSet
	route   *Route
	classes uint64
}

// walk visits every pattern node that path, "/..." or "", can reach.
func (m *match) walk(n *node, path string) {
	m.take(n.below)
	if path == "" || path == "/" {
		m.take(n.here)
		return
	}
	seg, rest := path[1:], ""
	if i := strings.IndexByte(seg, '/'); i >= 0 {
		seg, rest = seg[:i], seg[i:]
	}
	if c := n.children[seg]; c != nil {
		m.walk(c, rest)
	}
	if n.any != nil && seg != "" {
		m.walk(n.any, rest)
	}
}

func (m *match) take(entries []entry) {
	for i := range entries {
		e := &entries[i]
		if e.methods != 0 && e.methods&m.method == 0 {
			continue
		}
		if e.route == nil {
			m.classes |= 1 << e.class
		} else if m.route == nil || e.route.order < m.route.order {
			m.route = e.route
		}
	}
}

// classNames lists the rate classes of a set, for explain.
func (rs *routes) classNames(set uint64) (names []string) {
	for ; set != 0; set &= set - 1 {
		names = append(names, rs.classes[bits.TrailingZeros64(set)])
	}
	return names
}
