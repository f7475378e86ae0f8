package openapi

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// A bundle rewrites the document's schemas into one JSON Schema resource as
// requests need them: closed where they are used, and without what is readOnly.
//
// A schema is met in one of three ways, and the same definition may be met in
// all of them. At a use site (a body, a property, an element) it describes a
// whole value: there the object is closed. As a part (a branch of allOf, what a
// $ref leads to) it describes a value together with others: closing it would
// refuse what its siblings describe. In a test (not, if, contains,
// propertyNames) it decides, and stays as it is.
type bundle struct {
	l        *loader
	defs     map[string]any    // rewritten, by name
	names    map[defKey]string // of defs
	sites    map[string]int    // number of each use, by pointer
	known    map[string]struct{}
	readOnly map[string]struct{} // names of properties that are readOnly somewhere
	enums    []*jsonschema.Format
}

// defKey is a definition met in one way.
type defKey struct {
	ptr  string
	mode mode
	omit string // readOnly properties of the value, joined
}

type mode uint8

const (
	part   mode = iota
	closed      // a part that is the whole, and is closed by additionalProperties
	test
)

func newBundle(l *loader) *bundle {
	return &bundle{l: l, defs: map[string]any{}, names: map[defKey]string{}, sites: map[string]int{},
		known: map[string]struct{}{}, readOnly: map[string]struct{}{}}
}

// A use numbers the schema of a body or parameter; 0 is none.
type use int

func (u use) def() string     { return "use" + itoa(int(u)) }
func (u use) refuted() string { return "not" + itoa(int(u)) }

// use takes the schema of a body or parameter in.
func (b *bundle) use(schema any, ptr string) use {
	if n, ok := b.sites[ptr]; ok {
		return use(n)
	}
	n := use(len(b.sites) + 1)
	b.sites[ptr] = int(n)
	b.l.conforms(schema, ptr)
	b.defs[n.def()] = b.site(schema, ptr)
	return n
}

// site rewrites the schema of a whole value.
func (b *bundle) site(schema any, ptr string) any {
	if _, ok := schema.(map[string]any); !ok {
		return schema // true or false
	}
	g := b.group(schema, ptr)
	for _, name := range sorted(g.twice) {
		b.l.errorf(ptr, "the property %q is an object that is described in several branches; describe it in one, or say there which properties are unevaluated", name)
	}
	omit := strings.Join(sorted(g.omit), "\x00")
	switch {
	case !g.object || g.open:
		return b.rewrite(schema, ptr, part, omit)
	case g.simple:
		return b.rewrite(schema, ptr, closed, omit)
	}
	return map[string]any{"allOf": []any{b.rewrite(schema, ptr, part, omit)}, "unevaluatedProperties": false}
}

// The keywords of JSON Schema 2020-12, by what they hold.
var (
	assertions = words("type const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern " +
		"maxItems minItems maxContains minContains maxProperties minProperties")
	annotations = words("title description default deprecated readOnly writeOnly examples $comment $schema contentEncoding contentMediaType contentSchema " +
		"example externalDocs discriminator xml") // the last four are OpenAPI's
	siteKeywords = words("items additionalProperties unevaluatedProperties unevaluatedItems")
	partKeywords = words("then else")
	testKeywords = words("not if contains propertyNames")
	siteMaps     = words("properties patternProperties")
	partLists    = words("allOf anyOf oneOf")
	definitions  = words("$defs definitions")
)

func words(s string) []string { return strings.Fields(s) }

// rewrite copies a schema that is met in the given way.
func (b *bundle) rewrite(schema any, ptr string, m mode, omit string) any {
	s, ok := schema.(map[string]any)
	if !ok {
		return schema
	}
	out := make(map[string]any, len(s)+1)
	inner := func(v any, ptr string) any { // a value inside this one
		if m == test {
			return b.rewrite(v, ptr, test, "")
		}
		return b.site(v, ptr)
	}
	same := func(v any, ptr string) any { // another part of this value
		if m == test {
			return b.rewrite(v, ptr, test, "")
		}
		return b.rewrite(v, ptr, part, omit)
	}
	var apart []any // what is judged by formats, each in a schema of its own
	judged := func(format any) { apart = append(apart, map[string]any{"format": format}) }
	for _, key := range sorted(s) {
		v, at := s[key], ptr+"/"+escape(key)
		switch {
		case key == "format":
			if b.scalar(schema, ptr) {
				out[key] = v
			} else {
				judged(v)
			}
		case key == "uniqueItems":
			if v == true {
				judged(uniqueFormat)
			}
		case key == "enum":
			if list, _ := v.([]any); slow(list) {
				judged(b.enum(list))
			} else {
				out[key] = v
			}
		case slices.Contains(assertions, key):
			out[key] = v
			if pattern, ok := v.(string); ok && key == "pattern" {
				b.pattern(pattern, at)
			}
		case slices.Contains(annotations, key), slices.Contains(definitions, key), strings.HasPrefix(key, "x-"):
		case slices.Contains(siteKeywords, key):
			out[key] = inner(v, at)
		case slices.Contains(partKeywords, key):
			out[key] = same(v, at)
		case slices.Contains(testKeywords, key):
			out[key] = b.rewrite(v, at, test, "")
		case slices.Contains(siteMaps, key):
			out[key] = b.members(v, at, key, omit, inner)
		case slices.Contains(partLists, key):
			out[key] = each(v, at, same)
		case key == "prefixItems":
			out[key] = each(v, at, inner)
		case key == "dependentSchemas":
			out[key] = b.members(v, at, key, "", same)
		case key == "required":
			out[key] = without(v, omit)
		case key == "dependentRequired":
			if o, ok := v.(map[string]any); ok {
				copied := make(map[string]any, len(o))
				for name := range o {
					copied[name] = without(o[name], omit)
				}
				out[key] = copied
			}
		case key == "$ref":
			if target, to, ok := b.l.follow(s, ptr); ok {
				out["$ref"] = "#/$defs/" + b.define(target, to, m, omit)
			}
		default:
			b.l.errorf(at, "%s", unknownKeyword(key))
		}
	}
	if _, isRef := s["$ref"]; m == closed && !isRef {
		out["additionalProperties"] = false
	}
	if len(apart) > 0 {
		all, _ := out["allOf"].([]any)
		out["allOf"] = append(all, apart...)
	}
	if _, ok := out["format"]; !ok {
		out["format"] = stepFormat
	}
	return out
}

