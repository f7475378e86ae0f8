package password_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/identity/password"
)

var (
	seventyTwo = strings.Repeat("a", 72)
)

// The argon2 lines come from the reference implementation (its command argon2,
// as "argon2 SALT -id -t T -k KIB -p P -l BYTES -e"; the 64 MiB one is also
// in its test.c), the bcrypt ones from Apache's htpasswd -B ($2y$) and from
// mkpasswd of Debian's whois ($2a$ and $2b$).
var foreign = []struct {
	pw, hash string
	rehash   bool
}{
	{"correct horse", "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$k9ohroejZy1PN5E1SbHNPug6vB8eQAahb5SOAp6iGF4", false},
	{"correct horse", "$argon2id$v=19$m=12288,t=3,p=1$c29tZXNhbHRzb21lc2FsdA$HAhKAW4mV4d9BfQsMDESii84U1n8GZuFrFNAYEXb2vs", true},
	{"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc", true},
	{"Grüße, Welt", "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ$3QEyhSQZkt064INCuKRyREsFLOBDCPfGtchdMcBNN2Q", true},
	{seventyTwo + "x", "$argon2id$v=19$m=64,t=1,p=2$c2FsdHNhbHQxMjM0NTY3OA$hD1RtI321I2CwTjX0xAN6A", true},
	{"correct horse", "$argon2id$v=19$m=67,t=1,p=2$c2FsdHNhbHQxMjM0NTY3OA$R2spam5LXlu6XSYkGLHaOEez0/Wpwt4dIcoNLD0Y0rnuNyLXEvu+3cp/a7criI9A2WJfAQXGksQugRk6nFjIbQ", true},
	{"correct horse", "$2y$04$9D0K0H/57zhCTBqhu/F.G.0eVAW3GM4cqXCADvZFVbZCWwJVGIUMq", true},
	{"correct horse", "$2b$05$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK", true},
	{"correct horse", "$2a$05$LNGO3CCko2oOiGqextAs2.pAK3Uhz4K3DvL7PHpX1Lu.OfH6XKRZG", true},
	{"Grüße, Welt", "$2b$05$cpItuW1PIUl59pjuHSZ6gOCiU5PLvrE/WIm7CAhvSgHmy/i/8z9OW", true},
	{seventyTwo + "x", "$2y$04$8ivqt1FakL.3UVJwJ82.qOWPDlHonDmU/Su2pfbyXeWrgyCy0la1u", true},
	{seventyTwo + "x", "$2b$05$Z6OpJtXxlUs/RwZAKoWwuewZaH5YQSlH4vN63nnFYesnK7J6LBMOS", true},
}

func TestForeignHashesVerify(t *testing.T) {
	p := password.New(password.Options{})
	for _, tt := range foreign {
		if ok, rehash, err := p.Verify(t.Context(), tt.hash, tt.pw); !ok || rehash != tt.rehash || err != nil {
			t.Errorf("%s: right password: %v, rehash %v, %v; want true, rehash %v", tt.hash, ok, rehash, err, tt.rehash)
		}
		if ok, rehash, err := p.Verify(t.Context(), tt.hash, "X"+tt.pw); ok || rehash || err != nil {
			t.Errorf("%s: wrong password: %v, rehash %v, %v; want false, false", tt.hash, ok, rehash, err)
		}
	}
}

// TestTrapByte73 pins what follows bcrypt's 72 bytes: for an imported hash
// nothing, for the argon2id hash that replaces it everything.
func TestTrapByte73(t *testing.T) {
	p := password.New(password.Options{})
	imported := "$2b$05$Z6OpJtXxlUs/RwZAKoWwuewZaH5YQSlH4vN63nnFYesnK7J6LBMOS"
	for _, pw := range []string{seventyTwo + "x", seventyTwo + "y", seventyTwo} {
		if ok, rehash, err := p.Verify(t.Context(), imported, pw); !ok || !rehash || err != nil {
			t.Errorf("bcrypt, %d bytes ending in %q: %v, rehash %v, %v; want true and a rehash", len(pw), pw[len(pw)-1:], ok, rehash, err)
		}
	}
	own, err := p.Hash(t.Context(), seventyTwo+"x")
	if err != nil {
		t.Fatal(err)
	}
	for pw, want := range map[string]bool{seventyTwo + "x": true, seventyTwo + "y": false, seventyTwo: false, seventyTwo + "xx": false} {
		if ok, _, err := p.Verify(t.Context(), own, pw); ok != want || err != nil {
			t.Errorf("argon2id, %d bytes ending in %q: %v, %v; want %v", len(pw), pw[len(pw)-1:], ok, err, want)
		}
	}
}

const (
	salt = "c29tZXNhbHRzb21lc2FsdA"
	sum  = "k9ohroejZy1PN5E1SbHNPug6vB8eQAahb5SOAp6iGF4"
)

