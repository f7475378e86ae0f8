package policy_test

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/policy"
)

func TestParsePattern(t *testing.T) {
	for s, want := range map[string]policy.Pattern{
		"/":                {Subtree: true},
		"/a":               {Segments: []string{"a"}},
		"/a/":              {Segments: []string{"a"}, Subtree: true},
		"/a/b":             {Segments: []string{"a", "b"}},
		"/a/{id}":          {Segments: []string{"a", ""}},
		"/{a}/{b}/":        {Segments: []string{"", ""}, Subtree: true},
		"/.well-known/x":   {Segments: []string{".well-known", "x"}},
		"/a..b/...":        {Segments: []string{"a..b", "..."}},
		"/café":            {Segments: []string{"café"}},
		"/a!$&'()+,=:@~-_": {Segments: []string{"a!$&'()+,=:@~-_"}},
	} {
		got, err := policy.ParsePattern(s)
		if err != nil || got.Subtree != want.Subtree || !slices.Equal(got.Segments, want.Segments) {
			t.Errorf("%q: got %+v, %v; want %+v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "a", "a/", "*", "//", "///", "/a//", "/a//b", "//a", "/.", "/..", "/a/./b", "/a/../b", "/./", "/a/..",
		"/a%20b", "/%2e%2e", "/a;b", `/a\b`, "/a?b", "/a#b", "/a*", "/*", "/a b", "/a\tb", "/a\x00", "/a\x7f", "/a\u0085b", "/\xff", "/a\n",
		"/{}", "/{a", "/a}", "/a{b}", "/{a}b", "/{{a}}", "/{a}{b}", "/{a}/{a}", "/{a/b}", "/ ", "http://a/b",
		"/" + strings.Repeat("a", 4096),
	} {
		if _, err := policy.ParsePattern(s); err == nil {
			t.Errorf("%.40q was parsed", s)
		}
	}
}

func TestPatternCovers(t *testing.T) {
	for _, tt := range []struct {
		p, q string
		want bool
	}{
		{"/", "/", true},
		{"/", "/a/{b}/", true},
		{"/a/", "/", false},
		{"/a", "/a", true},
		{"/a", "/a/", false},
		{"/a/", "/a", true},
		{"/a/", "/a/b", true},
		{"/a/", "/ab", false},
		{"/a/b", "/a", false},
		{"/{x}", "/a", true},
		{"/a", "/{x}", false},
		{"/{x}", "/{y}", true},
		{"/{x}", "/a/b", false},
		{"/{x}/", "/a/b", true},
		{"/{x}/b", "/a/b", true},
		{"/{x}/b", "/a/{y}", false},
		{"/A", "/a", false},
	} {
		p, err := policy.ParsePattern(tt.p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := policy.ParsePattern(tt.q)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Covers(q); got != tt.want {
			t.Errorf("%s covers %s: got %v", tt.p, tt.q, got)
		}
	}
}

// patternMatches says what Pattern's documentation says of one path.
func patternMatches(p policy.Pattern, path []string) bool {
	if len(path) < len(p.Segments) || len(path) > len(p.Segments) && !p.Subtree {
		return false
	}
	for i, seg := range p.Segments {
		if seg != "" && seg != path[i] {
			return false
		}
	}
	return true
}

// A pattern covers another when no path tells them apart, and only then.
func TestPatternCoversEveryPath(t *testing.T) {
	segment := rapid.SampledFrom([]string{"a", "b", "{x}"})
	draw := func(t *rapid.T, label string) policy.Pattern {
		var b strings.Builder
		for i, seg := range rapid.SliceOfN(segment, 0, 3).Draw(t, label) {
			if seg == "{x}" {
				seg = "{" + strings.Repeat("x", i+1) + "}"
			}
			b.WriteString("/" + seg)
		}
		if b.Len() == 0 || rapid.Bool().Draw(t, "subtree") {
			b.WriteByte('/')
		}
		p, err := policy.ParsePattern(b.String())
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	// All paths of up to four segments; c stands for every name in no pattern.
	paths := [][]string{{}}
	for start := 0; len(paths[start]) < 4; start++ {
		for _, seg := range []string{"a", "b", "c"} {
			paths = append(paths, append(slices.Clone(paths[start]), seg))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p, q := draw(t, "p"), draw(t, "q")
		want := !slices.ContainsFunc(paths, func(path []string) bool {
			return patternMatches(q, path) && !patternMatches(p, path)
		})
		if got := p.Covers(q); got != want {
			t.Fatalf("%+v covers %+v: got %v, want %v", p, q, got, want)
		}
	})
}

func FuzzParsePattern(f *testing.F) {
	for _, s := range []string{"/", "/a/{b}/", "/a//b", "/{a}/{a}", "/%2e", "/\xff", "/a\u0085"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := policy.ParsePattern(s)
		if err != nil {
			return
		}
		if !p.Covers(p) {
			t.Fatalf("%q does not cover itself", s)
		}
		// Written out again it is the same pattern.
		var b strings.Builder
		for i, seg := range p.Segments {
			if seg == "" {
				seg = "{" + strings.Repeat("x", i+1) + "}"
			}
			b.WriteString("/" + seg)
		}
		if p.Subtree {
			b.WriteByte('/')
		}
		again, err := policy.ParsePattern(b.String())
		if err != nil || again.Subtree != p.Subtree || !slices.Equal(again.Segments, p.Segments) {
			t.Fatalf("%q is %+v; written out as %q it is %+v, %v", s, p, b.String(), again, err)
		}
	})
}
