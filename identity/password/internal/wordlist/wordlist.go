// Package wordlist knows the most common passwords, and about how common each
// is. It holds no word in clear: the list is sorted sums of 40 bits, in groups
// from the most common to the least. A word that is not on it is taken for one
// that is about once in eight million.
package wordlist

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"sort"
	"strings"

	"golang.org/x/text/unicode/norm"
)

//go:generate go run ./gen

// words is Limits[i] counted as 4 bytes big-endian for each group, then the
// groups, each of them sums in rising order.
//
//go:embed words.bin
var words string

// SumBytes is the size of the sum of a word.
const SumBytes = 5

// Limits are the ranks down to which the groups of the list reach, 1 being the
// most common word. Short words are in the first three groups only, as parts
// of passwords; of the words of 8 characters and more, the list has Whole.
var Limits = [...]int{1_000, 10_000, 50_000, 250_000}

// Whole is the number of words on the list that have 8 characters or more.
const Whole = 100_000

// Fold is the form that words are compared in: composed, in lower case.
func Fold(s string) string { return strings.ToLower(norm.NFC.String(s)) }

// Sum is how a folded word stands on the list.
func Sum(folded string) [SumBytes]byte {
	full := sha256.Sum256([]byte(folded))
	return [SumBytes]byte(full[:SumBytes])
}

// Common reports whether s is on the list, in whatever letter case.
func Common(s string) bool { return Rank(Fold(s)) > 0 }

// Rank is the limit of the group that a folded word is in; 0: in none.
func Rank(folded string) int {
	sum := Sum(folded)
	want := string(sum[:])
	rest := words[4*len(Limits):]
	for i, limit := range Limits {
		n := int(binary.BigEndian.Uint32([]byte(words[4*i : 4*i+4])))
		at := sort.Search(n, func(j int) bool { return rest[j*SumBytes:(j+1)*SumBytes] >= want })
		if at < n && rest[at*SumBytes:(at+1)*SumBytes] == want {
			return limit
		}
		rest = rest[n*SumBytes:]
	}
	return 0
}
