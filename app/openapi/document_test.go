package openapi_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/app/openapi"
)

// Each document has one mistake; the error says where and what.
func TestMistakes(t *testing.T) {
	const head = "openapi: 3.1.0\npaths:\n"
	get := func(parameter string) string {
		return head + "  /x:\n    get:\n      parameters:\n        - " + parameter + "\n"
	}
	body := func(schema string) string {
		return head + "  /x:\n    post:\n      requestBody: {content: {application/json: {schema: " + schema + "}}}\n"
	}
	for src, want := range map[string]string{
		"":                                     "it is not an object",
		"[]":                                   "it is not an object",
		"a: [":                                 "openapi",
		"a: 1\na: 2":                           "openapi",
		"openapi: 3.0.3\npaths: {/x: {}}":      "openapi:1: #/openapi: this is OpenAPI 3.0; raise it to 3.1.0",
		"swagger: '2.0'":                       "Swagger 2.0",
		"openapi: 3.2.0":                       "not known here",
		"openapi: 3.1":                         "as text, such as 3.1.0",
		"info: {}":                             "no openapi version",
		"openapi: 3.1.0\npaths: {}":            "no paths",
		"openapi: 3.1.0\njsonSchemaDialect: x": "default dialect",
		"openapi: 3.1.0\nservers: [{url: /a}, {url: /b}]\npaths: {/x: {}}": "differs from the first server's",
		"openapi: 3.1.0\nservers: [{url: 'x{y}'}]\npaths: {/x: {}}":        "not a URL",
		head + "  x: {}":                                                          "starts with /",
		head + "  /a//b: {}":                                                      "no empty",
		head + "  /a/../b: {}":                                                    "dot segments",
		head + "  /a%20b: {}":                                                     "decoded",
		head + "  /{a}.json: {}":                                                  "whole segment",
		head + "  /{a}: {}\n  /{b}: {}":                                           "the same but for",
		head + "  /{a}:\n    get: {}":                                             "no parameter describes it",
		head + "  /x: {servers: []}":                                              "from the root only",
		head + "  /x: {get: 1}":                                                   "an operation is an object",
		head + "  /x: {$ref: 'other.yaml'}":                                       "openapi:3: #/paths/~1x/$ref: only references into this document",
		head + "  /x: {$ref: '#/a'}":                                              "nothing is at #/a",
		head + "  /x: {$ref: '#/paths/~1x'}":                                      "circle",
		head + "  /x: {get: {parameters: 1}}":                                     "parameters are a list",
		get("{in: query, schema: {}}"):                                            "has a name",
		get("{name: a, in: body, schema: {}}"):                                    "in query, path, header or cookie",
		get("{name: a, in: path, schema: {}}"):                                    "no {a}",
		get("{name: a, in: query}"):                                               "has a schema",
		get("{name: a, in: query, content: {application/json: {}}}"):              "parameters with content",
		get("{name: a, in: query, style: deepObject, schema: {type: object}}"):    "style deepObject",
		get("{name: a, in: query, schema: {type: [array, string], items: {}}}"):   "may be either",
		get("{name: a, in: query, schema: {type: array, items: {type: object}}}"): "objects in an array",
		get("{name: a, in: query, style: pipeDelimited, schema: {type: string}, explode: true}"):                                          "style pipeDelimited",
		get("{name: a, in: header, style: form, schema: {type: string}}"):                                                                 "style form",
		get("{name: a, in: query, schema: {}}\n        - {name: a, in: query, schema: {}}"):                                               "stands twice",
		head + "  /x/{a}:\n    get: {parameters: [{name: a, in: path, required: true, style: matrix, schema: {}}]}":                       "style matrix",
		head + "  /x/{a}:\n    get: {parameters: [{name: a, in: path, schema: {}}]}":                                                      "required: true",
		head + "  /x: {post: {requestBody: {}}}":                                                                                          "has content",
		head + "  /x: {post: {requestBody: {content: {json: {}}}}}":                                                                       "media type without parameters",
		head + "  /x: {post: {requestBody: {content: {application/x-www-form-urlencoded: {schema: {properties: {a: {type: object}}}}}}}}": "a form is flat",
		body("{type: strin}"):                        "#/paths/~1x/post/requestBody/content/application~1json/schema/type: ",
		body("{type: object, propertys: {}}"):        "propertys is no keyword",
		body("{type: string, nullable: true}"):       "OpenAPI 3.0's",
		body("{minimum: 1, exclusiveMinimum: true}"): "exclusiveMinimum: must be a number",
		body("{pattern: '(?=a)'}"):                   "regular expressions",
		body("{patternProperties: {'(': {}}}"):       "regular expressions",
		body("{$ref: '#/components/schemas/No'}"):    "nothing is at",
		body("{$ref: 'https://example.com/a'}"):      "only references into this document",
		body("{$ref: '#note'}"):                      "anchors are not followed",
		body("{$id: x}"):                             "$id is not followed",
		body("{properties: {a: {items: 1}}}"):        "/schema/properties/a/items: ",
		body("{maxLength: .inf}"):                    "not finite",
		body("{allOf: [{properties: {a: {type: object, properties: {b: {}}}}}, {properties: {a: {type: object, properties: {c: {}}}}}]}"): `the property "a" is an object that is described in several branches`,
	} {
		_, err := openapi.Parse([]byte(src))
		if err == nil {
			t.Errorf("taken, want %q:\n%s", want, src)
		} else if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "openapi") {
			t.Errorf("%v\nwant %q for\n%s", err, want, src)
		}
	}
}

