package policy

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Pattern is a parsed path pattern. "/a/b" is that path, with or without a
// slash at its end; "/a/" is /a and all below it; "/" is everything; {name}
// stands for exactly one segment.
type Pattern struct {
	Segments []string // without slashes; "" stands for one segment of any value
	Subtree  bool     // all below it too
}

const longestPath = 4096 // as app.MaxPath

// ParsePattern parses s. A pattern must be canonical, as request paths are: no
// empty or dot segment, no escape, no query.
func ParsePattern(s string) (Pattern, error) {
	if !strings.HasPrefix(s, "/") {
		return Pattern{}, errors.New("a path pattern starts with /")
	}
	if i := strings.IndexAny(s, "%;\\?#*"); i >= 0 {
		return Pattern{}, errors.New("a path pattern is literal: " + s[i:i+1] + " is not allowed")
	}
	if strings.ContainsFunc(s, func(c rune) bool { return c == ' ' || unicode.IsControl(c) }) {
		return Pattern{}, errors.New("a path pattern has no blanks or control characters")
	}
	if !utf8.ValidString(s) {
		return Pattern{}, errors.New("a path pattern is UTF-8")
	}
	if len(s) > longestPath {
		return Pattern{}, errors.New("a path pattern has at most 4096 bytes: no longer path is served")
	}
	var p Pattern
	rest := s[1:]
	if rest == "" {
		return Pattern{Subtree: true}, nil
	}
	if strings.HasSuffix(rest, "/") {
		p.Subtree, rest = true, rest[:len(rest)-1]
	}
	names := map[string]bool{}
	for seg := range strings.SplitSeq(rest, "/") {
		switch {
		case seg == "":
			return Pattern{}, errors.New("a path pattern has no empty segment")
		case seg == "." || seg == "..":
			return Pattern{}, errors.New("a path pattern has no dot segment")
		case strings.HasPrefix(seg, "{") && strings.HasSuffix(seg, "}") && len(seg) > 2 && !strings.ContainsAny(seg[1:len(seg)-1], "{}"):
			if names[seg] {
				return Pattern{}, errors.New("the name " + seg + " stands twice")
			}
			names[seg] = true
			seg = ""
		case strings.ContainsAny(seg, "{}"):
			return Pattern{}, errors.New("{name} stands for a whole segment")
		}
		p.Segments = append(p.Segments, seg)
	}
	return p, nil
}

// Covers reports whether every path that q matches is matched by p too.
func (p Pattern) Covers(q Pattern) bool {
	if q.Subtree && !p.Subtree || len(p.Segments) > len(q.Segments) ||
		!p.Subtree && len(p.Segments) != len(q.Segments) {
		return false
	}
	for i, seg := range p.Segments {
		if seg != "" && seg != q.Segments[i] {
			return false
		}
	}
	return true
}