// TestStoredHashesAreBounded: a row in the store asks for no more than it may,
// and is read in one spelling only.
func TestStoredHashesAreBounded(t *testing.T) {
	for _, s := range []string{
		"$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=131072,t=4,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=8,t=10,p=1$" + salt + "$" + sum,
		"$argon2id$v=19$m=102400,t=2,p=8$" + salt + "$" + sum,
	} {
		if again, err := password.Parse(s); err != nil || again != s {
			t.Errorf("%s: read as %q, %v", s, again, err)
		}
	}
	for what, s := range map[string]string{
		"4 GiB":                    "$argon2id$v=19$m=4194304,t=2,p=1$" + salt + "$" + sum,
		"more than 32 bits":        "$argon2id$v=19$m=4294967304,t=2,p=1$" + salt + "$" + sum,
		"just over 128 MiB":        "$argon2id$v=19$m=131073,t=1,p=1$" + salt + "$" + sum,
		"11 passes":                "$argon2id$v=19$m=64,t=11,p=1$" + salt + "$" + sum,
		"128 MiB in 5 passes":      "$argon2id$v=19$m=131072,t=5,p=1$" + salt + "$" + sum,
		"17 threads":               "$argon2id$v=19$m=19456,t=2,p=17$" + salt + "$" + sum,
		"256 threads":              "$argon2id$v=19$m=19456,t=2,p=256$" + salt + "$" + sum,
		"no passes":                "$argon2id$v=19$m=19456,t=0,p=1$" + salt + "$" + sum,
		"no threads":               "$argon2id$v=19$m=19456,t=2,p=0$" + salt + "$" + sum,
		"too little for a thread":  "$argon2id$v=19$m=15,t=2,p=2$" + salt + "$" + sum,
		"zeros in front":           "$argon2id$v=19$m=019456,t=2,p=1$" + salt + "$" + sum,
		"a sign":                   "$argon2id$v=19$m=+19456,t=2,p=1$" + salt + "$" + sum,
		"another order":            "$argon2id$v=19$t=2,m=19456,p=1$" + salt + "$" + sum,
		"a fourth parameter":       "$argon2id$v=19$m=19456,t=2,p=1,data=AAAA$" + salt + "$" + sum,
		"no version":               "$argon2id$m=19456,t=2,p=1$" + salt + "$" + sum,
		"the old version":          "$argon2id$v=16$m=19456,t=2,p=1$" + salt + "$" + sum,
		"argon2i":                  "$argon2i$v=19$m=64,t=1,p=1$" + salt + "$" + sum,
		"argon2d":                  "$argon2d$v=19$m=64,t=1,p=1$" + salt + "$" + sum,
		"padding":                  "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "==$" + sum,
		"stray bits":               "$argon2id$v=19$m=19456,t=2,p=1$" + salt[:21] + "B$" + sum,
		"a line end inside":        "$argon2id$v=19$m=19456,t=2,p=1$" + salt[:10] + "\n" + salt[10:] + "$" + sum,
		"a salt of 7 bytes":        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbA$" + sum,
		"a hash of 12 bytes":       "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum[:16],
		"an empty hash":            "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$",
		"something after":          "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum + "$",
		"a space before":           " $argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + sum,
		"one long field":           "$argon2id$v=19$m=19456,t=2,p=1$" + salt + "$" + strings.Repeat("A", 1<<20),
		"the password itself":      "correct horse",
		"an MD5 crypt hash":        "$1$abcdefgh$G/p0jBWwbDPDk9IQmLzLx0",
		"bcrypt at cost 31":        "$2b$31$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK",
		"bcrypt at cost 15":        "$2b$15$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK",
		"bcrypt at cost 3":         "$2b$03$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK",
		"bcrypt cut short":         "$2b$05$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vT",
		"bcrypt with no alphabet":  "$2b$05$V4N4VV1KEiS0shLCjwXNn\x007sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK",
		"bcrypt at cost +5":        "$2b$+5$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK",
		"PHP's broken $2x$ bcrypt": "$2x$05$V4N4VV1KEiS0shLCjwXNn.7sw4cCc2uutC9mhDiaKZ5MeFCOw3vTK",
	} {
		p := password.New(password.Options{})
		var work []password.Work
		p.Watch(func(w password.Work) { work = append(work, w) })
		ok, rehash, err := p.Verify(t.Context(), s, "correct horse")
		if ok || rehash || !errors.Is(err, password.ErrHash) {
			t.Errorf("%s: %v, rehash %v, %v; want false and an ErrHash", what, ok, rehash, err)
		}
		if err != nil && (strings.Contains(err.Error(), salt) || strings.Contains(err.Error(), "V4N4")) {
			t.Errorf("%s: the error shows the hash: %v", what, err)
		}
		if len(work) != 1 || work[0] != (password.Work{Memory: 19456, Time: 2, Threads: 1, Key: 32}) {
			t.Errorf("%s: did %v, want the work of an unknown account", what, work)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, tt := range foreign {
		f.Add(tt.hash)
	}
	f.Add("$argon2id$v=19$m=4294967295,t=4294967295,p=255$" + salt + "$" + sum)
	f.Fuzz(func(t *testing.T, s string) {
		again, err := password.Parse(s)
		if err != nil {
			if !errors.Is(err, password.ErrHash) {
				t.Errorf("%q: %v is no ErrHash", s, err)
			}
			return
		}
		if again != s {
			t.Errorf("%q has two spellings, the other one is %q", s, again)
		}
		p := password.New(password.Options{})
		p.Watch(func(w password.Work) {
			if w.Memory > 128<<10 || w.Memory*w.Time > 512<<10 || w.Memory < 8*uint32(w.Threads) || w.Key > 64 {
				t.Errorf("%q asks for %v", s, w)
			}
		})
		if ok, _, err := p.Verify(t.Context(), s, "x"); ok || err != nil {
			t.Errorf("%q: %v, %v", s, ok, err)
		}
	})
}