func TestMistakesComeTogether(t *testing.T) {
	_, err := openapi.Parse([]byte("openapi: 3.1.0\npaths:\n  /a:\n    get:\n      parameters:\n        - {name: a, in: query, schema: {typ: string}}\n  /b/{id}:\n    get: {}\n  c: {}\n"))
	for _, want := range []string{"openapi:6: #/paths/~1a/get/parameters/0/schema/typ: ", "openapi:8: #/paths/~1b~1{id}/get: ", "openapi:9: #/paths/c: "} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	if _, err := openapi.Load(filepath.Join(t.TempDir(), "none.yaml")); err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a missing file: %v", err)
	}
	file := filepath.Join(t.TempDir(), "api.json")
	if err := os.WriteFile(file, []byte(`{"openapi":"3.1.0","paths":{"/x":{"get":{}}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := openapi.Load(file); err != nil {
		t.Error(err)
	} else if documented, _ := d.Find("GET", "/x"); !documented {
		t.Error("a JSON document is not read")
	}
	if err := os.WriteFile(file, []byte(`{"openapi":"3.1.0","paths":{"x":{}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openapi.Load(file); err == nil || !strings.HasPrefix(err.Error(), file+":1: #/paths/x: ") {
		t.Errorf("%v", err)
	}
	bomb := "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
	for i := 'b'; i < 'i'; i++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", i, i, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1, i-1)
	}
	if _, err := openapi.Parse([]byte(bomb)); err == nil || !strings.Contains(err.Error(), "aliases") {
		t.Errorf("an alias bomb: %.200v", err)
	}
}

// FuzzDocument: no document makes the compiler panic, and one that compiles
// can be asked.
func FuzzDocument(f *testing.F) {
	f.Add([]byte("openapi: 3.1.0\npaths: {/x: {post: {parameters: [{name: a, in: query, schema: {type: integer}}], requestBody: {content: {application/json: {schema: {type: object, required: [a], properties: {a: {readOnly: true}}}}}}}}}\n"))
	f.Add([]byte("openapi: 3.1.0\npaths: {/x/{a}: {post: {parameters: [{name: a, in: path, required: true, schema: {$ref: '#/paths'}}], requestBody: {content: {application/json: {schema: {$ref: '#'}}}}}}}\n"))
	f.Add([]byte(`{"openapi":"3.1.0","paths":{"/x":{"post":{"requestBody":{"content":{"application/json":{"schema":{"allOf":[{"$ref":"#/paths/~1x/post/requestBody/content/application~1json/schema"}]}}}}}}}}`))
	f.Fuzz(func(t *testing.T, src []byte) {
		d, err := openapi.Parse(src)
		if err != nil {
			return
		}
		r := request("POST", "/x", "application/json", "{}")
		d.Find("POST", "/x")
		d.Check(r, "/x", []byte("{}"))
	})
}
