package openapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/ringwall/ringwall/app/openapi"
)

func request(method, target, media, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r = httptest.NewRequest(method, target, nil)
	}
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	return r
}

// codes are the paths and codes of a request's issues.
func codes(t testing.TB, d *openapi.Document, r *http.Request, body string) string {
	t.Helper()
	if documented, _ := d.Find(r.Method, r.URL.Path); !documented {
		return "undocumented"
	}
	var b []byte
	if body != "" {
		b = []byte(body)
	}
	var out []string
	for _, i := range d.Check(r, r.URL.Path, b) {
		if i.Message == "" || i.Code == "" {
			t.Errorf("an issue that says nothing: %+v", i)
		}
		out = append(out, strings.TrimSpace(i.Path+" "+i.Code))
	}
	return strings.Join(out, ", ")
}

func parse(t testing.TB, src string) *openapi.Document {
	t.Helper()
	d, err := openapi.Parse([]byte(src))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// posting is a document whose POST /x takes the schema, with components.
func posting(t testing.TB, schema, components string) *openapi.Document {
	t.Helper()
	src := "openapi: 3.1.0\npaths:\n  /x:\n    post:\n      requestBody:\n        required: true\n        content:\n          application/json:\n            schema: " + schema + "\n"
	if components != "" {
		src += "components:\n  schemas:\n" + indent(components)
	}
	return parse(t, src)
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimSpace(s), "\n", "\n    ") + "\n"
}

