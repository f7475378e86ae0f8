package edge

import "strings"

// A junk is what a path was found to ask for.
type junk struct {
	class   string // "": nothing
	segment int    // index of the first segment that says so; -1: none is to blame, the path itself is
}

// scannerList is the list, compiled. It is safe for concurrent use.
type scannerList struct {
	// quick rules out nearly every segment of ordinary paths: the bit of a
	// length is set for a first letter if some name begins so and is so long.
	// Names longer than 62 bytes are not in the list.
	quick [256]uint64
	names map[string][]place
	kinds map[string]extension
	files map[string]struct{} // archiveNames and the site's
	dumps map[string]struct{}
}

// A place is where a name counts.
type place struct {
	class string
	rest  string // the segments after it, "$": none, "": any
	root  bool   // it is the first
}

type extension uint8

const (
	script extension = 1 + iota
	spare
	archive
)

func newScannerList(site string) *scannerList {
	l := &scannerList{names: map[string][]place{}, kinds: map[string]extension{}, files: setOf(archiveNames), dumps: setOf(dumpFolders)}
	add := func(entry string, p place) {
		first, rest, _ := strings.Cut(entry, "/")
		p.rest = rest
		l.names[first] = append(l.names[first], p)
		l.quick[first[0]] |= 1 << len(first)
	}
	for _, e := range anywhere {
		add(e, place{class: "exploit path"})
	}
	for _, e := range atRoot {
		add(e, place{class: "exploit path", root: true})
	}
	for kind, list := range map[extension][]string{script: scripts, spare: spares, archive: archives} {
		for _, e := range list {
			l.kinds[e] = kind
		}
	}
	l.files[site] = struct{}{}
	for label := range strings.SplitSeq(site, ".") {
		l.files[label] = struct{}{}
	}
	return l
}

func setOf(list []string) map[string]struct{} {
	set := make(map[string]struct{}, len(list))
	for _, e := range list {
		set[e] = struct{}{}
	}
	return set
}

// find judges a path that was decoded once, from a segment on; raw is its escaped form, or "" when
// that is the ordinary one. What is still encoded is decoded twice more, and
// once more where that gave overlong UTF-8. It does not allocate for paths
// without percent signs in their decoded form.
func (l *scannerList) find(path, raw string, from int) junk {
	j, encoded := l.scan(path, raw, from, false)
	var room [512]byte
	for round := 0; j.class == "" && encoded && round < 3; round++ {
		decoded := decodeAgain(room[:0], path)
		if len(decoded) == len(path) {
			break
		}
		path = string(decoded)
		j, encoded = l.scan(path, "", 0, true)
		if j.class != "" {
			j.segment = -1 // nobody encodes twice what he may ask for
		}
	}
	return j
}

// scan looks at each segment once. again: the path had to be decoded again.
func (l *scannerList) scan(path, raw string, from int, again bool) (j junk, encoded bool) {
	depth, index := 0, 0
	wellKnown := false
	for start := 0; start < len(path); {
		end, dot, odd := start, -1, false
		for ; end < len(path); end++ {
			c := path[end]
			if c == '/' || c == '\\' {
				break
			}
			switch {
			case c == '.':
				dot = end
			case c == '%', c == 0xc0, c == 0xc1, c == 0xe0:
				encoded = true
			case c == ';' || c <= ' ' || c == '~':
				odd = true
			}
		}
		segment := path[start:end]
		if segment == "" {
			start = end + 1
			continue
		}
		plain := segment
		if odd {
			plain = trimmed(segment)
			dot = start + strings.LastIndexByte(plain, '.')
			if dot < start {
				dot = -1
			}
		}
		switch {
		case plain == ".":
		case plain == "..":
			depth--
			if depth < 0 || again || len(plain) < len(segment) || start > 0 && path[start-1] == '\\' ||
				end < len(path) && path[end] == '\\' || disguises(raw) {
				return junk{"traversal", -1}, encoded
			}
		default:
			depth++
			if index == 0 && plain == ".well-known" {
				wellKnown = true
			}
			if !wellKnown && index >= from {
				if class := l.judge(path, plain, start, end, dot, index); class != "" {
					return junk{class, index}, encoded
				}
			}
			index++
		}
		start = end + 1
	}
	return junk{}, encoded
}

