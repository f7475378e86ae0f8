package password_test

import (
	"crypto/rand"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/internal/race"
)

func TestHashAndVerify(t *testing.T) {
	p := password.New(password.Options{})
	hash, err := p.Hash(t.Context(), "four unrelated words here")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash is %s, want argon2id with 19 MiB, 2 passes, 1 thread", hash)
	}
	again, err := p.Hash(t.Context(), "four unrelated words here")
	if err != nil || again == hash {
		t.Errorf("the same password twice: the same hash (%v), so the salt is not fresh", err)
	}
	for pw, want := range map[string]bool{
		"four unrelated words here":  true,
		"four unrelated words here ": false,
		"Four unrelated words here":  false,
		"":                           false,
	} {
		if ok, rehash, err := p.Verify(t.Context(), hash, pw); ok != want || rehash || err != nil {
			t.Errorf("Verify(%q) = %v, rehash %v, %v; want %v, false", pw, ok, rehash, err, want)
		}
	}
}

// TestReferenceImplementation runs the reference implementation's command, where
// it is installed (Debian: argon2), with a salt of today: what it makes with
// our parameters verifies and needs no rehash.
func TestReferenceImplementation(t *testing.T) {
	argon2, err := exec.LookPath("argon2")
	if err != nil {
		t.Skip("the command argon2 is not installed")
	}
	cmd := exec.Command(argon2, rand.Text()[:16], "-id", "-t", "2", "-k", "19456", "-p", "1", "-l", "32", "-e")
	cmd.Stdin = strings.NewReader("Grüße, Welt")
	theirs, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	p := password.New(password.Options{})
	if ok, rehash, err := p.Verify(t.Context(), strings.TrimSpace(string(theirs)), "Grüße, Welt"); !ok || rehash || err != nil {
		t.Errorf("%s: %v, rehash %v, %v", theirs, ok, rehash, err)
	}
}

// TestSameTextSamePassword is RFC 8265, section 4.3, and what it leaves to us.
func TestSameTextSamePassword(t *testing.T) {
	p := password.New(password.Options{})
	for _, tt := range []struct {
		what, chosen, typed string
		same                bool
	}{
		{"composed and decomposed", "Gr\u00fc\u00dfe an alle", "Gru\u0308\u00dfe an alle", true},
		{"an ideographic space", "correct\u3000horse", "correct horse", true},
		{"a no-break space", "correct\u00a0horse", "correct horse", true},
		{"letter case", "Correct horse", "correct horse", false},
		{"width", "\uff50assword", "password", false},
		{"a superscript", "e=mc\u00b2 rules", "e=mc2 rules", false},
		{"spaces at the ends", " correct horse ", "correct horse", false},
	} {
		hash, err := p.Hash(t.Context(), tt.chosen)
		if err != nil {
			t.Errorf("%s: %v", tt.what, err)
			continue
		}
		if ok, _, err := p.Verify(t.Context(), hash, tt.typed); ok != tt.same || err != nil {
			t.Errorf("%s: %v, %v; want %v", tt.what, ok, err, tt.same)
		}
	}
}

func TestWhatIsNoTextHasNoHash(t *testing.T) {
	p := password.New(password.Options{})
	for what, tt := range map[string]struct {
		pw   string
		code password.Code
	}{
		"a NUL":                 {"correct\x00horse", password.NotText},
		"a line end":            {"correct horse\n", password.NotText},
		"DEL":                   {"correct\x7fhorse", password.NotText},
		"a C1 control":          {"correct\u0085horse", password.NotText},
		"a line separator":      {"correct\u2028horse", password.NotText},
		"a noncharacter":        {"correct\ufffehorse", password.NotText},
		"invalid UTF-8":         {"correct\xffhorse", password.NotText},
		"a surrogate in UTF-8":  {"correct\xed\xa0\x80horse", password.NotText},
		"more than 1024 bytes":  {strings.Repeat("a", 1025), password.TooLong},
		"a megabyte of accents": {"a" + strings.Repeat("\u0301", 1<<19), password.TooLong},
	} {
		var weak *password.Weak
		if _, err := p.Hash(t.Context(), tt.pw); !errors.As(err, &weak) || weak.Code != tt.code {
			t.Errorf("%s: Hash answers %v, want %s", what, err, tt.code)
		}
		if err := p.Judge(tt.pw); !errors.As(err, &weak) || weak.Code != tt.code {
			t.Errorf("%s: Judge answers %v, want %s", what, err, tt.code)
		}
		if ok, rehash, err := p.Verify(t.Context(), "", tt.pw); ok || rehash || err != nil {
			t.Errorf("%s: Verify answers %v, %v, %v", what, ok, rehash, err)
		}
	}
}

