package openapi_test

import (
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whether two values are equal (JSON Schema 2020-12 core, 4.2.2), asked of
// uniqueItems and of enum.
func TestEqualValues(t *testing.T) {
	d := posting(t, `{type: array, uniqueItems: true}`, "")
	for _, tt := range []struct {
		a, b string
		same bool
	}{
		{`1`, `1.0`, true}, {`-0.0e5`, `0`, true}, {`1e1`, `10`, true}, {`1E-1`, `0.1`, true}, {`-1`, `1`, false}, {`100`, `1`, false},
		{`1`, `"1"`, false}, {`1`, `true`, false}, {`0`, `false`, false}, {`null`, `false`, false}, {`""`, `null`, false}, {`[]`, `{}`, false},
		{`"a"`, `"\u0061"`, true}, {`"é"`, `"e\u0301"`, false},
		{`["a\u0004b"]`, `["a","b"]`, false}, {`["a","bc"]`, `["ab","c"]`, false}, {`[[1],[2]]`, `[[1,2]]`, false}, {`[[],[[]]]`, `[[[]],[]]`, false},
		{`[1,11]`, `[11,1]`, false}, {`[1,23]`, `[12,3]`, false}, {`[1e0]`, `[1]`, true}, {`[null]`, `[]`, false},
		{`{"a":1,"b":2}`, `{"b":2.0,"a":1}`, true}, {`{"a":1}`, `{"a":2}`, false}, {`{"a":"b","c":"d"}`, `{"a":"bc","":"d"}`, false},
		{`{"a":{"b":1}}`, `{"a":{},"b":1}`, false},
	} {
		body := "[" + tt.a + "," + tt.b + "]"
		if got := codes(t, d, request("POST", "/x", "application/json", body), body); (got == "duplicate") != tt.same || got != "" && !tt.same {
			t.Errorf("%s: %q, want equal %t", body, got, tt.same)
		}
		listed := posting(t, `{type: object, properties: {v: {enum: [1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5, `+tt.b+`]}}}`, "")
		body = `{"v":` + tt.a + `}`
		if got := codes(t, listed, request("POST", "/x", "application/json", body), body); (got == "") != tt.same {
			t.Errorf("%s among %s: %q, want equal %t", tt.a, tt.b, got, tt.same)
		}
	}
}

// FuzzEqualNumbers holds the comparison of numbers against math/big.
func FuzzEqualNumbers(f *testing.F) {
	d := posting(f, `{type: array, uniqueItems: true}`, "")
	f.Add("1.50", "15e-1")
	f.Add("-0", "0e7")
	f.Add("1e400", "10e399")
	f.Fuzz(func(t *testing.T, a, b string) {
		body := "[" + a + "," + b + "]"
		var list []json.Number
		if json.Unmarshal([]byte(body), &list) != nil || len(list) != 2 || strings.ContainsAny(body, `"n`) || len(a) > 90 || len(b) > 90 {
			return
		}
		got := codes(t, d, request("POST", "/x", "application/json", body), body)
		if got == "syntax" {
			return // an exponent that is refused
		}
		x, _ := new(big.Rat).SetString(strings.TrimSpace(a))
		y, _ := new(big.Rat).SetString(strings.TrimSpace(b))
		if want := x.Cmp(y) == 0; (got == "duplicate") != want {
			t.Errorf("%s: %q, want equal %t", body, got, want)
		}
	})
}

// Small bodies that are made to cost seconds, and at the usual cap a minute and
// a gigabyte, where a step is a step and an enum is compared value by value.
func TestBodiesThatAreMadeToCost(t *testing.T) {
	many := func(element func(i int) string) string {
		var b strings.Builder
		for i := 0; b.Len() < 30_000; i++ {
			b.WriteString(element(i) + ",")
		}
		return "[" + strings.TrimSuffix(b.String(), ",") + "]"
	}
	deep := func(member string) string {
		return strings.Repeat(`{"c":`, 14) + "{" + member + `,"z":1}` + strings.Repeat("}", 14)
	}
	d := posting(t, `{anyOf: [{$ref: "#/components/schemas/Node"}, {type: array, items: {enum: [`+
		strings.Trim(strings.ReplaceAll(fmt.Sprint(make([]int, 5000)), " ", ","), "[]")+`]}}]}`, `
Node: {anyOf: [{$ref: "#/components/schemas/A"}, {$ref: "#/components/schemas/B"}]}
A: {type: object, properties: &p {c: {$ref: "#/components/schemas/Node"}, z: {type: string}, l: {type: array, items: {type: integer}}, u: {type: array, uniqueItems: true}, s: {type: string, pattern: "^(a|b|ab)*$"}}}
B: {type: object, properties: *p}
`)
	number := func(i int) string { return fmt.Sprint(i) }
	for name, body := range map[string]string{
		"a long string beside a deep fault": deep(`"s":"` + strings.Repeat("ab", 15_000) + `"`),
		"a long list beside a deep fault":   deep(`"l":` + many(func(int) string { return "1" })),
		"a long set beside a deep fault":    deep(`"u":` + many(number)),
		"numbers that a long enum lacks":    many(func(int) string { return "7e300" }),
	} {
		start := processorTime(t)
		if got := codes(t, d, request("POST", "/x", "application/json", body), body); got != "too_complex" && got != "invalid" && got != "no_match" {
			t.Errorf("%s: %q", name, got)
		}
		if took := processorTime(t) - start; took > 5*time.Second {
			t.Errorf("%s took %v", name, took)
		}
	}
}

// processorTime is what this process has used, which other load does not change.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
