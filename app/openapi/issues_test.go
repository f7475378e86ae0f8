package openapi_test

import (
	"fmt"
	"strings"
	"testing"
)

// What the client wrote does not come back.
func TestIssuesRepeatNothing(t *testing.T) {
	const canary = "canary-3d9f"
	d := posting(t, `{type: object, properties: {s: {type: string, maxLength: 3, pattern: "^a"}, n: {type: integer}, e: {enum: [a]}, c: {const: a}, f: {format: uuid}, m: {type: object, additionalProperties: {type: integer}, propertyNames: {maxLength: 2}}, u: {type: array, uniqueItems: true, contains: {const: a}}, o: {oneOf: [{type: integer}, {const: b}]}}}`, "")
	body := `{"` + canary + `":1,"s":"` + canary + `","n":"` + canary + `","e":"` + canary + `","c":"` + canary + `","f":"` + canary + `","m":{"` + canary + `":"` + canary + `"},"u":["` + canary + `","` + canary + `"],"o":"` + canary + `"}`
	issues := d.Check(request("POST", "/x?"+canary+"="+canary, "application/json", body), "/x", []byte(body))
	if len(issues) < 10 {
		t.Errorf("%d issues: %+v", len(issues), issues)
	}
	if strings.Contains(fmt.Sprint(issues), canary) {
		t.Errorf("%+v", issues)
	}
}

func TestIssuesAreBounded(t *testing.T) {
	d := posting(t, `{type: array, items: {type: object, required: [a], properties: {a: {type: integer}}}}`, "")
	for n, want := range map[int]string{5_000: "/0/a", 60_000: ""} { // of the latter it is only said that they are wrong
		body := "[" + strings.Repeat("{},", n) + "{}]"
		issues := d.Check(request("POST", "/x", "application/json", body), "/x", []byte(body))
		if len(issues) == 0 || len(issues) > 20 || issues[0].Path != want {
			t.Errorf("%d elements: %d issues, %+v", n, len(issues), issues)
		}
	}
}

// Each level of such a value is judged in every branch: without an end, 2^16
// times at 16 levels.
func TestIssuesOfExplodingSchemas(t *testing.T) {
	d := posting(t, `{$ref: "#/components/schemas/Expr"}`, `
Expr: {oneOf: [{$ref: "#/components/schemas/And"}, {$ref: "#/components/schemas/Or"}, {$ref: "#/components/schemas/Xor"}, {type: integer}]}
And: {type: object, properties: {op: {const: and}, of: {type: array, items: {$ref: "#/components/schemas/Expr"}}}}
Or:  {type: object, properties: {op: {const: or},  of: {type: array, items: {$ref: "#/components/schemas/Expr"}}}}
Xor: {type: object, properties: {op: {const: xor}, of: {type: array, items: {$ref: "#/components/schemas/Expr"}}}}
`)
	// Deep down all depends on which member of an object is looked at first.
	for levels, want := range map[int]string{1: "no_match", 3: "no_match", 20: "too_complex, invalid"} {
		body := strings.Repeat(`{"op":"and","of":[`, levels) + `"x"` + strings.Repeat("]}", levels)
		if got := codes(t, d, request("POST", "/x", "application/json", body), body); got == "" || !strings.Contains(want, got) {
			t.Errorf("%d levels: %q, want %q", levels, got, want)
		}
	}
	// Judges come back, whatever they met.
	for range 100 {
		if got := codes(t, d, request("POST", "/x", "application/json", "1"), "1"); got != "" {
			t.Fatal(got)
		}
	}
}

// A large body of many small values is not complex.
func TestIssuesOfLargeBodies(t *testing.T) {
	d := posting(t, `{type: array, items: {allOf: [{type: integer}, {minimum: 0}, {anyOf: [{maximum: 5}, {minimum: 1}]}]}}`, "")
	body := "[" + strings.Repeat("1,", 99_999) + "1]"
	if got := codes(t, d, request("POST", "/x", "application/json", body), body); got != "" {
		t.Error(got)
	}
}

// One fault that two parts find is one issue.
func TestIssuesOnce(t *testing.T) {
	d := posting(t, `{allOf: [{properties: {a: {type: integer}}}, {properties: {a: {type: integer}}}]}`, "")
	if got := codes(t, d, request("POST", "/x", "application/json", `{"a":"b"}`), `{"a":"b"}`); got != "/a type" {
		t.Error(got)
	}
}
