package policy_test

import (
	"errors"
	"fmt"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/ringwall/ringwall/policy"
)

// Every key and value is where another YAML parser sees it. Sections that are
// tables or lists are pointed at by their key.
func TestPositionsAgreeWithAnotherParser(t *testing.T) {
	const tricky = "\ufeff# résumé\r\n" +
		"site:   \"a.example.com\" # ünïcode\r\n" +
		"'upstream' : http://127.0.0.1:8000\r\n" +
		"app:\r\n" +
		"    cors: {\"origins\": [ 'https://a.example.com' ,\r\n" +
		"       https://b.example.com], credentials: true}\r\n" +
		"    headers:\r\n" +
		"      csp: >-\r\n" +
		"        default-src 'none';\r\n" +
		"        base-uri 'none'\r\n" +
		"      permissions:\r\n" +
		"        \"geolocation=(),\r\n" +
		"         camera=()\"\r\n" +
		"    limits: { auth: { message: 'ünïcode 日本 ✓', requests: 3 }, global: {per: 1h}}\r\n" +
		"    routes:\r\n" +
		"    - path: /a\r\n" +
		"      allow:\r\n" +
		"      - anyone\r\n" +
		"    -   {path: /b,  allow: [admin], body:   1MB }\r\n" +
		"\r\n" +
		"identity:\r\n" +
		"  roles:\r\n" +
		"    admin: [\"*\"]\r\n"
	for name, src := range map[string]string{
		"tricky":   tricky,
		"template": string(policy.Template("api.example.com", "unix:/run/api.sock")),
		"shown":    string(mustParse(t, tricky).Show()),
	} {
		t.Run(name, func(t *testing.T) {
			p := mustParse(t, src)
			var doc yaml.Node
			if err := yaml.Unmarshal([]byte(src), &doc); err != nil {
				t.Fatal(err)
			}
			if n := comparePlaces(t, p, "", nil, doc.Content[0]); n < 20 {
				t.Errorf("only %d places were compared", n)
			}
		})
	}
}

func comparePlaces(t *testing.T, p *policy.Policy, path string, key, n *yaml.Node) (compared int) {
	if path != "" {
		want := n
		if key != nil && n.Kind != yaml.ScalarNode {
			want = key
		}
		var e *policy.Error
		if !errors.As(p.Errorf(path, "", "x"), &e) {
			t.Fatalf("%s: no *policy.Error", path)
		}
		if e.Line != want.Line || e.Column != want.Column {
			t.Errorf("%s: at %d:%d, want %d:%d", path, e.Line, e.Column, want.Line, want.Column)
		}
		compared = 1
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			at := n.Content[i].Value
			if path != "" {
				at = path + "." + at
			}
			compared += comparePlaces(t, p, at, n.Content[i], n.Content[i+1])
		}
	case yaml.SequenceNode:
		for i, e := range n.Content {
			compared += comparePlaces(t, p, fmt.Sprintf("%s[%d]", path, i), nil, e)
		}
	}
	return compared
}

func mustParse(t testing.TB, src string, env ...string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse("ringwall.yaml", []byte(src), alone(env...))
	if err != nil {
		t.Fatal(err)
	}
	return p
}
