package openapi_test

import (
	"strings"
	"testing"
)

// What net/http drops of a Cookie header, Express and others read.
func TestTrapCookiesThatGoDrops(t *testing.T) {
	d := parse(t, `
openapi: 3.1.0
paths:
  /x: {get: {parameters: [{name: sid, in: cookie, schema: {type: string, pattern: "^[a-z]+$"}}]}}
`)
	for cookie, want := range map[string]string{
		"":                                   "",
		"sid=abc":                            "",
		`sid="abc"`:                          "",
		"\ta=b; sid =abc; sid=abc":           "cookie/sid duplicate",
		"sid":                                "cookie/sid pattern",
		"sid=ABC":                            "cookie/sid pattern",
		`other="{\"a\":1}"; sid=abc`:         "", // of somebody else's script
		`sidebar="1`:                         "",
		`outsid="1`:                          "",
		`sid=1\2`:                            "cookie/sid syntax",
		`sid="1;2"`:                          "cookie/sid syntax",
		`"sid"=1`:                            "cookie/sid syntax",
		"sid=\xff1":                          "cookie/sid syntax",
		`sid=abc; sid=1\x`:                   "cookie/sid syntax",
		"\xa0sid=1":                          "cookie/sid syntax",
		"\u00a0sid\ufeff=1":                  "cookie/sid syntax",
		"sid= abc":                           "cookie/sid syntax",
		strings.Repeat("a;", 4000) + "sid=1": "cookie/sid pattern",
	} {
		r := request("GET", "/x", "", "")
		if cookie != "" {
			r.Header["Cookie"] = []string{cookie}
		}
		if got := codes(t, d, r, ""); got != want {
			t.Errorf("%.40q: %q, want %q", cookie, got, want)
		}
	}
}

// FuzzCookies: what other programs take for the cookie was judged, or the request
// is refused. They part pairs by semicolons, and forgive blanks and quotes.
func FuzzCookies(f *testing.F) {
	d := parse(f, `
openapi: 3.1.0
paths:
  /x: {get: {parameters: [{name: sid, in: cookie, schema: {type: string, pattern: "^[a-z]+$"}}]}}
`)
	for _, s := range []string{"sid=abc", `sid="1;2"`, "\u00a0sid=1", `"sid"=1; sid=a`, "sid = a ;;", "a=b; sid", "sid=a=1", "SID=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := request("GET", "/x", "", "")
		r.Header["Cookie"] = []string{header}
		if codes(t, d, r, "") != "" {
			return
		}
		for pair := range strings.SplitSeq(header, ";") {
			name, value, ok := strings.Cut(pair, "=")
			if ok && strings.Trim(strings.TrimSpace(name), `"`) == "sid" && strings.Trim(strings.Trim(strings.TrimSpace(value), `"`), "abcdefghijklmnopqrstuvwxyz") != "" {
				t.Errorf("%q passes, and others read %q", header, pair)
			}
		}
	})
}
