package identity_test

import (
	"net/mail"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/identity"
)

func TestNormalizeEmail(t *testing.T) {
	long := strings.Repeat("a", 63)
	for in, want := range map[string]string{
		"ada@example.com":                                  "ada@example.com",
		" Ada.Lovelace@EXAMPLE.com\r\n":                    "ada.lovelace@example.com",
		"a.d.a+tag@gmail.com":                              "a.d.a+tag@gmail.com", // no provider's own rules
		"o'neil@example.com":                               "o'neil@example.com",
		"!#$%&'*+-/=?^_`{|}~@x.example":                    "!#$%&'*+-/=?^_`{|}~@x.example",
		"x@BÜCHER.example":                                 "x@xn--bcher-kva.example", // RFC 5891's way of writing it
		"x@bu\u0308cher.example":                           "x@xn--bcher-kva.example", // decomposed: NFC
		"x@xn--bcher-kva.example":                          "x@xn--bcher-kva.example",
		"x@faß.example":                                    "x@xn--fa-hia.example", // IDNA 2008, not 2003
		"x@example。com":                                    "x@example.com",        // UTS 46 maps the ideographic full stop
		"Jose\u0301@example.com":                           "jos\u00e9@example.com",
		"用户@例子.广告":                                         "用户@xn--fsqu00a.xn--4rr70v",
		"\u212aim@example.com":                             "kim@example.com", // the Kelvin sign is a K (NFC)
		long + "a@example.com":                             long + "a@example.com",
		"a@" + long + "." + long + "." + long + ".example": "a@" + long + "." + long + "." + long + ".example",
	} {
		got, err := identity.NormalizeEmail(in)
		if err != nil || got != want {
			t.Errorf("%q became %q, %v; want %q", in, got, err, want)
			continue
		}
		if again, err := identity.NormalizeEmail(got); err != nil || again != got {
			t.Errorf("%q is not its own normal form: %q, %v", got, again, err)
		}
	}
}

func TestNormalizeEmailRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "@", "a@", "@example.com", "a", "example.com",
		"a@localhost", "a@example", "a@.com", "a@example.", "a@example..com", "a@-example.com", "a@exam_ple.com",
		"a@[192.0.2.1]", "a@192.0.2.1", "a@[IPv6:::1]", "a@example.123",
		"a b@example.com", "a@exam ple.com", "a..b@example.com", ".a@example.com", "a.@example.com",
		`"a b"@example.com`, `"a"@example.com`, "a@b@example.com", "a(comment)@example.com", "<a@example.com>", "Ada <a@example.com>",
		"a@example.com, b@example.com", "a@example.com;b@example.com", "a@example.com b@example.com",
		"a\r\nBcc: x@evil.example\r\n@example.com", "a@example.com\r\nBcc: x@evil.example", "a\x00@example.com", "a@exam\x00ple.com", "a\x7f@example.com",
		"a\u202e@example.com", "a\u200b@example.com", "a\u00ad@example.com", "\ufeffa@example.com", "a\u2028@example.com",
		"a\ufe0f@example.com", "a\u034f@example.com", "\u3164a@example.com", "\uffa0a@example.com",
		"a@exam\u202eple.com", "a\xff@example.com", "a@\xff.com",
		strings.Repeat("a", 65) + "@example.com", "a@" + strings.Repeat("a", 64) + ".com",
		"a@" + strings.Repeat(strings.Repeat("a", 60)+".", 4) + "example.com", strings.Repeat("a", 1<<20) + "@example.com",
		strings.Repeat("é", 33) + "@example.com", // 66 bytes
	} {
		if got, err := identity.NormalizeEmail(in); err == nil {
			t.Errorf("%.60q became %q", in, got)
		}
	}
	if _, err := identity.NormalizeEmail("canary@localhost"); strings.Contains(err.Error(), "canary") {
		t.Errorf("the error repeats the input: %v", err)
	}
}

// net/mail is the oracle: what is accepted is one plain address that it reads
// as the same.
func FuzzNormalizeEmail(f *testing.F) {
	for _, s := range []string{"ada@example.com", "x@BÜCHER.example", "İ@example.com", "ſ@example.com", "a\u0345@example.com", "\"a\"@b.c", "a@b.c\r\nBcc: d@e.f"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := identity.NormalizeEmail(in)
		if err != nil {
			return
		}
		a, err := mail.ParseAddress(got)
		if err != nil || a.Address != got || a.Name != "" {
			t.Fatalf("%q became %q, which net/mail reads as %+v, %v", in, got, a, err)
		}
		if again, err := identity.NormalizeEmail(got); err != nil || again != got {
			t.Fatalf("%q became %q, and that %q, %v", in, got, again, err)
		}
		if len(got) > 254 || strings.ContainsAny(got, "\r\n\x00 <>,;") {
			t.Fatalf("%q became %q", in, got)
		}
	})
}
