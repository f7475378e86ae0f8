package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A loader compiles one document and collects its mistakes.
type loader struct {
	file   string
	src    []byte
	root   map[string]any
	places *ast.File // parsed when the first mistake asks for a line
	errs   []error
	seen   map[string]bool // mistakes by their text: shared schemas are met often

	meta    *jsonschema.Schema
	checked map[string]bool // schemas held against meta, by pointer
	bundle  *bundle
	nodes   int
}

func newLoader(file string, src []byte) *loader {
	l := &loader{file: file, src: src, seen: map[string]bool{}, checked: map[string]bool{}}
	l.bundle = newBundle(l)
	return l
}

// errorf notes a mistake at a JSON Pointer.
func (l *loader) errorf(ptr, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if ptr == "" {
		ptr = "/"
	}
	at := l.file
	if line := l.line(ptr); line > 0 {
		at += ":" + strconv.Itoa(line)
	}
	text = at + ": #" + strings.TrimSuffix(ptr, "/") + ": " + text
	if !l.seen[text] {
		l.seen[text] = true
		l.errs = append(l.errs, errors.New(text))
	}
}

// read decodes YAML, of which JSON is a part, to what encoding/json would give,
// with numbers as json.Number.
func (l *loader) read() (map[string]any, bool) {
	if len(l.src) > maxSource {
		l.errs = append(l.errs, fmt.Errorf("%s: the document has more than %d bytes", l.file, maxSource))
		return nil, false
	}
	var v any
	if err := yaml.Unmarshal(l.src, &v); err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %s", l.file, yaml.FormatError(err, false, true)))
		return nil, false
	}
	v, err := l.plain(v)
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", l.file, err))
		return nil, false
	}
	root, ok := v.(map[string]any)
	if !ok {
		l.errs = append(l.errs, fmt.Errorf("%s: it is not an object, so not an OpenAPI document", l.file))
	}
	l.root = root
	return root, ok
}

// plain makes JSON values of YAML's. Aliases are repeated, so it counts.
func (l *loader) plain(v any) (any, error) {
	const most = 1_000_000
	if l.nodes++; l.nodes > most {
		return nil, fmt.Errorf("the document has more than %d values; are there aliases of aliases?", most)
	}
	var err error
	switch v := v.(type) {
	case nil, bool, string:
		return v, nil
	case uint64:
		return json.Number(strconv.FormatUint(v, 10)), nil
	case int64:
		return json.Number(strconv.FormatInt(v, 10)), nil
	case int:
		return json.Number(strconv.Itoa(v)), nil
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return nil, errors.New("a number is not finite, which JSON does not know")
		}
		return json.Number(strconv.FormatFloat(v, 'g', -1, 64)), nil
	case []any:
		out := make([]any, len(v))
		for i := range v {
			if out[i], err = l.plain(v[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for k := range v {
			if out[k], err = l.plain(v[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[any]any:
		out := make(map[string]any, len(v))
		for k := range v {
			if out[fmt.Sprint(k)], err = l.plain(v[k]); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a value of YAML's type %T has no form in JSON", v)
}

// resolve follows $ref from an object to where it leads, and says where that
// is. Mistakes are noted; ok is then false.
func (l *loader) resolve(v any, ptr string) (target map[string]any, at string, ok bool) {
	for range 100 {
		o, isObject := v.(map[string]any)
		if !isObject {
			l.errorf(ptr, "this must be an object")
			return nil, ptr, false
		}
		if _, isRef := o["$ref"]; !isRef {
			return o, ptr, true
		}
		if v, ptr, ok = l.follow(o, ptr); !ok {
			return nil, ptr, false
		}
	}
	l.errorf(ptr, "the references lead in a circle")
	return nil, ptr, false
}

// follow takes one $ref.
func (l *loader) follow(o map[string]any, ptr string) (target any, at string, ok bool) {
	ref, isString := o["$ref"].(string)
	fragment, local := strings.CutPrefix(ref, "#")
	switch {
	case !isString:
		l.errorf(ptr+"/$ref", "a reference is a string")
		return nil, ptr, false
	case !local:
		l.errorf(ptr+"/$ref", "only references into this document are followed; bundle it into one file")
		return nil, ptr, false
	case fragment != "" && fragment[0] != '/':
		l.errorf(ptr+"/$ref", "anchors are not followed; write a JSON Pointer, such as #/components/schemas/Note")
		return nil, ptr, false
	}
	fragment = unescapeFragment(fragment)
	target, ok = l.at(fragment)
	if !ok {
		l.errorf(ptr+"/$ref", "nothing is at %s", ref)
	}
	return target, fragment, ok
}

// at finds the value at a JSON Pointer.
func (l *loader) at(ptr string) (v any, ok bool) {
	v = l.root
	for _, token := range tokens(ptr) {
		switch o := v.(type) {
		case map[string]any:
			if v, ok = o[token]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(o) {
				return nil, false
			}
			v = o[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// line finds the line of a JSON Pointer, or of the nearest value above it.
func (l *loader) line(ptr string) int {
	if l.places == nil {
		f, err := parser.ParseBytes(l.src, 0)
		if err != nil || len(f.Docs) == 0 {
			return 0
		}
		l.places = f
	}
	n := l.places.Docs[0].Body
	line := 0
	for _, token := range tokens(ptr) {
		var key ast.Node
		if key, n = step(n, token); n == nil {
			break
		}
		if key == nil {
			key = n
		}
		line = key.GetToken().Position.Line
	}
	return line
}

// step goes from a node to its member or element. key is the member's.
func step(n ast.Node, token string) (key, value ast.Node) {
	switch n := n.(type) {
	case *ast.AnchorNode:
		return step(n.Value, token)
	case *ast.MappingNode:
		for _, m := range n.Values {
			if k, v := step(m, token); v != nil {
				return k, v
			}
		}
	case *ast.MappingValueNode:
		if n.Key.GetToken().Value == token {
			return n.Key, n.Value
		}
	case *ast.SequenceNode:
		if i, err := strconv.Atoi(token); err == nil && i >= 0 && i < len(n.Values) {
			return nil, n.Values[i]
		}
	}
	return nil, nil
}

// escape makes a JSON Pointer's token of a name (RFC 6901, 3).
func escape(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func tokens(ptr string) []string {
	if ptr == "" || ptr == "/" {
		return nil
	}
	list := strings.Split(ptr[1:], "/")
	for i, t := range list {
		list[i] = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
	}
	return list
}

// sorted lists a map's keys, so that mistakes come in one order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
