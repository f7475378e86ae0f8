package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// An Error is one mistake in a policy. It never holds the value of a secret.
type Error struct {
	File   string // the policy file, or the environment variable that gave the value
	Line   int    // 1-based; 0 when the mistake has no place in the file
	Column int    // 1-based, in characters
	Path   string // of the key, such as app.cors.origins[0]; "" for the whole file
	Reason string // what is wrong
	Hint   string // what to do; may be ""
	Source string // the line of the file, without its end

	cause error
}

// Error gives the place, the reason, the line with a caret under the value, and
// the hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
		}
		b.WriteString(": ")
	}
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Reason)
	if e.Line > 0 {
		source, pad := excerpt(e.Source, e.Column)
		b.WriteString("\n  " + source + "\n  " + pad + "^")
	}
	if e.Hint != "" {
		b.WriteString("\n  hint: " + e.Hint)
	}
	return b.String()
}

// Unwrap returns the error that Errorf was given with %w, if any.
func (e *Error) Unwrap() error { return e.cause }

// Width of a source line in a message, in characters.
const excerptWidth = 100

// excerpt cuts a long line around the column and returns the blanks that put a
// caret below it. Control characters never reach the terminal.
func excerpt(line string, column int) (text, pad string) {
	runes := []rune(line)
	at := max(column-1, 0)
	from := 0
	if len(runes) > excerptWidth {
		from = min(max(0, at-excerptWidth/2), len(runes)-excerptWidth)
		runes = runes[from : from+excerptWidth]
	}
	for i, r := range runes {
		if r == '\t' {
			runes[i] = ' '
		} else if unprintable(r) || r == utf8.RuneError {
			runes[i] = '?'
		}
	}
	return strings.TrimRight(string(runes), " "), strings.Repeat(" ", at-from)
}

// Errors are all mistakes of a policy, by their place in the file; those of
// the environment come last.
type Errors []*Error

// Most mistakes that one message prints.
const maxPrinted = 50

func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i == maxPrinted {
			fmt.Fprintf(&b, "\nand %d more", len(es)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap makes each Error visible to errors.As and errors.Is.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

func (es Errors) sort(file string) {
	rank := func(e *Error) int {
		if e.File == file {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(es, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(rank(a), rank(b)),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}

// Nearest returns the candidate that word most likely means, or "".
func Nearest(word string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, c := range candidates {
		if fold(c) == fold(word) {
			return c
		}
		if len(c) > 2 && len(word) > 2 && (strings.HasPrefix(word, c) || strings.HasPrefix(c, word)) && bestDistance > 1 {
			best, bestDistance = c, 2
		}
		if d := distance(word, c, bestDistance); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// fold drops what people write in different ways in a name.
func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "").Replace(s))
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours between a and b, and gives up at limit.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, row, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return row[len(b)]
}
