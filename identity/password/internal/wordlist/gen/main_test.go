package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/identity/password/internal/wordlist"
)

func TestCompact(t *testing.T) {
	many := []string{"Short", "short", "ab", "\xff\xff\xff\xff\xff\xff\xff\xff", "A\u0300lphabet"}
	for i := range wordlist.Whole + 10 {
		many = append(many, fmt.Sprintf("password%d", i), fmt.Sprintf("PASSWORD%d", i), fmt.Sprintf("pw%d", i%2+10))
	}
	list, counts, err := compact(many)
	if err != nil {
		t.Fatal(err)
	}
	// The first group: short, the accented word, pw10, pw11 and as many others.
	if want := "[1000 9000 40000 50003]"; fmt.Sprint(counts) != want {
		t.Errorf("groups of %v, want %s", counts, want)
	}
	if want := 16 + wordlist.SumBytes*(wordlist.Whole+3); len(list) != want {
		t.Errorf("%d bytes, want %d: each word of 8 once up to the wanted number, and 3 short ones", len(list), want)
	}
	head := string(list[16 : 16+1000*wordlist.SumBytes])
	for word, want := range map[string]bool{"short": true, "àlphabet": true, "password0": true, "password5000": false} {
		sum := wordlist.Sum(word)
		if strings.Contains(head, string(sum[:])) != want {
			t.Errorf("%q in the first group: %v, want %v", word, !want, want)
		}
	}
	if _, _, err := compact(many[:1000]); err == nil {
		t.Error("too few words, and no error")
	}
}
