package wordlist_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/identity/password/internal/wordlist"
)

func TestRank(t *testing.T) {
	for word, want := range map[string]int{
		"password": 1_000, "qwerty": 1_000, "123456": 1_000, "dragon": 1_000, "liverpool": 1_000,
		"turnstile": 0, "correct horse battery staple": 0, "kx8#qlp2": 0, "": 0, "a": 0,
		"Password": 0, // not folded
	} {
		if got := wordlist.Rank(word); got != want {
			t.Errorf("Rank(%q) = %d, want %d", word, got, want)
		}
	}
	for _, limit := range wordlist.Limits[1:] {
		if !slices.ContainsFunc([]string{"passwort", "weihnachtsbaum", "gladbeck"}, func(w string) bool { return wordlist.Rank(w) == limit }) {
			t.Errorf("none of the words tried is in the group down to %d", limit)
		}
	}
	for _, word := range []string{"PASSWORD", "pAssWord", "ILoveYou", "123456789", "Passwort", "MOTDEPASSE"} {
		if !wordlist.Common(word) {
			t.Errorf("%q is not common", word)
		}
	}
}

// TestListIsWhole reads the file on its own: each sum is there once, in rising
// order, in the groups that the counts announce.
func TestListIsWhole(t *testing.T) {
	b, err := os.ReadFile("words.bin")
	if err != nil {
		t.Fatal(err)
	}
	head, rest := b[:4*len(wordlist.Limits)], b[4*len(wordlist.Limits):]
	seen := map[string]bool{}
	for i, limit := range wordlist.Limits {
		n := int(binary.BigEndian.Uint32(head[4*i:]))
		before := ""
		for range n {
			sum := string(rest[:wordlist.SumBytes])
			rest = rest[wordlist.SumBytes:]
			if sum <= before {
				t.Fatalf("the group down to %d is not in rising order", limit)
			}
			before, seen[sum] = sum, true
		}
	}
	if len(rest) != 0 {
		t.Errorf("%d bytes after the last group", len(rest))
	}
	// Of 132,000 sums of 40 bits, two meet with a probability of 1 in 130.
	if len(seen) < wordlist.Whole+31_000 {
		t.Errorf("%d sums, want the 100,000 words of 8 characters and 31,000 short ones", len(seen))
	}
}

// TestStrangersAreNotCommon: a mistake is rarer than one in a million.
func TestStrangersAreNotCommon(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		if word := "zx-" + strconv.FormatUint(r.Uint64(), 36); wordlist.Common(word) {
			t.Errorf("%q is taken for common", word)
		}
	}
}

func TestFold(t *testing.T) {
	for in, want := range map[string]string{"ÀB": "àb", "A\u0300b": "àb", "Straße": "straße"} {
		if got := wordlist.Fold(in); got != want {
			t.Errorf("Fold(%q) = %q, want %q", in, got, want)
		}
	}
	if got := wordlist.Fold(strings.Repeat("\xff", 4)); got == "" {
		t.Error("bytes that are no text vanish")
	}
}

func BenchmarkRank(b *testing.B) {
	for b.Loop() {
		wordlist.Rank("kx8#qlp2")
	}
}
