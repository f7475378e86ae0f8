package app_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
)

// The cases of the first two tables restate those of the JSON parsing test
// suite (seriot.ch/projects/parsing_json.html): what every parser must take, and
// what none may.
var jsonGood = []string{
	`[]`, `[ ] `, "\t[\r\n1 ,2]\n", `{}`, `{"":0}`, `{"a":[]}`, `{"a":{"a":{}}}`, `{"a":1,"b":1}`, `[[],[[]]]`, `[[]   ]`,
	`""`, `" "`, `"a"`, `true`, `false`, `null`, `0`, `-0`, `-1`, `1`, `12`, `42 `, `[null,1,"1",{}]`, `[1,null,null,null,2]`, `["a/*b*/c"]`,
	`0.5`, `-0.000000000000000000000000000000000000000000001`, `0e1`, `0e+1`, `1E22`, `1E-2`, `1E+2`, `1e-2`, `20e1`, `123.456e78`, `123.456789`, `-123123123123123123123123123123`,
	`"\"\\\/\b\f\n\r\t"`, `"\u0060\u012a\u12AB"`, `"\uD801\udc37"`, `"\ud83d\ude39\ud83d\udc8d"`, `"\uDBFF\uDFFF"`, `"\uFFFF"`, `"\u0000"`, `"\u002c"`, `"\u005C"`, `"\u0022"`,
	`"\\a"`, `"\\n"`, "\"\u007f\"", "\"\u20ac\U0001d11e\"", "\"\u2028\u2029\"", "\"\uffff\U0010ffff\"", `{"a\u0000b":1}`, `{"\ud801\udc37":1}`, `["",{"x":[{"id":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}],"id":"y"}]`,
	`9007199254740993`, `18446744073709551616`, `1e308`, `1e-308`, `{"constructor":1}`, `{"prototype":{"constructor":1}}`, `{"constructor":[{"prototype":1}]}`, `{"a__proto__":1}`,
}

var jsonBad = map[string][]string{
	"empty": {"", " ", "\n\t\r "},
	"syntax": {
		`[1 true]`, `["": 1]`, `["",]`, `[,1]`, `[1,,2]`, `["x",,]`, `[1,]`, `[1`, `[`, `["a`, `["a",`, `[""`, `[,`, `[-]`, `[:]`, `[*]`, `[1:2]`, `["a",4,1,`, `[3[4]]`, "[\v\f]", `[<null>]`, `[a`, `[1}`,
		`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":"a",}`, `{"a":1,,"b":2}`, `{"a" "b"}`, `{"a"1}`, `{"a":}`, `{"a"::1}`, `{"a":1 "b":2}`, `{"a":/*c*/1}`, `{,}`, `{1:1}`, `{'a':1}`, `{a:1}`, `{"a":"b"]`, `{[: 1}`, `{null:null}`, `{"a":1,1}`, `{"x",null}`, `{"a":'b'}`,
		`"`, `"a`, `'a'`, `"\`, `"\"`, `"\x00"`, `"\a"`, `"\U0041"`, `"\u"`, `"\u00"`, `"\u00A"`, `"\u00g0"`, `"\012"`, "\"a\nb\"", "\"a\tb\"", "\"\x00\"", "\"\x1f\"", `"\\\"`, "\"\\\U0001f300\"", `\u0020`, `\`,
		`tru`, `True`, `truth`, `nul`, `fals`, `nan`, `NaN`, `Infinity`, `-Infinity`, `-NaN`, `undefined`, `a`, `<.>`, "\u2060", "\u00a0", "\xff", "\xe9",
		`+1`, `.5`, `-.5`, `1.`, `-1.`, `-`, `--1`, `-a`, `+-1`, `++1`, `0.`, `0.e1`, `1e`, `1e+`, `1.0e`, `1.0e-`, `0e`, `2.e3`, `1ee2`, `e1`, `[-01]`, `[00]`, `[012]`, `[-012]`, `[0x1]`, `[1a]`, "[1\x00]", `[1 000]`, "\uff11", `[1e1.]`, `[1_000]`, `.`, "[\"\\\xe5\"]",
	},
	"trailing":        {`{}{}`, `{} []`, `[][]`, `1 2`, `{}#`, `{}//`, `{}/*`, `{"a":1}}`, `[1]]`, `[1],`, `""x`, `[1]x`, `{}` + "\x00", `{"a":"b"}#{}`, `00`, `-01`, `0x1`, "1\x00"},
	"byte_order_mark": {"\xef\xbb\xbf{}", "\xef\xbb\xbf"},
	"utf8":            {"\"\xff\"", "\"\xe9\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\xbf\xbf\xbf\"", "\"\xf8\x87\xbf\xbf\xbf\"", "\"\x81\"", "{\"a\xff\":1}", "\"\xe0\xff\""},
	"surrogate":       {`"\ud800"`, `"\ud800\n"`, `"\ud800\ud800"`, `"\udc00\ud800"`, `"\uDADA"`, `"\udd1e\ud834"`, `"\ud888\u1234"`, `"\ud800x"`, `{"\udFAA":0}`, `"\ud800\u"`, `"\uD800\u1"`},
	"number":          {`1e401`, `[123123e100000]`, `0.4e00669999999999999999999999999999999999999999999969999999006`, `-1e+9999`, `1e309`, `-1e309`, `123e45678901234567890`, `1e-401`, strings.Repeat("1", 101), "0." + strings.Repeat("0", 99) + "1"},
	"depth":           {strings.Repeat("[", 33) + strings.Repeat("]", 33), strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33), strings.Repeat("[", 100_000), strings.Repeat(`[{"":`, 30_000)},
	"duplicate":       {`{"a":1,"a":1}`, `{"a":1,"b":2,"a":3}`, `{"a":1,"\u0061":2}`, `{"":1,"":1}`, `[{"x":{"a":1,"a":2}}]`, `{"a/b":1,"a\/b":2}`, `{"\ud83d\ude39":1,"` + "\U0001f639" + `":2}`, `{"role":"u","Role":"admin"}`, `{"k":1,"` + "\u212a" + `":2}`, `{"ſ":1,"s":2}`, `{"é":1,"É":2}`, `{"a":1,"b":{"c":[]},"A":2}`},
	"forbidden_key":   {`{"__proto__":{}}`, `{"\u005f_proto__":1}`, `[{"a":{"__proto__":null}}]`, `{"constructor":{"prototype":{}}}`, `{"constructor":{"a":1,"prot\u006ftype":{}}}`},
}

