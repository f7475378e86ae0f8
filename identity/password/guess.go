package password

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ringwall/ringwall/identity/password/internal/wordlist"
)

// enough is how many bits a password must take to guess. 28, about 270 million
// guesses, is 8 random digits refused and 8 random letters let through, and
// two common words refused and three let through.
const enough = 28

// window bounds what is looked at of a long password: its first and its last
// characters, of which the stronger counts.
const window = 64

// A kind is the way in which a piece is guessed.
type kind uint8

const (
	chance kind = iota
	word
	about
	repeat
	row
	date
)

var hints = map[kind]string{
	word:   " It is made of common words with little else.",
	about:  " It is built on your name, your address or the name of this site.",
	repeat: " It repeats itself.",
	row:    " It counts, follows the alphabet or runs along the keyboard.",
	date:   " It is a date with little else.",
}

// guesses estimates, in bits, how many guesses find a password, by the way in
// which the fewest do: cut into pieces, each of which is guessed in its own
// way. It returns the kind of the piece that has most of the password. The
// idea is zxcvbn's (Wheeler, USENIX Security 2016); see docs/decisions.
func guesses(text string, personal []string) (float64, kind) {
	runes := []rune(text)
	if len(runes) <= window {
		return newGuess(runes, personal).cheapest()
	}
	first, why := newGuess(runes[:window], personal).cheapest()
	last, whyLast := newGuess(runes[len(runes)-window:], personal).cheapest()
	if last > first {
		return last, whyLast
	}
	return first, why
}

// A guess is the work on one password of at most window characters. Bits are
// of the piece from i to before j.
type guess struct {
	typed, lower []rune
	personal     []string
	longest      int // characters of the longest of personal
	piece, best  [window + 1][window + 1]float64
	kinds        [window + 1][window + 1]kind
	cut          [window + 1]int // of the best way from 0 to j: where its last piece begins
}

func newGuess(runes []rune, personal []string) *guess {
	g := &guess{typed: runes, lower: make([]rune, len(runes)), personal: personal}
	for i, r := range runes {
		g.lower[i] = unicode.ToLower(r)
	}
	for _, w := range personal {
		g.longest = max(g.longest, utf8.RuneCountInString(w))
	}
	return g
}

// cheapest fills best from short to long, so that a repeated block is already
// estimated when its repetition is. It takes window cubed small steps and as
// many look-ups as there are words within.
func (g *guess) cheapest() (float64, kind) {
	n := len(g.typed)
	for length := 1; length <= n; length++ {
		for i := 0; i+length <= n; i++ {
			j := i + length
			g.piece[i][j], g.kinds[i][j] = g.look(i, j)
			best, cut := g.piece[i][j], i
			for k := i + 1; k < j; k++ {
				// One bit for where and in which order the pieces meet.
				if bits := g.best[i][k] + g.piece[k][j] + 1; bits < best {
					best, cut = bits, k
				}
			}
			g.best[i][j] = best
			if i == 0 {
				g.cut[j] = cut
			}
		}
	}
	var most [date + 1]int
	for j := n; j > 0; j = g.cut[j] {
		most[g.kinds[g.cut[j]][j]] += j - g.cut[j]
	}
	if most[about] > 0 {
		return g.best[0][n], about
	}
	why := chance
	for k, chars := range most {
		if kind(k) != chance && chars > most[why] || why == chance && chars > 0 {
			why = kind(k)
		}
	}
	return g.best[0][n], why
}

