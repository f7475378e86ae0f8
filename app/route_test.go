package app_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/policy"
)

func routeMatcher(t testing.TB, routes []policy.Route, limits map[string]policy.Limit) app.Matcher {
	t.Helper()
	p := protocolPolicy()
	p.App.Routes = routes
	for name, l := range limits {
		p.App.Limits[name] = l
	}
	m, err := app.NewMatcher(p)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestRouteMatch(t *testing.T) {
	m := routeMatcher(t, []policy.Route{
		0: {Path: "/api/notes/{id}/share", Methods: []string{"POST"}},
		1: {Path: "/api/notes/{id}", Methods: []string{"GET"}},
		2: {Path: "/api/notes/new"}, // its GET is the route before
		3: {Path: "/api/admin/"},
		4: {Path: "/api/{any}/list/"},
		5: {Path: "/api/notes/"},
		6: {Path: "/Mixed/Case"},
		7: {Path: "/straße/"},
		8: {Path: "/caf\u00e9/"},
	}, map[string]policy.Limit{
		"auth":  {Requests: 1, Per: 1e9, Paths: []string{"/api/auth/", "/login"}},
		"write": {Requests: 1, Per: 1e9, Paths: []string{"/api/{any}/list", "/api/"}},
	})
	const none = -1
	tests := []struct {
		method, path string
		route        int
		classes      string
		ambiguous    bool
	}{
		{"GET", "/", none, "", false},
		{"GET", "/api", none, "write", false},
		{"GET", "/apis", none, "", false},
		{"GET", "/api/notes", 5, "write", false},
		{"GET", "/api/notes/", 5, "write", false},
		{"GET", "/api/notes/7", 1, "write", false},
		{"HEAD", "/api/notes/7", 1, "write", false},
		{"GET", "/api/notes/7/", 1, "write", false},
		{"DELETE", "/api/notes/7", 5, "write", false},
		{"GET", "/api/notes/7/share", 5, "write", false},
		{"POST", "/api/notes/7/share", 0, "write", false},
		{"POST", "/api/notes/7/8/share", 5, "write", false},
		{"GET", "/api/notes/new", 1, "write", false},
		{"PUT", "/api/notes/new", 2, "write", false},
		{"TRACE", "/api/notes/new", 2, "write", false},
		{"GET", "/api/notes/list/all", 4, "write", false},
		{"GET", "/api/admin", 3, "write", false},
		{"GET", "/api/admin/list/1", 3, "write", false},
		{"GET", "/api/other/list", 4, "write", false},
		{"GET", "/api//list", none, "write", false}, // never canonical; an empty segment is no {any}
		{"GET", "/api/auth/login", none, "auth write", false},
		{"GET", "/login", none, "auth", false},
		{"GET", "/login/", none, "auth", false},
		{"GET", "/login/x", none, "", false},

		{"GET", "/api/notes/ABC", 1, "write", false}, // the same rules in any case
		{"GET", "/api/ADMIN", none, "write", true},
		{"GET", "/API/admin", none, "", true},
		{"GET", "/Login", none, "", true},
		{"GET", "/Mixed/Case", 6, "", false},
		{"GET", "/mixed/case", none, "", true},
		{"GET", "/straße/1", 7, "", false},
		{"GET", "/STRAẞE/1", none, "", true},
		{"GET", "/api/adm\u0131n", none, "write", true},
		{"GET", "/api/li\u017ft", none, "write", false}, // no rule is for /api/list
		{"GET", "/api/x/li\u017ft", none, "write", true},

		// UAX #15: one text in several spellings.
		{"GET", "/api/\uff41dmin", none, "write", true},       // full width
		{"GET", "/api\uff0fadmin", none, "", true},            // a slash of full width
		{"GET", "/api/\u24d0dmin", none, "write", true},       // in a circle
		{"GET", "/api/\U0001d41admin/x", none, "write", true}, // bold, of mathematics
		{"GET", "/cafe\u0301/x", none, "", true},              // an e and its accent
		{"GET", "/caf\u00e9/x", 8, "", false},
		{"GET", "/api/notes/cafe\u0301", 1, "write", false}, // the same rules in any spelling
	}
	for _, tt := range tests {
		route, classes, ambiguous := m.Match(tt.method, tt.path)
		if route != tt.route || strings.Join(classes, " ") != tt.classes || ambiguous != tt.ambiguous {
			t.Errorf("%s %s: route %d, classes %q, ambiguous %v; want %d, %q, %v",
				tt.method, tt.path, route, classes, ambiguous, tt.route, tt.classes, tt.ambiguous)
		}
	}
}

func TestRoutePolicyErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		routes []policy.Route
		at     string
	}{
		"pattern":        {[]policy.Route{{Path: "/a"}, {Path: "/a//b"}}, "app.routes[1].path"},
		"letter case":    {[]policy.Route{{Path: "/a/b"}, {Path: "/c"}, {Path: "/A/b"}}, "app.routes[2].path"},
		"unknown method": {[]policy.Route{{Path: "/a", Methods: []string{"GET", "get"}}}, "app.routes[0].methods[1]"},
	} {
		p := protocolPolicy(func(p *policy.Policy) { p.App.Routes = tt.routes })
		if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil || !strings.Contains(err.Error(), tt.at) {
			t.Errorf("%s: %v, want an error at %s", name, err, tt.at)
		}
	}
	same := []policy.Route{{Path: "/a", Methods: []string{"GET"}, Allow: []string{"anyone"}}, {Path: "/a", Allow: []string{"signed-in"}}}
	if _, err := app.New(protocolPolicy(func(p *policy.Policy) { p.App.Routes = same }), http.NotFoundHandler(), app.Deps{}); err != nil {
		t.Errorf("one path for several methods: %v", err)
	}
}