func TestJSON(t *testing.T) {
	ring := inputRing(t, inputPolicy(), app.Deps{}, inputRead)
	post := func(body string) (int, string) {
		w := inputDo(ring, "POST", "/", "application/json", body)
		if w.Code == 200 {
			return 200, ""
		}
		p := inputRefusal(t, w)
		if len(p.Errors) != 1 || p.Errors[0].Path != "" || !strings.HasSuffix(p.Type, "#app-json") {
			t.Fatalf("%.60q: %s", body, w.Body)
		}
		return w.Code, p.Errors[0].Code
	}
	for _, body := range jsonGood {
		if !json.Valid([]byte(body)) {
			t.Fatalf("the table is wrong: %q", body)
		}
		if status, code := post(body); status != 200 {
			t.Errorf("%q: %d %s, want 200", body, status, code)
		}
	}
	for want, bodies := range jsonBad {
		for _, body := range bodies {
			if body == "" {
				continue // no body at all: nothing to judge
			}
			if status, code := post(body); status != 400 || code != want {
				t.Errorf("%.60q: %d %q, want %q", body, status, code, want)
			}
		}
	}
}

// TestTrapJSONDifferentials: golang/go #14750 and its like.
func TestTrapJSONDifferentials(t *testing.T) {
	reached := false
	ring := inputRing(t, inputPolicy(), app.Deps{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	for body, want := range map[string]string{
		`{"role":"u","Role":"admin"}`:              "duplicate",
		`{"role":"u","role":"admin"}`:              "duplicate",
		`{"role":"u","r\u006fle":"admin"}`:         "duplicate",
		`{"__proto__":{"isAdmin":true}}`:           "forbidden_key",
		`{"email":"a"} {"email":"b"}`:              "trailing",
		strings.Repeat("[", 10_000):                "depth",
		strings.Repeat(`{"a":`, 10_000) + `1`:      "depth",
		"{\"role\":\"admin\xff\"}":                 "utf8",
		`{"role":"admin\ud888"}`:                   "surrogate",
		"\xef\xbb\xbf{\"role\":\"u\"}":             "byte_order_mark",
		`{"role":1e99999}`:                         "number",
		"{\"role\":\"u\"}\x00{\"role\":\"admin\"}": "trailing",
	} {
		w := inputDo(ring, "POST", "/", "application/json", body)
		if p := inputRefusal(t, w); w.Code != 400 || inputCodes(p) != " "+want {
			t.Errorf("%.60q: %d %s, want %s", body, w.Code, w.Body, want)
		}
	}
	if reached {
		t.Error("the handler was called")
	}
}

// What the client wrote does not come back, and the event says no more.
func TestJSONRefusalRepeatsNothing(t *testing.T) {
	const canary = "canary-7f3a"
	for code, body := range map[string]string{
		"duplicate":     `{"` + canary + `":1,"` + canary + `":2}`,
		"syntax":        `{"a":` + canary + `}`,
		"trailing":      `{} ` + canary,
		"forbidden_key": `{"` + canary + `":{"__proto__":"` + canary + `"}}`,
		"utf8":          "{\"" + canary + "\":\"\xff\"}",
	} {
		var events inputEvents
		ring := inputRing(t, inputPolicy(), app.Deps{Audit: &events}, inputRead)
		w := inputDo(ring, "POST", "/", "application/json", body)
		if strings.Contains(w.Body.String(), canary) {
			t.Errorf("%s: %s", code, w.Body)
		}
		if len(events.list) != 1 || events.list[0].Kind != audit.InputRefused || events.list[0].Control != "app/json" ||
			strings.Contains(fmt.Sprint(events.list[0]), canary) {
			t.Errorf("%s: events %+v", code, events.list)
		}
	}
}

func TestJSONDepthIsThePolicys(t *testing.T) {
	for _, depth := range []int{1, 2, 1000} {
		p := inputPolicy()
		p.App.JSONDepth = depth
		ring := inputRing(t, p, app.Deps{}, inputRead)
		for n, want := range map[int]int{depth: 200, depth + 1: 400} {
			if w := inputDo(ring, "POST", "/", "application/json", strings.Repeat("[", n)+strings.Repeat("]", n)); w.Code != want {
				t.Errorf("depth %d, %d levels: %d, want %d", depth, n, w.Code, want)
			}
		}
	}
	p := inputPolicy()
	p.App.JSONDepth = 0
	if _, err := app.New(p, inputRead, app.Deps{}); err == nil {
		t.Error("a depth of 0 is taken")
	}
}

// The handler still reads the body, byte for byte; what is not JSON is not judged.
func TestJSONPassesTheBodyOn(t *testing.T) {
	ring := inputRing(t, inputPolicy(), app.Deps{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil || r.ContentLength != int64(len(b)) {
			t.Errorf("%v, length %d of %d", err, r.ContentLength, len(b))
		}
		w.Write(b)
	}))
	body := " {\"a\" : [1.50, \"\\u0041\"]}\n"
	if w := inputDo(ring, "POST", "/", "application/json", body); w.Body.String() != body {
		t.Errorf("%q became %q", body, w.Body)
	}
	for _, media := range []string{"application/x-www-form-urlencoded"} {
		if w := inputDo(ring, "POST", "/", media, `{"a":1,"a":2}`); w.Code != 200 {
			t.Errorf("%s was judged as JSON: %d", media, w.Code)
		}
	}
	p := inputPolicy()
	p.App.ContentTypes = []string{"application/merge-patch+json", "text/json"}
	ring = inputRing(t, p, app.Deps{}, inputRead)
	for _, media := range p.App.ContentTypes {
		if w := inputDo(ring, "POST", "/", media, `{"a":1,"a":2}`); w.Code != 400 {
			t.Errorf("%s was not judged as JSON: %d", media, w.Code)
		}
	}
}

// Without app/content-type a body of no type may be read as JSON: it is judged.
func TestJSONJudgesBodiesOfNoType(t *testing.T) {
	ring, err := app.NewWithout(inputPolicy(), inputRead, app.Deps{Verifier: inputVerifier{}}, "app/content-type")
	if err != nil {
		t.Fatal(err)
	}
	if w := inputDo(ring, "POST", "/", "", `{"a":1,"a":2}`); w.Code != 400 {
		t.Errorf("%d, want 400", w.Code)
	}
	if w := inputDo(ring, "POST", "/", "text/csv", `{"a":1,"a":2}`); w.Code != 200 {
		t.Errorf("text/csv: %d, want 200", w.Code)
	}
}

// Many keys: found wherever the second stands, without much memory kept.
func TestJSONManyKeys(t *testing.T) {
	for _, n := range []int{15, 16, 17, 18, 100, 5000} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`"k%d":{"k0":%d}`, i, i)
		}
		good := "{" + strings.Join(keys, ",") + "}"
		if code, _ := app.ScanJSON([]byte(good), 32); code != "" {
			t.Errorf("%d keys: %s", n, code)
		}
		for range 20 {
			i, j := rand.IntN(n), rand.IntN(n)
			if i == j {
				continue
			}
			bad := append([]string(nil), keys...)
			bad[i] = fmt.Sprintf(`"K%d":[]`, j)
			if code, _ := app.ScanJSON([]byte("{"+strings.Join(bad, ",")+"}"), 32); code != "duplicate" {
				t.Errorf("%d keys, the %dth like the %dth: %q", n, i, j, code)
			}
		}
	}
	var big strings.Builder
	big.WriteString(`{"a":0`)
	for i := range 100_000 {
		fmt.Fprintf(&big, `,"%x":0`, i+1_000_000)
	}
	big.WriteString("}")
	if code, _ := app.ScanJSON([]byte(big.String()), 32); code != "" {
		t.Error(code)
	}
	if kept := app.KeptKeys(); kept > 1<<14 {
		t.Errorf("%d hashes are kept", kept)
	}
}

