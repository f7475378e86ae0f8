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