// look is the cheapest way to guess the piece as a whole.
func (g *guess) look(i, j int) (bits float64, k kind) {
	for _, r := range g.lower[i:j] {
		bits += alphabet(r)
	}
	k = chance
	cheaper := func(b float64, as kind) {
		if b < bits {
			bits, k = b, as
		}
	}
	if j-i < 3 {
		return bits, k
	}
	piece := g.lower[i:j]
	letters := capitals(g.typed[i:j])
	for _, form := range g.spellings(piece) {
		if slices.Contains(g.personal, form.text) {
			cheaper(3+form.bits+letters, about)
		}
		if j-i <= longestWord {
			if rank := wordlist.Rank(form.text); rank > 0 {
				cheaper(math.Log2(float64(rank))+form.bits+letters, word)
			}
		}
	}
	for p := 1; p <= (j-i)/2; p++ {
		if periodic(piece, p) {
			cheaper(g.best[i][i+p]+math.Log2(float64(j-i))+letters, repeat)
			break
		}
	}
	if b, ok := sequence(piece); ok {
		cheaper(b+letters, row)
	}
	if b, ok := walk(piece); ok {
		cheaper(b+letters, row)
	}
	if b, ok := calendar(piece); ok {
		cheaper(b, date)
	}
	return bits, k
}

// alphabet is what one character takes when nothing is known about it.
func alphabet(r rune) float64 {
	switch {
	case r >= '0' && r <= '9':
		return 3.3
	case r >= 'a' && r <= 'z':
		return 4.7
	default:
		return 5
	}
}

// capitals is what the choice of the capital letters of a piece adds.
func capitals(typed []rune) float64 {
	upper, lower := 0, 0
	for _, r := range typed {
		if unicode.IsUpper(r) {
			upper++
		} else if unicode.IsLower(r) {
			lower++
		}
	}
	switch {
	case upper == 0:
		return 0
	case lower == 0, upper == 1 && unicode.IsUpper(typed[0]), upper == 1 && unicode.IsUpper(typed[len(typed)-1]):
		return 1
	}
	bits, few := 1.0, min(upper, lower)
	for k := range few {
		bits += math.Log2(float64(upper+lower-k) / float64(k+1))
	}
	return bits
}

// longestWord bounds the look-ups; few words on the list are longer, and those
// are found when they are the whole password.
const longestWord = 16

type spelling struct {
	text string
	bits float64 // that it adds to those of the word
}

// spellings are a piece as it stands, backwards, and with the digits and signs
// that stand for letters read as these.
func (g *guess) spellings(piece []rune) []spelling {
	if len(piece) > max(longestWord, g.longest) {
		return nil // longer than any word
	}
	all := make([]spelling, 0, 4)
	all = append(all, spelling{string(piece), 0})
	back := slices.Clone(piece)
	slices.Reverse(back)
	all = append(all, spelling{string(back), 1})
	for _, one := range [...]rune{'i', 'l'} { // what 1, ! and | stand for
		read := strings.Map(func(r rune) rune { return leet(r, one) }, all[0].text)
		if read != all[0].text && read != all[len(all)-1].text {
			all = append(all, spelling{read, 2})
		}
	}
	return all
}

// leet is the letter that a digit or a sign stands for.
func leet(r, one rune) rune {
	switch r {
	case '4', '@':
		return 'a'
	case '8':
		return 'b'
	case '(':
		return 'c'
	case '3', '€':
		return 'e'
	case '6', '9':
		return 'g'
	case '1', '!', '|':
		return one
	case '0':
		return 'o'
	case '5', '$':
		return 's'
	case '7', '+':
		return 't'
	case '2':
		return 'z'
	}
	return r
}

// personal are the words of what a password must not be built on: each
// string's parts and the whole, folded. It is bounded, whatever it is given.
func personal(about []string) []string {
	const mostWords, mostBytes = 64, 256
	var words []string
	add := func(w string) {
		if n := utf8.RuneCountInString(w); n >= 3 && n <= window && len(words) < mostWords && !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	for _, s := range about {
		if len(s) > mostBytes {
			s = s[:mostBytes]
		}
		s = wordlist.Fold(strings.ToValidUTF8(s, ""))
		add(s)
		local, _, mail := strings.Cut(s, "@")
		if mail {
			add(local)
		}
		parts := strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		for i, part := range parts {
			add(part)
			add(strings.TrimFunc(part, unicode.IsDigit)) // alice of alice1990
			if i > 0 {
				add(parts[i-1] + part) // alicesmith of alice.smith
			}
		}
	}
	return words
}