// FuzzJSON compares with encoding/json: what is taken here is valid there, has
// no two keys that fold alike and is UTF-8; what is refused as no JSON is not
// valid there either.
func FuzzJSON(f *testing.F) {
	for _, s := range jsonGood {
		f.Add([]byte(s))
	}
	for _, list := range jsonBad {
		for _, s := range list {
			if len(s) < 1000 {
				f.Add([]byte(s))
			}
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		code, at := app.ScanJSON(b, 32)
		if !bytes.Equal(b, before) || at < 0 || at > len(b) {
			t.Fatalf("the body was changed, or %d is no place in it", at)
		}
		switch code {
		case "":
			if !json.Valid(b) || !utf8.Valid(b) {
				t.Fatal("taken, but encoding/json does not take it, or it is not UTF-8")
			}
			if key := jsonTwice(json.NewDecoder(bytes.NewReader(b))); key != nil {
				t.Fatalf("taken, with %q twice", key)
			}
		case "empty", "syntax", "trailing", "byte_order_mark":
			if json.Valid(b) {
				t.Fatalf("refused as %s, but encoding/json takes it", code)
			}
		case "utf8":
			if utf8.Valid(b) {
				t.Fatal("refused, but it is UTF-8")
			}
		case "duplicate":
			// Not all of b may have been read: what follows may be broken.
			if json.Valid(b) && jsonTwice(json.NewDecoder(bytes.NewReader(b))) == nil {
				t.Fatalf("refused, but no key is there twice: %q", b)
			}
		case "depth", "number", "surrogate", "forbidden_key":
		default:
			t.Fatalf("unknown code %q", code)
		}
	})
}

