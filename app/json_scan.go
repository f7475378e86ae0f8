package app

import (
	"bytes"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// A jsonFault is why a body is not one JSON value that every parser reads alike.
type jsonFault uint8

const (
	jsonClean     jsonFault = iota
	jsonEmpty               // nothing but white space
	jsonMark                // a byte order mark (RFC 8259, 8.1)
	jsonSyntax              // not RFC 8259's grammar
	jsonTrailing            // something after the value
	jsonDeep                // nested deeper than the limit
	jsonDuplicate           // a key twice in one object, letter case aside (RFC 8259, 4)
	jsonForbidden           // __proto__, or constructor.prototype
	jsonEncoding            // not UTF-8
	jsonSurrogate           // \uD800 to \uDFFF not in a pair (RFC 8259, 8.2)
	jsonNumber              // longer than 100 bytes, an exponent beyond 400, or no finite float64
)

// Longest number, and greatest exponent, that are passed on: more is an attack
// on big-number parsers (1e1000000000) and no float64 holds it.
const (
	maxNumber   = 100
	maxExponent = 400
)

// fewKeys is up to how many keys of one object are compared one by one.
const fewKeys = 16

// scanJSON judges b in one pass, without building anything from it, and says at
// which byte it stopped. Arrays and objects may nest maxDepth deep. Time is
// linear in len(b), but for objects of more than 16 keys, which are sorted.
//
// Keys are compared by a hash with a random seed, after undoing escapes and
// case (as encoding/json folds it), so that an attacker cannot make keys
// collide; that two different keys of an object do so by chance is one in 2^64.
func scanJSON(b []byte, maxDepth int) (jsonFault, int) {
	s := scanners.Get().(*jsonScanner)
	s.b, s.i, s.depth = b, 0, maxDepth
	f, at := s.document(), s.i
	s.b, s.keys = nil, s.keys[:0]
	if cap(s.keys) <= 1<<14 {
		scanners.Put(s)
	}
	return f, at
}

var (
	scanners = sync.Pool{New: func() any { return new(jsonScanner) }}
	keySeed  = maphash.MakeSeed()
)

type jsonScanner struct {
	b     []byte
	i     int      // next byte
	depth int      // levels left
	keys  []uint64 // hashes of the keys of every open object, outermost first
	key   []byte   // the last key, unescaped or folded
}

func (s *jsonScanner) document() jsonFault {
	if bytes.HasPrefix(s.b, []byte("\xef\xbb\xbf")) {
		return jsonMark
	}
	s.space()
	if s.i == len(s.b) {
		return jsonEmpty
	}
	if f := s.value(false); f != jsonClean {
		return f
	}
	s.space()
	if s.i < len(s.b) {
		return jsonTrailing
	}
	return jsonClean
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\n', '\r', '\t':
			s.i++
		default:
			return
		}
	}
}

// peek is the next byte, or 0 at the end: no token starts with 0.
func (s *jsonScanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// value scans one value. constructed is true for the value of a key
// "constructor".
func (s *jsonScanner) value(constructed bool) jsonFault {
	switch c := s.peek(); c {
	case '{':
		return s.object(constructed)
	case '[':
		return s.array()
	case '"':
		_, f := s.text()
		return f
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	default:
		if c == '-' || isDigit(c) {
			return s.number()
		}
		return jsonSyntax
	}
}

func (s *jsonScanner) word(w string) jsonFault {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		return jsonSyntax
	}
	s.i += len(w)
	return jsonClean
}

func (s *jsonScanner) array() jsonFault {
	more, f := s.open(']')
	for more && f == jsonClean {
		if f = s.value(false); f == jsonClean {
			more, f = s.next(']')
		}
	}
	return f
}

func (s *jsonScanner) object(constructed bool) jsonFault {
	base := len(s.keys)
	more, f := s.open('}')
	if f != jsonClean {
		return f
	}
	for more {
		if s.peek() != '"' {
			return jsonSyntax
		}
		constructor, f := s.member(base, constructed)
		if f != jsonClean {
			return f
		}
		s.space()
		if s.peek() != ':' {
			return jsonSyntax
		}
		s.i++
		s.space()
		if f = s.value(constructor); f != jsonClean {
			return f
		}
		if more, f = s.next('}'); f != jsonClean {
			return f
		}
	}
	return s.close(base)
}

// open goes into an array or object. more is false when it is empty.
func (s *jsonScanner) open(end byte) (more bool, f jsonFault) {
	if s.depth == 0 {
		return false, jsonDeep
	}
	s.depth--
	s.i++
	s.space()
	return !s.leaves(end), jsonClean
}

// next goes behind a value in an array or object. more is false at its end.
func (s *jsonScanner) next(end byte) (more bool, f jsonFault) {
	s.space()
	if s.leaves(end) {
		return false, jsonClean
	}
	if s.peek() != ',' {
		return false, jsonSyntax
	}
	s.i++
	s.space()
	return true, jsonClean
}

// leaves goes out of an array or object if its end is next.
func (s *jsonScanner) leaves(end byte) bool {
	if s.peek() != end {
		return false
	}
	s.i++
	s.depth++
	return true
}