// judge looks at one segment, path[start:end] without what trimmed takes off;
// dot is the place of its last dot.
func (l *scannerList) judge(path, segment string, start, end, dot, index int) string {
	if segment == "" {
		return ""
	}
	if segment[0] == '.' && isDotfile(segment) {
		return "dotfile"
	}
	if class := l.name(path, segment, end, index); class != "" {
		return class
	}
	if c := segment[len(segment)-1]; '0' <= c && c <= '9' { // phpMyAdmin-5.1.0
		if class := l.name(path, strings.TrimRight(segment, "0123456789.-_"), end, index); class != "" {
			return class
		}
	}
	if dot > start && path[dot-1] != '.' { // main...php compares branches
		return l.file(path, segment, segment[dot-start+1:], end, index)
	}
	return ""
}

// name judges a segment by the list.
func (l *scannerList) name(path, segment string, end, index int) string {
	n := len(segment)
	if n == 0 || n > 62 || l.quick[lower(segment[0])]&(1<<n) == 0 {
		return ""
	}
	var room [64]byte
	for _, p := range l.names[string(lowered(room[:0], segment))] {
		if (!p.root || index == 0) && follows(path[end:], p.rest) {
			return p.class
		}
	}
	return ""
}

// file judges a segment by its extension.
func (l *scannerList) file(path, segment, ext string, end, index int) string {
	kind := l.kind(ext)
	switch kind {
	case 0:
		return ""
	case script:
		return "script"
	}
	stem := segment[:len(segment)-len(ext)-1]
	inner := extension(0)
	if i := strings.LastIndexByte(stem, '.'); i > 0 {
		if inner = l.kind(stem[i+1:]); inner == script {
			return "backup"
		}
		if inner == archive { // .tar.gz
			stem = stem[:i]
		}
	}
	if follows(path[end:], "$") && (index == 0 || index == 1 && l.inDumps(path)) &&
		(kind == spare || inner == spare || l.isArchive(stem)) {
		return "backup"
	}
	return ""
}

func (l *scannerList) kind(ext string) extension {
	if len(ext) > 5 {
		return 0
	}
	var room [8]byte
	return l.kinds[string(lowered(room[:0], ext))]
}

func (l *scannerList) inDumps(path string) bool {
	first, _, _ := strings.Cut(strings.TrimLeft(path, "/\\"), "/")
	_, ok := l.dumps[strings.ToLower(first)]
	return ok
}

func (l *scannerList) isArchive(stem string) bool {
	stem = strings.ToLower(stem)
	_, ok := l.files[strings.TrimRight(stem, "0123456789-_.")]
	return ok || strings.Contains(stem, "backup")
}

// isDotfile is for the few segments that begin with a dot.
func isDotfile(segment string) bool {
	segment = strings.ToLower(segment)
	for _, name := range dotfiles {
		if rest, ok := strings.CutPrefix(segment, name); ok && (rest == "" || rest[0] < 'a' || rest[0] > 'z') {
			return true
		}
	}
	return false
}

// follows reports whether path, "" or from a separator on, begins with the
// segments of rest, in any letter case; $ stands for the path's end.
func follows(path, rest string) bool {
	for rest != "" {
		path = strings.TrimLeft(path, "/\\")
		want, more, _ := strings.Cut(rest, "/")
		if want == "$" {
			return path == ""
		}
		end := strings.IndexAny(path, "/\\")
		if end < 0 {
			end = len(path)
		}
		if !strings.EqualFold(trimmed(path[:end]), want) {
			return false
		}
		path, rest = path[end:], more
	}
	return true
}

// trimmed takes off a segment what servers ignore there: parameters, all from a
// NUL on, blanks and a tilde at its end.
func trimmed(segment string) string {
	if i := strings.IndexAny(segment, ";\x00"); i >= 0 {
		segment = segment[:i]
	}
	end := len(segment)
	for end > 0 && (segment[end-1] <= ' ' || segment[end-1] == '~') {
		end--
	}
	return segment[:end]
}

// disguises reports whether dots and slashes were encoded, which no client does
// by itself.
func disguises(raw string) bool {
	for i := 0; i+2 < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		switch raw[i+1] {
		case '2':
			if c := lower(raw[i+2]); c == 'e' || c == 'f' {
				return true
			}
		case '5':
			if lower(raw[i+2]) == 'c' {
				return true
			}
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

func lowered(b []byte, s string) []byte {
	for i := range len(s) {
		b = append(b, lower(s[i]))
	}
	return b
}