// TestTrapTimingOfUnknownAccounts counts the work: it is the same for an
// account that is there and one that is not, whatever is typed.
func TestTrapTimingOfUnknownAccounts(t *testing.T) {
	known, err := password.New(password.Options{}).Hash(t.Context(), "four unrelated words here")
	if err != nil {
		t.Fatal(err)
	}
	for _, pw := range []string{"", "x", "four unrelated words here", "a control\x00character", "\xff", strings.Repeat("é", 512), strings.Repeat("a", 1025)} {
		var work [2][]password.Work
		for i, hash := range []string{known, ""} {
			p := password.New(password.Options{})
			p.Watch(func(w password.Work) { work[i] = append(work[i], w) })
			if ok, rehash, err := p.Verify(t.Context(), hash, pw); ok || rehash || err != nil {
				t.Errorf("Verify(%q) = %v, %v, %v; want false", pw, ok, rehash, err)
			}
		}
		if !slices.Equal(work[0], work[1]) {
			t.Errorf("%.20q: %v for an account that is there, %v for one that is not", pw, work[0], work[1])
		}
		if want := min(1, (password.MaxBytes+1)/(len(pw)+1)); len(work[0]) != want {
			t.Errorf("%.20q: %d hashes, want %d", pw, len(work[0]), want)
		}
	}
}

// TestUnknownAccountsTakeAsLong compares what really runs, in turns: other load makes
// a single one slower and none quicker, so the quickest of many, and of more while
// they differ.
func TestUnknownAccountsTakeAsLong(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("a comparison of times")
	}
	p := password.New(password.Options{})
	hash, err := p.Hash(t.Context(), "four unrelated words here")
	if err != nil {
		t.Fatal(err)
	}
	quickest := [2]time.Duration{time.Hour, time.Hour}
	apart := func() bool {
		ratio := float64(quickest[0]) / float64(quickest[1])
		return ratio < 0.75 || ratio > 1.33
	}
	for n := 0; n < 15 || n < 150 && apart(); n++ {
		for i, stored := range []string{hash, ""} {
			start := time.Now()
			if ok, _, err := p.Verify(t.Context(), stored, "another password"); ok || err != nil {
				t.Fatal(ok, err)
			}
			quickest[i] = min(quickest[i], time.Since(start))
		}
	}
	if apart() {
		t.Errorf("a wrong password takes %v, an unknown account %v", quickest[0], quickest[1])
	}
}

func TestNothingFitsNobody(t *testing.T) {
	p := password.New(password.Options{})
	p.Watch(func(password.Work) {}) // the sum is all zeros, as is the key here
	zeros := "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat("A", 43)
	if ok, _, err := p.Verify(t.Context(), zeros, "x"); !ok || err != nil {
		t.Fatalf("a sum that fits: %v, %v", ok, err)
	}
	for _, pw := range []string{"x", "", "\x00"} {
		if ok, rehash, err := p.Verify(t.Context(), "", pw); ok || rehash || err != nil {
			t.Errorf("no hash: %v, %v, %v", ok, rehash, err)
		}
	}
	if ok, _, _ := p.Verify(t.Context(), zeros, "\x00"); ok {
		t.Error("what is no text fits")
	}
}
