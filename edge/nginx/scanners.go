package nginx

import (
	"regexp"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// The list of scanners' paths as regular expressions of nginx, matched in any
// letter case against the path that nginx has decoded once. They are a part of
// what edge/scanners refuses: what is encoded twice, or walks up folders, is the
// ring's to judge, which has nginx hang up as well. They refuse nothing that
// edge/scanners lets pass: that is a test.
//
// nginx takes no argument of more than 4096 bytes, so a long list is several
// expressions.

const (
	sep       = `[/\\]`
	begins    = `^[/\\]+`
	ignored   = `[~\x00-\x20]*(?:;[^/\\]*)?` // what servers ignore at the end of a segment
	ends      = ignored + `(?:[/\\]|$)`
	atEnd     = ignored + `[/\\]*$`
	numbered  = `(?:[0-9._-]*[0-9])?` // phpMyAdmin-5.1.0
	maxRegexp = 3000
)

// scannerRegexps are to be tried in their order.
func scannerRegexps(site string) []string {
	n := edge.Known().Scanners
	var out []string
	add := func(before string, words []string, after string) {
		for _, some := range fitting(words, maxRegexp-len(before)-len(after)) {
			out = append(out, before+"(?:"+strings.Join(some, "|")+")"+after)
		}
	}
	var dot, scripts []string
	for _, name := range n.Dotfiles {
		dot = append(dot, regexp.QuoteMeta(strings.TrimPrefix(name, ".")))
	}
	for _, ext := range n.Scripts {
		scripts = append(scripts, regexp.QuoteMeta(ext))
	}
	script := `\.(?:` + strings.Join(scripts, "|") + `)`
	add(sep+`\.`, dot, `(?:[^a-z]|$)`)
	out = append(out, `[^/\\.]`+script+ends)
	for _, l := range []struct {
		before  string
		entries []string
	}{{sep, n.Anywhere}, {begins, n.AtRoot}} {
		one, several := names(l.entries)
		add(l.before, one, numbered+ends)
		add(l.before, several, "")
	}

	spares, archives := alternatives(n.Spares), alternatives(n.Archives)
	out = append(out, script+`\.(?:`+spares+`|`+archives+`)`+ends)
	folder := begins + `(?:(?:` + alternatives(n.DumpFolders) + `)[/\\]+)?`
	out = append(out, folder+`[^/\\]*[^/\\.]\.(?:`+spares+`)`+atEnd)
	out = append(out, folder+`[^/\\]+\.(?:`+spares+`)\.(?:`+archives+`)`+atEnd)
	files := append(slices.Clone(n.ArchiveNames), site)
	files = append(files, strings.Split(site, ".")...)
	pack := `(?:\.(?:` + archives + `))?\.(?:` + archives + `)` + atEnd
	out = append(out, folder+`(?:`+alternatives(unique(files))+`)[0-9._-]*`+pack)
	out = append(out, folder+`[^/\\]*backup[^/\\]*\.(?:`+archives+`)`+atEnd)
	return out
}

// names are entries of the list: those of one segment, and, with all that may
// stand between, those of several.
func names(entries []string) (one, several []string) {
	for _, e := range entries {
		first, rest, more := strings.Cut(e, "/")
		s := regexp.QuoteMeta(first)
		if !more {
			one = append(one, s)
			continue
		}
		s += numbered
		end := ends
		for part := range strings.SplitSeq(rest, "/") {
			if part == "$" {
				end = atEnd
				break
			}
			s += ignored + `[/\\]+` + regexp.QuoteMeta(part)
		}
		several = append(several, s+end)
	}
	return one, several
}

func alternatives(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = regexp.QuoteMeta(w)
	}
	return strings.Join(quoted, "|")
}

func unique(words []string) []string {
	words = slices.Sorted(slices.Values(words))
	return slices.Compact(words)
}

// fitting splits words so that each part, joined, is no longer than most.
func fitting(words []string, most int) [][]string {
	var out [][]string
	size := most + 1
	for _, w := range words {
		if size+len(w)+1 > most {
			out, size = append(out, nil), 0
		}
		last := len(out) - 1
		out[last] = append(out[last], w)
		size += len(w) + 1
	}
	return out
}

// brokenLines are request lines that nginx itself finds malformed, and that only
// a scanner sends: a path that leads out of the root, and the name of a dotfile or
// a script with a NUL behind it.
func brokenLines() []string {
	n := edge.Known().Scanners
	var dot []string
	for _, name := range n.Dotfiles {
		dot = append(dot, regexp.QuoteMeta(strings.TrimPrefix(name, ".")))
	}
	const point, slash = `(?:\.|%2e)`, `(?:[/\\]|%2f|%5c)`
	return []string{
		`^\S+ [^ ?]*` + slash + point + point + `(?:` + slash + `|[ ?;]|%00)`,
		`^\S+ [^ ?]*` + slash + point + `(?:` + strings.Join(dot, "|") + `)(?:[^a-z ?][^ ?]*)?%00`,
		`^\S+ [^ ?]*` + point + `(?:` + alternatives(n.Scripts) + `)%00`,
	}
}

// ownPaths are expressions, with letter case, of paths that the policy or the
// API's document names although the list has them, or may have. nginx leaves
// them to the ring as a whole, which judges them segment by segment.
func ownPaths(p *policy.Policy, documented []string) []string {
	listed := edge.OnlyScannersAsk(p.Site)
	var own []string
	for _, pattern := range p.Edge.Scanners.Allow {
		re, _, _ := patternRegexp(pattern)
		own = append(own, re)
	}
	add := func(pattern string) {
		re, plain, open := patternRegexp(pattern)
		if _, is := listed(plain); is || open {
			own = append(own, re)
		}
	}
	for _, r := range p.App.Routes {
		add(r.Path)
	}
	for _, path := range documented {
		add(strings.TrimSuffix(path, "/"))
	}
	var joined []string
	for _, some := range fitting(unique(own), maxRegexp) {
		joined = append(joined, "^(?:"+strings.Join(some, "|")+")$")
	}
	return joined
}

// patternRegexp writes a path pattern of the policy, or a path of an OpenAPI
// document, as an expression and as a path that it stands for. open: behind its
// first segment there is one that can be anything.
func patternRegexp(pattern string) (re, path string, open bool) {
	var b strings.Builder
	for i, s := range strings.Split(strings.Trim(pattern, "/"), "/") {
		if strings.Contains(s, "{") {
			open = open || i > 0
			s = "x"
			b.WriteString("/[^/]+")
		} else {
			b.WriteString("/" + regexp.QuoteMeta(s))
		}
		path += "/" + s
	}
	if strings.HasSuffix(pattern, "/") {
		return b.String() + "(?:/.*)?", path, open
	}
	return b.String() + "/?", path, open
}
