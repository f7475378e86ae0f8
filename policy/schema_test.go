package policy_test

import (
	"bytes"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/rogpeppe/go-internal/txtar"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ringwall/ringwall/policy"
)

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(policy.Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	if err := c.AddResource("policy.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("policy.json") // judges it by its own draft's schema too
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, src []byte) error {
	t.Helper()
	asJSON, err := yaml.YAMLToJSON(src)
	if err != nil {
		return err
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(v)
}

func TestSchemaAcceptsWhatParseAccepts(t *testing.T) {
	s := compiledSchema(t)
	for name, src := range map[string]string{
		"template":       string(policy.Template("api.example.com", "http://127.0.0.1:8000")),
		"shown":          string(mustParse(t, string(policy.Template("a.example.com", ""))).Show()),
		"empty sections": "site: a.example.com\nedge:\napp: {cors: , limits: {auth: , global: {requests: 5}}, routes: }\nidentity:\nwaivers:\n",
		"a class":        "site: a.example.com\napp: {limits: {x: {requests: 5, per: 1h30m, paths: [/x], on_store_error: deny}}}\n",
	} {
		mustParse(t, src)
		if err := validate(t, s, []byte(src)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaFindsWhatEditorsCan(t *testing.T) {
	s := compiledSchema(t)
	for _, src := range []string{
		"siet: a.example.com\n", "{}\n", "site: 5\n", "site: \"\"\n",
		"site: a\napp: {body: 200}\n", "site: a\napp: {body: 200kb}\n", "site: a\napp: {timeout: 30}\n", "site: a\napp: {timeout: s}\n",
		"site: a\napp: {timeout: \"\"}\n", "site: a\napp: {json_depth: 0}\n", "site: a\napp: {log: loud}\n",
		"site: a\napp: {routes: [{path: /}]}\n", "site: a\napp: {routes: [{path: /, allow: []}]}\n", "site: a\napp: {routes: [{path: /, allow: [x], methods: [get]}]}\n",
		"site: a\napp: {limits: {x: {requests: 1}}}\n", "site: a\napp: {limits: {auth: {reqests: 1}}}\n",
		"site: a\nwaivers: [{control: a/b, reason: because of that}]\n", "site: a\nidentity: {token_key: x}\n",
	} {
		if validate(t, s, []byte(src)) == nil {
			t.Errorf("accepted: %s", src)
		}
	}
	// What an editor can see at all of the known mistakes.
	archive, err := txtar.ParseFile("testdata/mistakes.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archive.Files {
		switch f.Name {
		case "unknown-keys.yaml", "wrong-types.yaml", "units.yaml":
			if validate(t, s, f.Data) == nil {
				t.Errorf("%s was accepted", f.Name)
			}
		}
	}
}