// member scans the key of an object whose keys start at s.keys[base].
func (s *jsonScanner) member(base int, constructed bool) (constructor bool, f jsonFault) {
	start := s.i
	plain, f := s.text()
	if f != jsonClean {
		return false, f
	}
	raw := s.b[start+1 : s.i-1]
	if !plain {
		s.key = appendUnescaped(s.key[:0], raw)
		raw = s.key
	}
	switch string(raw) {
	case "__proto__":
		return false, jsonForbidden
	case "prototype":
		if constructed {
			return false, jsonForbidden
		}
	case "constructor":
		constructor = true
	}
	s.key = appendFolded(s.key[:0], raw)
	hash := maphash.Bytes(keySeed, s.key)
	if open := s.keys[base:]; len(open) < fewKeys && slices.Contains(open, hash) {
		return false, jsonDuplicate
	}
	s.keys = append(s.keys, hash)
	return constructor, jsonClean
}

// close ends the object whose keys start at s.keys[base].
func (s *jsonScanner) close(base int) jsonFault {
	open := s.keys[base:]
	s.keys = s.keys[:base]
	if len(open) <= fewKeys {
		return jsonClean // each was compared as it came
	}
	slices.Sort(open)
	for i := 1; i < len(open); i++ {
		if open[i] == open[i-1] {
			return jsonDuplicate
		}
	}
	return jsonClean
}

// ordinary marks the bytes that stand for themselves in a string.
var ordinary = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// text scans a string. plain is true when its bytes are its characters.
func (s *jsonScanner) text() (plain bool, f jsonFault) {
	plain = true
	b, i := s.b, s.i+1
	for {
		for i < len(b) && ordinary[b[i]] {
			i++
		}
		s.i = i
		if i == len(b) {
			return false, jsonSyntax
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			return plain, jsonClean
		case c == '\\':
			plain = false
			n, f := escape(b[i:])
			if f != jsonClean {
				return false, f
			}
			i += n
		case c < utf8.RuneSelf:
			return false, jsonSyntax // a control character (RFC 8259, 7)
		default:
			r, n := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && n == 1 {
				return false, jsonEncoding
			}
			i += n
		}
	}
}

// escape measures the escape, or the pair of them, that b starts with.
func escape(b []byte) (n int, f jsonFault) {
	if len(b) < 2 {
		return 0, jsonSyntax
	}
	switch b[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, jsonClean
	case 'u':
	default:
		return 0, jsonSyntax
	}
	r, ok := hex4(b)
	if !ok {
		return 0, jsonSyntax
	}
	if !utf16.IsSurrogate(r) {
		return 6, jsonClean
	}
	if low, ok := hex4(b[6:]); !ok || utf16.DecodeRune(r, low) == unicode.ReplacementChar {
		return 0, jsonSurrogate
	}
	return 12, jsonClean
}

// hex4 reads \uXXXX.
func hex4(b []byte) (r rune, ok bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	for _, c := range b[2:6] {
		switch {
		case isDigit(c):
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// number scans RFC 8259's grammar, section 6, and bounds what it finds.
func (s *jsonScanner) number() jsonFault {
	start := s.i
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else if s.digits() == 0 {
		return jsonSyntax
	}
	if s.peek() == '.' {
		s.i++
		if s.digits() == 0 {
			return jsonSyntax
		}
	}
	exponent := false
	if s.peek()|0x20 == 'e' {
		exponent = true
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		from := s.i
		if s.digits() == 0 {
			return jsonSyntax
		}
		if n, err := strconv.Atoi(string(s.b[from:s.i])); err != nil || n > maxExponent {
			return jsonNumber
		}
	}
	if s.i-start > maxNumber {
		return jsonNumber
	}
	if exponent {
		if v, err := strconv.ParseFloat(string(s.b[start:s.i]), 64); err != nil || math.IsInf(v, 0) {
			return jsonNumber
		}
	}
	return jsonClean
}

func (s *jsonScanner) digits() (n int) {
	for isDigit(s.peek()) {
		s.i++
		n++
	}
	return n
}

// appendUnescaped appends the characters of raw, the inside of a string that
// text has passed.
func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		switch c := raw[i+1]; c {
		case 'u':
			r, _ := hex4(raw[i:])
			i += 6
			if utf16.IsSurrogate(r) {
				low, _ := hex4(raw[i:])
				r = utf16.DecodeRune(r, low)
				i += 6
			}
			dst = utf8.AppendRune(dst, r)
			continue
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}

// appendFolded appends name with letter case undone, by Unicode's simple
// folding: two names are then equal if encoding/json, or another parser that
// ignores case, could take one for the other. dst and name may be the same.
func appendFolded(dst, name []byte) []byte {
	for i := 0; i < len(name); {
		c := name[i]
		if c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(name[i:])
		i += n
		dst = utf8.AppendRune(dst, smallestFold(r))
	}
	return dst
}

// smallestFold is the least rune that folds to the same as r.
func smallestFold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
