package probe_test

import (
	"math"
	"testing"

	"github.com/ringwall/ringwall/check/probe"
)

// TestHSTSIsReadByTheBook holds the reader to RFC 6797, 6.1: the first ones are
// its own examples, of 6.2.
func TestHSTSIsReadByTheBook(t *testing.T) {
	for field, want := range map[string]probe.HSTS{
		`max-age=31536000`:                          {MaxAge: 31536000},
		`max-age=15768000 ; includeSubDomains`:      {MaxAge: 15768000, Subdomains: true},
		`max-age="31536000"`:                        {MaxAge: 31536000},
		`max-age=0`:                                 {},
		`max-age="0"; includeSubDomains`:            {Subdomains: true},
		`max-age="3153600\0"`:                       {MaxAge: 31536000},
		`; ;MAX-AGE = 5	;; includesubdomains;`:      {MaxAge: 5, Subdomains: true},
		`preload; max-age=5; made-up="a;b\"c"; x=y`: {MaxAge: 5},
		`max-age=99999999999999999999`:              {MaxAge: math.MaxInt64},
	} {
		if got, err := probe.ParseHSTS([]string{field}); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", field, got, err, want)
		}
	}
	for name, fields := range map[string][]string{
		"none":                       nil,
		"empty":                      {""},
		"no max-age":                 {"includeSubDomains; preload"},
		"max-age without a value":    {"max-age"},
		"max-age with an empty one":  {"max-age="},
		"max-age with empty quotes":  {`max-age=""`},
		"a quote never closed":       {`max-age="31536000`},
		"a quote never opened":       {`max-age=31536000"`},
		"a quote never closed later": {`max-age=31536000; x="y`},
		"an escape at the end":       {`max-age=31536000; x="y\`},
		"text behind a quote":        {`max-age="31536000"0`},
		"a sign":                     {"max-age=+31536000"},
		"negative":                   {"max-age=-1"},
		"a fraction":                 {"max-age=31536000.5"},
		"letters":                    {"max-age=1y"},
		"space within quotes":        {`max-age=" 31536000"`},
		"twice":                      {"max-age=31536000; max-age=31536000"},
		"twice, in other letters":    {"max-age=31536000; Max-Age=0"},
		"another one twice":          {"max-age=31536000; preload; preload"},
		"a comma for a semicolon":    {"max-age=31536000, includeSubDomains"},
		"no semicolon":               {"max-age=31536000 includeSubDomains"},
		"a value where none belongs": {"max-age=31536000; includeSubDomains=true"},
		"no name":                    {"=31536000; max-age=31536000"},
		"a control character":        {"max-age=31536000; x=\"\x01\""},
		"the second field is right":  {"includeSubDomains", "max-age=31536000"},
	} {
		if got, err := probe.ParseHSTS(fields); err == nil || got != (probe.HSTS{}) {
			t.Errorf("%s: %+v, %v, want an error and nothing", name, got, err)
		}
	}
	if got, err := probe.ParseHSTS([]string{"max-age=5", "max-age=0"}); err != nil || got.MaxAge != 5 {
		t.Errorf("the first of two fields counts (8.1): %+v, %v", got, err)
	}
}

func FuzzHSTS(f *testing.F) {
	for _, s := range []string{"max-age=31536000; includeSubDomains", `max-age="5`, `x="\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h, err := probe.ParseHSTS([]string{s}); err != nil && h != (probe.HSTS{}) || h.MaxAge < 0 {
			t.Errorf("%q: %+v, %v", s, h, err)
		}
	})
}
