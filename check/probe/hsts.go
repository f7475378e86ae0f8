package probe

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// HSTS is what a Strict-Transport-Security header tells browsers.
type HSTS struct {
	MaxAge     int64 // seconds; more than an int64 holds is as much as it holds
	Subdomains bool
}

// ParseHSTS reads the fields of Strict-Transport-Security as RFC 6797, 6.1 and 8.1
// have browsers do: the first field alone counts, each directive is a token with
// at most a token or a quoted string for its value, none stands twice, max-age is
// there, and what is not known is skipped. A field that breaks the grammar is an
// error as a whole, for a browser that reads by the book heeds nothing of it.
func ParseHSTS(fields []string) (h HSTS, err error) {
	if len(fields) == 0 {
		return h, errors.New("there is no such field")
	}
	seen := map[string]bool{}
	s := fields[0]
	for s = skipSpace(s); s != ""; s = skipSpace(s) {
		if s[0] == ';' {
			s = s[1:]
			continue
		}
		n := tokenLength(s)
		if n == 0 {
			return HSTS{}, fmt.Errorf("no directive begins at %.20q", s)
		}
		name, value, given := strings.ToLower(s[:n]), "", false
		s = skipSpace(s[n:])
		if strings.HasPrefix(s, "=") {
			given = true
			if value, s, err = directiveValue(skipSpace(s[1:])); err != nil {
				return HSTS{}, fmt.Errorf("%s: %w", name, err)
			}
			s = skipSpace(s)
		}
		if s != "" && s[0] != ';' {
			return HSTS{}, fmt.Errorf("%s is followed by %.20q, not by a semicolon", name, s)
		}
		if seen[name] {
			return HSTS{}, fmt.Errorf("%s stands there twice", name)
		}
		seen[name] = true
		switch name {
		case "max-age":
			if value == "" || strings.Trim(value, "0123456789") != "" {
				return HSTS{}, fmt.Errorf("max-age %.20q is no number of seconds", value)
			}
			if h.MaxAge, err = strconv.ParseInt(value, 10, 64); err != nil {
				h.MaxAge = math.MaxInt64
			}
		case "includesubdomains":
			if given {
				return HSTS{}, errors.New("includeSubDomains takes no value")
			}
			h.Subdomains = true
		}
	}
	if !seen["max-age"] {
		return HSTS{}, errors.New("max-age is not there")
	}
	return h, nil
}

// directiveValue takes a token or a quoted string from the front of s (RFC 9110,
// 5.6.2 and 5.6.4).
func directiveValue(s string) (value, rest string, err error) {
	if !strings.HasPrefix(s, `"`) {
		n := tokenLength(s)
		if n == 0 {
			return "", s, errors.New("no value follows the equals sign")
		}
		return s[:n], s[n:], nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '"':
			return b.String(), s[i+1:], nil
		case c == '\\' && i+1 < len(s):
			i++
			c = s[i]
		}
		if c < ' ' && c != '\t' || c == 0x7f {
			return "", s, fmt.Errorf("byte %#x in a quoted string", c)
		}
		b.WriteByte(c)
	}
	return "", s, errors.New("a quote is not closed")
}

func skipSpace(s string) string { return strings.TrimLeft(s, " \t") }

// tokenLength is how many bytes of a token s begins with.
func tokenLength(s string) int {
	for i := range len(s) {
		c := s[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return i
		}
	}
	return len(s)
}