// routeMatches says of one pattern what policy.Route's documentation says, and
// nothing else.
func routeMatches(pattern, path string) bool {
	path = strings.TrimSuffix(path, "/")
	subtree := strings.HasSuffix(pattern, "/")
	want := strings.Split(strings.TrimSuffix(pattern, "/"), "/")
	got := strings.Split(path, "/")
	if len(got) < len(want) || len(got) > len(want) && !subtree {
		return false
	}
	for i := range want {
		if want[i] != got[i] && !(strings.HasPrefix(want[i], "{") && got[i] != "") {
			return false
		}
	}
	return true
}

// The tree finds what a walk over the list finds.
func TestRouteMatchIsTheFirstOfTheList(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "ab", "c"})
	methods := rapid.SampledFrom([][]string{nil, {"GET"}, {"POST"}, {"POST", "DELETE"}, {"HEAD"}})
	pattern := rapid.Custom(func(t *rapid.T) string {
		var b strings.Builder
		for i := range rapid.IntRange(0, 4).Draw(t, "depth") {
			if rapid.Bool().Draw(t, "any") {
				fmt.Fprintf(&b, "/{p%d}", i)
			} else {
				b.WriteString("/" + segment.Draw(t, "segment"))
			}
		}
		if b.Len() == 0 || rapid.Bool().Draw(t, "subtree") {
			b.WriteByte('/')
		}
		return b.String()
	})
	rapid.Check(t, func(t *rapid.T) {
		p := policy.Default()
		p.App.Limits = map[string]policy.Limit{"global": {}}
		p.App.Routes = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) policy.Route {
			return policy.Route{Path: pattern.Draw(t, "path"), Methods: methods.Draw(t, "methods")}
		}), 0, 12).Draw(t, "routes")
		for _, name := range []string{"one", "two"} {
			p.App.Limits[name] = policy.Limit{Paths: rapid.SliceOfN(pattern, 1, 3).Draw(t, name)}
		}
		m, err := app.NewMatcher(p)
		if err != nil {
			t.Fatal(err)
		}
		path := "/" + strings.Join(rapid.SliceOfN(segment, 0, 5).Draw(t, "path"), "/")
		if path != "/" && rapid.Bool().Draw(t, "slash") {
			path += "/"
		}
		method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "DELETE", "BREW"}).Draw(t, "method")

		want := slices.IndexFunc(p.App.Routes, func(r policy.Route) bool {
			return routeMatches(r.Path, path) && (len(r.Methods) == 0 || slices.Contains(r.Methods, method) ||
				method == "HEAD" && slices.Contains(r.Methods, "GET"))
		})
		var classes []string
		for _, name := range []string{"one", "two"} {
			if slices.ContainsFunc(p.App.Limits[name].Paths, func(s string) bool { return routeMatches(s, path) }) {
				classes = append(classes, name)
			}
		}
		got, gotClasses, ambiguous := m.Match(method, path)
		if got != want || !slices.Equal(gotClasses, classes) || ambiguous {
			t.Fatalf("%s %s: route %d, classes %v, ambiguous %v; want %d, %v", method, path, got, gotClasses, ambiguous, want, classes)
		}

		// In another letter case it is the same or it is refused.
		upper := strings.ToUpper(path)
		asWritten := slices.IndexFunc(p.App.Routes, func(r policy.Route) bool {
			return routeMatches(r.Path, upper) && (len(r.Methods) == 0 || slices.Contains(r.Methods, method) ||
				method == "HEAD" && slices.Contains(r.Methods, "GET"))
		})
		if got, _, ambiguous := m.Match(method, upper); !ambiguous && got != want || got != asWritten {
			t.Fatalf("%s %s: route %d, ambiguous %v; %s is route %d", method, upper, got, ambiguous, path, want)
		}
	})
}

func TestRouteMatchAllocates(t *testing.T) {
	m := routeMatcher(t, routeThousand(), nil)
	if n := testing.AllocsPerRun(100, func() { m.Match("GET", "/api/v1/resource-500/42/items/7") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func routeThousand() (routes []policy.Route) {
	for i := range 250 {
		base := fmt.Sprintf("/api/v1/resource-%d", i*2)
		routes = append(routes, policy.Route{Path: base}, policy.Route{Path: base + "/{id}", Methods: []string{"GET"}},
			policy.Route{Path: base + "/{id}/items/{item}"}, policy.Route{Path: base + "/"})
	}
	return append(routes, policy.Route{Path: "/{any}/{thing}/"})
}

func BenchmarkRouteMatch(b *testing.B) {
	m := routeMatcher(b, routeThousand(), nil)
	for _, path := range []string{"/", "/api/v1/resource-498/42/items/7", "/api/v1/resource-498/4F/items/7"} {
		b.Run(path, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Match("GET", path)
			}
		})
	}
}
