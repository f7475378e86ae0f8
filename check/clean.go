package check

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText is the longest text of a finding, in characters.
const maxText = 400

func (r *Result) clean() {
	r.Meta.clean()
	for _, s := range []*string{&r.Got, &r.Want, &r.Fix} {
		*s = clean(*s)
	}
	// Copies: checks that share an answer share its evidence, too, and end at once.
	r.Evidence, r.Addresses = slices.Clone(r.Evidence), slices.Clone(r.Addresses)
	if gone := len(r.Evidence) - maxExchanges; gone > 0 {
		r.Evidence = append(r.Evidence[:1], r.Evidence[1+gone:]...)
		r.Evidence[1].Sent = fmt.Sprintf("[%d more before this]\n", gone) + r.Evidence[1].Sent
	}
	for i, a := range r.Addresses {
		r.Addresses[i] = clean(a)
	}
	for i, e := range r.Evidence {
		r.Evidence[i] = Exchange{cleanLines(e.Sent), cleanLines(e.Received)}
	}
}

func (in *Inside) clean() {
	in.Meta.clean()
	in.How = clean(in.How)
}

func (h *Host) clean() *Host {
	if h == nil {
		return nil
	}
	out := Host{Name: clean(h.Name), Site: clean(h.Site), Addresses: []string{}}
	for _, a := range h.Addresses {
		out.Addresses = append(out.Addresses, clean(a))
	}
	return &out
}

func (m *Meta) clean() {
	for _, s := range []*string{&m.ID, &m.Title, &m.Why, &m.Ref, &m.Layer} {
		*s = clean(*s)
	}
}

// Of evidence that is much, the first exchange and the last ones are kept.
const (
	maxExchanges = 4
	maxLines     = 40
)

// cleanLines is clean for text of several lines: at most 40 of them, and how many
// more there were.
func cleanLines(s string) string {
	s = strings.TrimRight(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	lines := strings.Split(s, "\n")
	if gone := len(lines) - maxLines; gone > 1 {
		lines = append(lines[:maxLines:maxLines], fmt.Sprintf("[%d more lines]", gone))
	}
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n")
}

// clean makes text that may hold a hostile target's bytes safe to print and to
// store: one line, at most 400 characters, valid UTF-8. Control characters
// (terminal escapes among them), and characters that are invisible or turn the
// direction of writing, are shown as \xNN or \uNNNN.
func clean(s string) string {
	if isClean(s) {
		return s
	}
	var b strings.Builder
	for n, i := 0, 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		shown := string(r)
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			shown = " "
		case r == utf8.RuneError && size == 1, r < ' ', 0x7f <= r && r < 0xa0:
			shown = fmt.Sprintf(`\x%02x`, s[i+size-1])
		case !unicode.IsPrint(r):
			shown = fmt.Sprintf(`\u%04x`, r)
		}
		if n += utf8.RuneCountInString(shown); n > maxText {
			b.WriteString("…")
			break
		}
		b.WriteString(shown)
		i += size
	}
	return b.String()
}

func isClean(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return len(s) <= maxText
}