// slow reports whether the library takes long to compare a value with each of
// an enum: there are more than ten, or numbers, which it makes fractions of.
func slow(values []any) bool {
	return len(values) > 10 || slices.ContainsFunc(values, func(v any) bool {
		_, ok := v.(json.Number)
		return ok
	})
}

// scalar reports whether what a schema describes holds no further values, so
// that there are no steps to be counted.
func (b *bundle) scalar(schema any, ptr string) bool {
	t := b.types(schema, ptr)
	return len(t) > 0 && !t.has("object") && !t.has("array")
}

// enum makes a format of the values of an enum, and returns its name.
func (b *bundle) enum(values []any) string {
	name := enumFormat + itoa(len(b.enums))
	b.enums = append(b.enums, listed(name, values))
	return name
}

func unknownKeyword(key string) string {
	switch key {
	case "nullable":
		return `nullable is OpenAPI 3.0's; write type: [string, "null"]`
	case "$id", "$anchor", "$dynamicAnchor", "$dynamicRef", "$vocabulary", "$recursiveRef", "$recursiveAnchor", "id":
		return key + " is not followed here; refer by JSON Pointer, such as #/components/schemas/Note"
	case "dependencies":
		return "dependencies is older than 2020-12; write dependentRequired or dependentSchemas"
	case "additionalItems":
		return "additionalItems is older than 2020-12; write prefixItems and items"
	}
	return key + " is no keyword of JSON Schema 2020-12, so that it would check nothing; a name of your own starts with x-"
}

// define takes in what a $ref leads to, once for each way it is met.
func (b *bundle) define(schema any, ptr string, m mode, omit string) string {
	key := defKey{ptr, m, omit}
	if name, ok := b.names[key]; ok {
		return name
	}
	name := "def" + itoa(len(b.names))
	b.names[key] = name
	b.l.conforms(schema, ptr)
	b.defs[name] = b.rewrite(schema, ptr, m, omit)
	return name
}

// members rewrites the schemas of properties, patternProperties or
// dependentSchemas. Properties on the list omit may not be sent.
func (b *bundle) members(v any, ptr, key, omit string, rewrite func(any, string) any) any {
	o, ok := v.(map[string]any)
	if !ok {
		return v
	}
	omitted := strings.Split(omit, "\x00")
	out := make(map[string]any, len(o))
	for _, name := range sorted(o) {
		at := ptr + "/" + escape(name)
		switch key {
		case "properties":
			b.known[name] = struct{}{}
			if omit != "" && slices.Contains(omitted, name) {
				b.readOnly[name] = struct{}{}
				out[name] = false
				continue
			}
		case "patternProperties":
			b.pattern(name, at)
		}
		out[name] = rewrite(o[name], at)
	}
	return out
}

func (b *bundle) pattern(pattern, ptr string) {
	if _, err := regexp.Compile(pattern); err != nil {
		b.l.errorf(ptr, "Go's regular expressions, which take linear time, do not have this: %v", err)
	}
}

func each(v any, ptr string, rewrite func(any, string) any) any {
	list, ok := v.([]any)
	if !ok {
		return v
	}
	out := make([]any, len(list))
	for i := range list {
		out[i] = rewrite(list[i], ptr+"/"+itoa(i))
	}
	return out
}

// without drops the names on the list omit from a list.
func without(v any, omit string) any {
	list, ok := v.([]any)
	if !ok || omit == "" {
		return v
	}
	omitted := strings.Split(omit, "\x00")
	return slices.DeleteFunc(slices.Clone(list), func(v any) bool {
		name, ok := v.(string)
		return ok && slices.Contains(omitted, name)
	})
}

// conforms holds a schema against the metaschema of JSON Schema 2020-12.
func (l *loader) conforms(schema any, ptr string) {
	if l.checked[ptr] {
		return
	}
	l.checked[ptr] = true
	if l.meta == nil {
		l.meta = jsonschema.NewCompiler().MustCompile("https://json-schema.org/draft/2020-12/schema")
	}
	err, ok := l.meta.Validate(schema).(*jsonschema.ValidationError)
	if !ok {
		return
	}
	for _, leaf := range leaves(err, nil) {
		at := ptr
		for _, token := range leaf.InstanceLocation {
			at += "/" + escape(token)
		}
		l.errorf(at, "%s", describe(leaf.ErrorKind).message)
	}
}

// unescapeFragment undoes the percent escapes of a URL's fragment.
func unescapeFragment(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