// jsonTwice finds the keys that an object has twice, letter case aside.
func jsonTwice(d *json.Decoder) (twice []string) {
	d.UseNumber()
	var walk func()
	walk = func() {
		tok, err := d.Token()
		if err != nil {
			return
		}
		var keys []string
		switch tok {
		case json.Delim('{'):
			for d.More() {
				key, err := d.Token()
				if err != nil {
					return
				}
				for _, k := range keys {
					if strings.EqualFold(k, key.(string)) {
						twice = append(twice, k)
					}
				}
				keys = append(keys, key.(string))
				walk()
			}
			d.Token()
		case json.Delim('['):
			for d.More() {
				walk()
			}
			d.Token()
		}
	}
	walk()
	return twice
}

func BenchmarkJSON(b *testing.B) {
	notes := make([]map[string]any, 9)
	for i := range notes {
		notes[i] = map[string]any{"id": i, "title": "A title of some length, with words", "tags": []string{"a", "bb", "ccc"}, "price": 12.5}
	}
	small, err := json.Marshal(map[string]any{"notes": notes, "name": "someone", "email": "ops@example.com"})
	if err != nil {
		b.Fatal(err)
	}
	var keys strings.Builder
	keys.WriteString(`{"a":0`)
	for i := range 18_000 {
		fmt.Fprintf(&keys, `,"%x":0`, i+100_000)
	}
	keys.WriteString("}")
	for name, body := range map[string][]byte{
		"1kB":       small,
		"200kBkeys": []byte(keys.String()),
		"200kBtext": []byte(`"` + strings.Repeat("a", 200_000) + `"`),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if code, _ := app.ScanJSON(body, 32); code != "" {
					b.Fatal(code)
				}
			}
		})
	}
}