func notes(t testing.TB) *openapi.Document {
	t.Helper()
	d, err := openapi.Load("../testdata/notes.openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestNotes(t *testing.T) {
	d := notes(t)
	for _, test := range []struct{ method, target, body, want string }{
		{"GET", "/api/notes", "", ""},
		{"HEAD", "/api/notes?limit=1", "", ""},
		{"GET", "/api/notes?limit=100&cursor=abc&q=", "", ""},
		{"GET", "/api/notes?limit=101", "", "query/limit too_large"},
		{"GET", "/api/notes?limit=0&q=" + strings.Repeat("a", 201), "", "query/limit too_small, query/q too_long"},
		{"GET", "/api/notes?limit=ten", "", "query/limit type"},
		{"GET", "/api/notes?limit=1.5", "", "query/limit type"},
		{"GET", "/api/notes?limit=1e1", "", "query/limit type"},
		{"GET", "/api/notes?limit=", "", "query/limit type"},
		{"GET", "/api/notes?limit=1&limit=2", "", "query/limit duplicate"},
		{"GET", "/api/notes?Limit=1", "", "query unknown"},
		{"GET", "/api/notes?page=1&offset=2", "", "query unknown"},
		{"GET", "/api/notes?q[$gt]=", "", "query unknown"},
		{"GET", "/api/notes?q=%ff", "", "query/q utf8"},
		{"GET", "/api/notes?q=%zz", "", "query syntax"},
		{"GET", "/api/notes?q=1;limit=2", "", "query syntax"},
		{"GET", "/api/notes", `{}`, "unknown"},
		{"GET", "/api/notes/7", "", ""},
		{"GET", "/api/notes/seven", "", "path/id type"},
		{"GET", "/api/notes/0", "", "path/id too_small"},
		{"GET", "/api/notes/7?x=1", "", "query unknown"},
		{"DELETE", "/api/notes/7", "", ""},
		{"PUT", "/api/notes/0?x=1", `{"title":""}`, "/title too_short, path/id too_small, query unknown"},
		{"POST", "/api/notes", "", "required"},
		{"POST", "/api/notes", `{"title":"a"}`, ""},
		{"POST", "/api/notes", `{"title":"a","text":"b"}`, ""},
		{"POST", "/api/notes", `{}`, "/title required"},
		{"POST", "/api/notes", `{"title":"a","owner":"root"}`, "unknown"},
		{"POST", "/api/notes", `{"title":"a","id":1}`, "/id read_only"},
		{"POST", "/api/notes", `{"Title":"a"}`, "/title required"},
		{"POST", "/api/notes", `{"title":{"$gt":""},"text":["a"]}`, "/text type, /title type"},
		{"POST", "/api/notes", `{"title":null}`, "/title type"},
		{"POST", "/api/notes", `[{"title":"a"}]`, "type"},
		{"POST", "/api/notes", `"title"`, "type"},
		{"POST", "/api/notes", `{"title":"` + strings.Repeat("é", 200) + `"}`, ""},
		{"POST", "/api/notes", `{"title":"` + strings.Repeat("é", 201) + `"}`, "/title too_long"},
		{"POST", "/api/notes", `{`, "syntax"},
		{"POST", "/api/notes", `{"title":"a"} {}`, "syntax"},
		{"POST", "/api/notes", `{"id":1e999999999}`, "syntax"},
		{"POST", "/api/notes/", `{"title":"a"}`, "undocumented"},
		{"GET", "/api/Notes", "", "undocumented"},
		{"GET", "/api/notes/7/x", "", "undocumented"},
		{"GET", "/api/notes/", "", "undocumented"},
		{"GET", "/", "", "undocumented"},
	} {
		media := ""
		if test.body != "" {
			media = "application/json"
		}
		if got := codes(t, d, request(test.method, test.target, media, test.body), test.body); got != test.want {
			t.Errorf("%s %.60s %.60s: %q, want %q", test.method, test.target, test.body, got, test.want)
		}
	}
}

func TestFind(t *testing.T) {
	d := notes(t)
	for _, test := range []struct {
		method, path string
		documented   bool
		allow        string
	}{
		{"GET", "/api/notes", true, ""},
		{"HEAD", "/api/notes", true, ""},
		{"PATCH", "/api/notes", false, "GET, HEAD, POST"},
		{"HEAD", "/api/notes/1", true, ""},
		{"POST", "/api/notes/1", false, "GET, HEAD, PUT, DELETE"},
		{"FROB", "/api/notes/1", false, "GET, HEAD, PUT, DELETE"},
		{"get", "/api/notes", false, "GET, HEAD, POST"},
		{"GET", "/nothing", false, ""},
	} {
		documented, allow := d.Find(test.method, test.path)
		if documented != test.documented || strings.Join(allow, "|") != test.allow {
			t.Errorf("%s %s: %v %q", test.method, test.path, documented, allow)
		}
	}
}

// OpenAPI 3.1, 4.8.8.2 (Path Templating Matching), whose examples these are.
func TestPathsConcreteFirst(t *testing.T) {
	d := parse(t, `
openapi: 3.1.0
servers: [{url: "https://api.example.com/{version}/", variables: {version: {default: v2}}}]
paths:
  /pets/{petId}:
    get: {parameters: [{name: petId, in: path, required: true, schema: {type: integer}}]}
    delete: {parameters: [{name: petId, in: path, required: true, schema: {type: integer}}]}
  /pets/mine:
    get: {parameters: [{name: all, in: query, schema: {type: boolean}}]}
  /{entity}/me:
    get: {parameters: [{name: entity, in: path, required: true, schema: {type: string}}]}
  /pets/{petId}/toys/{toyId}:
    get:
      parameters:
        - {name: toyId, in: path, required: true, schema: {type: integer}}
        - {name: petId, in: path, required: true, schema: {type: string, maxLength: 1}}
`)
	for target, want := range map[string]string{
		"/v2/pets/mine":          "",
		"/v2/pets/mine?all=true": "",
		"/v2/pets/7":             "",
		"/v2/pets/x":             "path/petId type",
		"/v2/pets/7?all=true":    "query unknown",
		"/v2/pets/me":            "path/petId type", // pets/{petId} is the more concrete: its first segment is
		"/v2/books/me":           "",
		"/v2/pets/a/toys/1":      "",
		"/v2/pets/1/toys/a":      "path/toyId type",
		"/v2/pets/mine/toys/1":   "path/petId too_long",
		"/pets/7":                "undocumented",
		"/v2/pets/":              "undocumented",
		"/v2/pets":               "undocumented",
		"/v1/pets/7":             "undocumented",
	} {
		if got := codes(t, d, request("GET", target, "", ""), ""); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	if documented, allow := d.Find("DELETE", "/v2/pets/mine"); documented || strings.Join(allow, "") != "GET, HEAD" {
		t.Errorf("DELETE of the concrete path: %v %v", documented, allow)
	}
}

func TestParameters(t *testing.T) {
	d := parse(t, `
openapi: 3.1.0
paths:
  /form:
    get:
      parameters:
        - {name: n, in: query, schema: {type: [integer, "null"]}}
        - {name: b, in: query, schema: {type: boolean}}
        - {name: f, in: query, schema: {type: number, exclusiveMinimum: 0, multipleOf: 0.5}}
        - {name: s, in: query, schema: {type: string, pattern: "^[a-z]+$"}}
        - {name: e, in: query, schema: {enum: [asc, desc]}}
        - {name: u, in: query, schema: {anyOf: [{type: integer}, {type: string, enum: [all]}]}}
        - {name: exploded, in: query, schema: {type: array, items: {type: integer}, maxItems: 3, uniqueItems: true}}
        - {name: comma, in: query, explode: false, schema: {type: array, items: {type: integer}}}
        - {name: pipe, in: query, style: pipeDelimited, explode: false, schema: {type: array, items: {$ref: "#/components/schemas/Word"}}}
        - {name: space, in: query, style: spaceDelimited, explode: false, schema: {type: array, items: {type: boolean}}}
        - {name: empty, in: query, allowEmptyValue: true, schema: {type: integer}}
  /needed:
    get:
      parameters:
        - {name: key, in: query, required: true, schema: {type: string, format: uuid}}
        - {name: x-trace, in: header, required: true, schema: {type: array, items: {type: integer}, maxItems: 2}}
        - {name: accept, in: header, required: true, schema: {type: integer}}
        - {name: theme, in: cookie, required: true, schema: {enum: [dark, light]}}
  /path/{ids}:
    get: {parameters: [{name: ids, in: path, required: true, schema: {type: array, items: {type: integer}}}]}
  /shared:
    parameters:
      - {name: a, in: query, schema: {type: integer}}
      - {name: b, in: query, schema: {type: integer}}
    get: {parameters: [{name: a, in: query, schema: {type: boolean}}]}
  /secured:
    get: {}
components:
  schemas: {Word: {allOf: [{type: string}, {maxLength: 3}]}}
  securitySchemes: {key: {type: apiKey, in: query, name: api_key}}
`)
	for target, want := range map[string]string{
		"/form?n=1&b=true&f=1.5&s=abc&e=asc": "",
		"/form?n=x":                          "query/n type",
		"/form?n=01":                         "query/n type",
		"/form?n=+1":                         "query/n type",
		"/form?n=%2B1":                       "query/n type",
		"/form?n=0x1":                        "query/n type",
		"/form?n=" + strings.Repeat("1", 41): "query/n type",
		"/form?b=1":                          "query/b type",
		"/form?b=True":                       "query/b type",
		"/form?f=0":                          "query/f too_small",
		"/form?f=0.7":                        "query/f multiple_of",
		"/form?s=A":                          "query/s pattern",
		"/form?e=up":                         "query/e not_listed",
		"/form?u=5&e=desc":                   "",
		"/form?u=all":                        "",
		"/form?u=some":                       "query/u no_match",
		"/form?exploded=1&exploded=2":        "",
		"/form?exploded=1&exploded=x":        "query/exploded/1 type",
		"/form?exploded=1&exploded=1":        "query/exploded duplicate",
		"/form?exploded=1,2":                 "query/exploded/0 type",
		"/form?exploded=1&exploded=2&exploded=3&exploded=4": "query/exploded too_long",
		"/form?comma=1,2,3":         "",
		"/form?comma=1,x":           "query/comma/1 type",
		"/form?comma=1&comma=2":     "query/comma duplicate",
		"/form?pipe=a%7Cb":          "",
		"/form?pipe=a%7Clong":       "query/pipe/1 too_long",
		"/form?space=true%20false":  "",
		"/form?space=true+no":       "query/space/1 type",
		"/form?empty=":              "",
		"/form?empty=x":             "query/empty type",
		"/path/1,2":                 "",
		"/path/1,b":                 "path/ids/1 type",
		"/shared?a=true&b=1":        "",
		"/shared?a=1&b=true":        "query/a type, query/b type",
		"/secured?api_key=anything": "",
		"/secured?api_keys=x":       "query unknown",
		"/needed":                   "cookie/theme required, header/X-Trace required, query/key required",
	} {
		if got := codes(t, d, request("GET", target, "", ""), ""); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
	for _, test := range []struct{ trace, theme, want string }{
		{"1, 2", "dark", ""},
		{"1,2,3", "dark", "header/X-Trace too_long"},
		{"1,x", "blue", "cookie/theme not_listed, header/X-Trace/1 type"},
	} {
		r := request("GET", "/needed?key=123e4567-e89b-12d3-a456-426614174000", "", "")
		r.Header.Set("X-Trace", test.trace)
		r.AddCookie(&http.Cookie{Name: "theme", Value: test.theme})
		r.AddCookie(&http.Cookie{Name: "session", Value: "not described, and not judged"})
		if got := codes(t, d, r, ""); got != test.want {
			t.Errorf("%+v: %q", test, got)
		}
	}
	r := request("GET", "/needed?key=123", "", "")
	r.Header["X-Trace"] = []string{"1", "2"}
	r.AddCookie(&http.Cookie{Name: "theme", Value: "dark"})
	r.AddCookie(&http.Cookie{Name: "theme", Value: "light"})
	if got := codes(t, d, r, ""); got != "cookie/theme duplicate, query/key format" {
		t.Errorf("%q", got)
	}
}

// An object is closed where it is used, so that what composes still composes.
func TestClosing(t *testing.T) {
	components := `
Base: {type: object, required: [id, kind], properties: {id: {type: integer, readOnly: true}, kind: {type: string}}}
Dog: {allOf: [{$ref: "#/components/schemas/Base"}, {type: object, required: [bark], properties: {bark: {type: boolean}}}]}
Cat: {allOf: [{$ref: "#/components/schemas/Base"}, {properties: {lives: {type: integer}}}]}
Pet: {oneOf: [{$ref: "#/components/schemas/Dog"}, {$ref: "#/components/schemas/Cat"}]}
Named: {$ref: "#/components/schemas/Base", description: the same, properties: {name: {type: string}}}
Tree: {type: object, properties: {value: {type: integer}, children: {type: array, items: {$ref: "#/components/schemas/Tree"}}}}
Open: {type: object, properties: {a: {type: integer}}, additionalProperties: true}
Map: {type: object, additionalProperties: {type: object, properties: {x: {type: integer}}}}
Word: {type: string}
`
	for _, test := range []struct {
		schema string
		bodies map[string]string
	}{
		{`{type: object, properties: {a: {type: integer}}}`, map[string]string{
			`{}`: "", `{"a":1}`: "", `{"a":1,"b":2}`: "unknown", `{"b":2}`: "unknown", `{"a":"1","b":2}`: "/a type"}},
		{`{$ref: "#/components/schemas/Base"}`, map[string]string{
			`{"kind":"a"}`: "", `{"kind":"a","x":1}`: "unknown", `{"id":1,"kind":"a"}`: "/id read_only", `{}`: "/kind required"}},
		{`{$ref: "#/components/schemas/Dog"}`, map[string]string{
			`{"kind":"d","bark":true}`: "", `{"kind":"d","bark":true,"x":1}`: "unknown", `{"kind":"d"}`: "/bark required",
			`{"kind":"d","bark":true,"id":1}`: "/id read_only", `{"kind":1,"bark":true}`: "/kind type", `{"kind":1,"bark":true,"x":1}`: "/kind type"}},
		{`{$ref: "#/components/schemas/Pet"}`, map[string]string{
			`{"kind":"d","lives":9}`: "", `{"kind":"d","bark":true}`: "no_match", // a cat may bark: Cat is not closed by itself
			`{"kind":"d","lives":9,"x":1}`: "unknown"}},
		{`{$ref: "#/components/schemas/Named"}`, map[string]string{
			`{"kind":"d","name":"a"}`: "", `{"kind":"d","name":"a","x":1}`: "unknown"}},
		{`{$ref: "#/components/schemas/Tree"}`, map[string]string{
			`{"value":1,"children":[{"value":2,"children":[{}]}]}`: "", `{"value":1,"children":[{"value":2,"children":[{"x":1}]}]}`: "/children/0/children/0 unknown",
			`{"children":[{"value":"a"}]}`: "/children/0/value type"}},
		{`{$ref: "#/components/schemas/Open"}`, map[string]string{`{"a":1,"b":2}`: "", `{"a":"1","b":2}`: "/a type"}},
		{`{$ref: "#/components/schemas/Map"}`, map[string]string{`{"k":{"x":1}}`: "", `{"k":{"x":1,"y":2}}`: "unknown", `{"k":{"x":"1"}}`: "type"}},
		{`{type: object, properties: {any: {}, yes: true, no: false, free: {type: object, additionalProperties: {}}}}`, map[string]string{
			`{"any":{"x":{"y":1}},"yes":[{"z":1}],"free":{"q":1}}`: "", `{"no":1}`: "/no forbidden"}},
		{`{type: object, properties: {bare: {type: object}}}`, map[string]string{`{"bare":{}}`: "", `{"bare":{"x":1}}`: "/bare unknown"}},
		{`{type: object, properties: {a: {type: integer}}, patternProperties: {"^x-": {type: string}}}`, map[string]string{
			`{"a":1,"x-b":"c"}`: "", `{"y-b":"c"}`: "unknown", `{"x-b":1}`: "type"}},
		{`{type: object, properties: {a: {type: integer}}, if: {required: [a]}, then: {properties: {b: {type: integer}}, required: [b]}, else: {properties: {c: {type: integer}}}}`, map[string]string{
			`{"a":1,"b":2}`: "", `{"a":1}`: "/b required", `{"c":1}`: "", `{"a":1,"b":2,"c":3}`: "unknown", `{"b":1}`: "unknown"}},
		{`{type: object, properties: {a: {}}, dependentSchemas: {a: {properties: {b: {}}}}, dependentRequired: {a: [b]}}`, map[string]string{
			`{"a":1,"b":2}`: "", `{"a":1}`: "/b required", `{"b":2}`: "unknown"}},
		{`{type: array, items: {type: object, properties: {a: {type: integer}}}, prefixItems: [{type: string}]}`, map[string]string{
			`["x",{"a":1}]`: "", `["x",{"b":1}]`: "/1 unknown", `[1]`: "/0 type"}},
		{`{type: object, properties: {a: {not: {type: object, properties: {b: {type: integer}}}}}}`, map[string]string{
			`{"a":1}`: "", `{"a":{"b":1,"c":2}}`: "/a forbidden"}},
		{`{anyOf: [{type: object, required: [a], properties: {a: {type: integer}}}, {type: object, required: [b], properties: {b: {type: integer}}}]}`, map[string]string{
			`{"a":1}`: "", `{"b":1}`: "", `{"a":1,"b":1}`: "", `{"a":1,"c":1}`: "unknown", `{"c":1}`: "no_match"}},
		{`{type: [object, "null"], properties: {a: {type: integer}}}`, map[string]string{`null`: "", `{"a":1}`: "", `{"b":1}`: "unknown", `1`: "type"}},
		{`{$ref: "#/components/schemas/Word"}`, map[string]string{`"a"`: "", `{}`: "type"}},
		{`true`, map[string]string{`{"anything":[1]}`: "", `1`: ""}},
		{`{type: object, unevaluatedProperties: {type: integer}, allOf: [{properties: {a: {type: string}}}]}`, map[string]string{
			`{"a":"x","b":1}`: "", `{"b":"x"}`: "type"}},
	} {
		d := posting(t, test.schema, components)
		for body, want := range test.bodies {
			if got := codes(t, d, request("POST", "/x", "application/json", body), body); got != want {
				t.Errorf("%s\n  %s: %q, want %q", test.schema, body, got, want)
			}
		}
	}
}

// Formats are asserted (JSON Schema 2020-12, 7.3; OpenAPI format registry).
func TestFormats(t *testing.T) {
	for format, values := range map[string]map[string]bool{
		"date-time": {`"2026-11-23T10:00:00Z"`: true, `"2026-11-23T10:00:00.5+01:00"`: true, `"2026-11-23"`: false, `"2026-13-01T00:00:00Z"`: false, `"now"`: false},
		"date":      {`"2026-02-28"`: true, `"2026-02-30"`: false, `"28.02.2026"`: false},
		"email":     {`"a@example.com"`: true, `"a@"`: false, `"a b@example.com"`: false},
		"uuid":      {`"123e4567-e89b-12d3-a456-426614174000"`: true, `"123e4567"`: false},
		"uri":       {`"https://example.com/a?b#c"`: true, `"/relative"`: false},
		"ipv4":      {`"192.0.2.1"`: true, `"192.0.2.256"`: false, `"192.0.2"`: false, `"010.0.0.1"`: false},
		"ipv6":      {`"2001:db8::1"`: true, `"192.0.2.1"`: false, `"::1%eth0"`: false},
		"hostname":  {`"api.example.com"`: true, `"-a.example"`: false},
		"int32":     {`2147483647`: true, `2147483648`: false, `-2147483649`: false},
		"int64":     {`9223372036854775807`: true, `9223372036854775808`: false},
		"byte":      {`"YQ=="`: true, `"YQ"`: false, `"*"`: false},
		"password":  {`"anything"`: true},
	} {
		d := posting(t, "{format: "+format+"}", "")
		for body, want := range values {
			if got := codes(t, d, request("POST", "/x", "application/json", body), body); (got == "") != want {
				t.Errorf("%s as %s: %q", body, format, got)
			}
		}
	}
}

func TestForms(t *testing.T) {
	d := parse(t, `
openapi: 3.1.0
paths:
  /x:
    post:
      requestBody:
        content:
          application/x-www-form-urlencoded:
            schema:
              type: object
              required: [name]
              properties:
                name: {type: string, minLength: 2}
                age: {type: integer, minimum: 0}
                tags: {type: array, items: {type: integer}}
                id: {type: integer, readOnly: true}
`)
	for body, want := range map[string]string{
		"name=Ada":               "",
		"name=Ada&age=36":        "",
		"name=Ada&tags=1&tags=2": "",
		"name=A+B&tags=1":        "",
		"name=A":                 "/name too_short",
		"age=x":                  "/age type, /name required",
		"name=Ada&name=Eve":      "/name duplicate, /name required",
		"name=Ada&role=admin":    "unknown",
		"name=Ada&id=1":          "/id read_only",
		"name[$gt]=":             "/name required",
		"name=Ada&tags=x":        "/tags/0 type",
		"name=%zz":               "syntax",
		"name=Ada%ff":            "utf8",
		"name=Ada;age=1":         "syntax",
		"":                       "",
	} {
		if got := codes(t, d, request("POST", "/x", "application/x-www-form-urlencoded", body), body); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	d := parse(t, `
openapi: 3.1.0
paths:
  /x:
    post:
      requestBody:
        content:
          application/json: {schema: {type: integer}}
          application/merge-patch+json: {schema: {type: object}}
          image/*: {}
          multipart/form-data: {schema: {type: object, properties: {file: {type: string, format: binary}}}}
          text/plain: {schema: {type: string}}
  /any:
    post: {requestBody: {content: {"*/*": {}}}}
  /none:
    post: {}
`)
	for _, test := range []struct{ target, media, body, want string }{
		{"/x", "application/json", "1", ""},
		{"/x", "Application/JSON; charset=utf-8", "1", ""},
		{"/x", "application/json", `"a"`, "type"},
		{"/x", "application/merge-patch+json", "{}", ""},
		{"/x", "application/merge-patch+json", "1", "type"},
		{"/x", "image/png", "anything", ""},
		{"/x", "text/plain", "anything", ""},
		{"/x", "multipart/form-data; boundary=x", "anything", ""},
		{"/x", "text/csv", "a", "header/Content-Type media_type"},
		{"/x", "application/problem+json", "{}", "header/Content-Type media_type"},
		{"/x", "", "1", "header/Content-Type media_type"},
		{"/x", "json", "1", "header/Content-Type media_type"},
		{"/x", "", "", ""},
		{"/any", "text/csv", "a", ""},
		{"/none", "application/json", "{}", "unknown"},
		{"/none", "", "", ""},
	} {
		// As the control does: only JSON and forms are read.
		body := test.body
		if !strings.Contains(strings.ToLower(test.media), "json") {
			body = ""
		}
		if got := codes(t, d, request("POST", test.target, test.media, test.body), body); got != test.want {
			t.Errorf("%s as %q: %q, want %q", test.target, test.media, got, test.want)
		}
	}
	r := request("POST", "/x", "application/json", "1")
	if got := codes(t, d, r, ""); got != "required" {
		t.Errorf("a JSON body that was not given: %q", got)
	}
	r.Header.Add("Content-Type", "image/png")
	if got := codes(t, d, r, "1"); got != "header/Content-Type media_type" {
		t.Errorf("two Content-Types: %q", got)
	}
}

func TestCheckConcurrently(t *testing.T) {
	d := notes(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			for n := range 200 {
				body := fmt.Sprintf(`{"title":"a","n%d":%d}`, i, n)
				r := request("POST", "/api/notes", "application/json", body)
				if issues := d.Check(r, "/api/notes", []byte(body)); len(issues) != 1 || issues[0].Code != "unknown" {
					t.Errorf("%+v", issues)
				}
			}
		})
	}
	wg.Wait()
}

// FuzzRequest: no request makes the document panic, and its issues are sound.
func FuzzRequest(f *testing.F) {
	d := posting(f, `{$ref: "#/components/schemas/Pet"}`, `
Base: {type: object, required: [id, kind], properties: {id: {type: integer, readOnly: true}, kind: {type: string, maxLength: 5}}}
Dog: {allOf: [{$ref: "#/components/schemas/Base"}, {type: object, required: [bark], properties: {bark: {type: boolean}}}]}
Cat: {allOf: [{$ref: "#/components/schemas/Base"}, {properties: {lives: {type: number, minimum: 0, multipleOf: 0.5}, kittens: {type: array, uniqueItems: true, items: {$ref: "#/components/schemas/Pet"}}}}]}
Pet: {anyOf: [{$ref: "#/components/schemas/Dog"}, {$ref: "#/components/schemas/Cat"}]}
`)
	n := notes(f)
	f.Add("POST", "/x", "", []byte(`{"kind":"cat","lives":9,"kittens":[{"kind":"dog","bark":true}]}`))
	f.Add("POST", "/x", "a=1", []byte(`{"id":1,"lives":1e400,"kittens":[[],{},1,1.0]}`))
	f.Add("GET", "/api/notes", "limit=10&cursor=%41&q=a+b", []byte(nil))
	f.Add("PUT", "/api/notes/12", "", []byte(`{"title":"a"}`))
	f.Add("GET", "/api/notes/1e5", "limit=%zz;&&==&limit=1", []byte(`title=1&title=2`))
	f.Fuzz(func(t *testing.T, method, path, query string, body []byte) {
		for _, d := range []*openapi.Document{d, n} {
			for _, media := range []string{"application/json", "application/x-www-form-urlencoded", path} {
				r := request("POST", "/", media, string(body))
				r.Method, r.URL.RawQuery = method, query
				if path == "" || path[0] != '/' {
					path = "/" + path
				}
				issues := d.Check(r, path, body)
				if documented, _ := d.Find(method, path); !documented && len(issues) > 0 {
					t.Fatal("issues of an operation that is not described")
				}
				if len(issues) > 20 {
					t.Fatalf("%d issues", len(issues))
				}
				for _, i := range issues {
					if i.Code == "" || i.Message == "" || len(i.Path) > 1000 {
						t.Fatalf("%+v", i)
					}
				}
			}
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	d := notes(b)
	for _, c := range []struct{ name, method, target, body string }{
		{"GET", "GET", "/api/notes", ""},
		{"GETid", "GET", "/api/notes/77", ""},
		{"GETquery", "GET", "/api/notes?limit=20&cursor=abc", ""},
		{"POST200B", "POST", "/api/notes", `{"title":"A title of a note","text":"` + strings.Repeat("some words ", 14) + `"}`},
		{"POST40kB", "POST", "/api/notes", `{"title":"A title of a note","text":"` + strings.Repeat("some words ", 900) + `"}`},
		{"POSTrefused", "POST", "/api/notes", `{"title":"","id":1,"text":1,"owner":"root"}`},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := request(c.method, c.target, "application/json", c.body)
			body := []byte(c.body)
			b.ReportAllocs()
			for b.Loop() {
				d.Check(r, r.URL.Path, body)
			}
		})
	}
}

// BenchmarkCheckHostile is the worst that 200 kB can do to simple schemas.
func BenchmarkCheckHostile(b *testing.B) {
	d := posting(b, `{type: array, items: {type: object, required: [a], properties: {a: {type: integer}}}}`, "")
	body := []byte("[" + strings.Repeat("{},", 66_000) + "{}]")
	r := request("POST", "/x", "application/json", string(body))
	for b.Loop() {
		d.Check(r, "/x", body)
	}
}
