package openapi

import "slices"

// A group is what is said about one value, together, by a schema and all its
// parts.
type group struct {
	object bool // it may be an object that some part describes
	open   bool // the schema itself says what becomes of further properties
	simple bool // one part alone describes it

	omit  map[string]bool   // names of properties that are readOnly
	twice map[string]bool   // properties that are objects in several parts that hold at once
	where map[string]string // pointer of each property, as far as parts hold at once
}

// group walks the parts of the value that the schema describes.
func (b *bundle) group(schema any, ptr string) *group { return b.groupOf(schema, ptr, true) }

// groupOf is group; without atOnce it does not look for properties that are
// described twice.
func (b *bundle) groupOf(schema any, ptr string, atOnce bool) *group {
	g := &group{simple: true, omit: map[string]bool{}, twice: map[string]bool{}, where: map[string]string{}}
	own, _ := schema.(map[string]any)
	at := ptr
	for range 100 { // what a reference leads to, and says itself, counts as own
		if _, isRef := own["$ref"]; !isRef || !alone(own) {
			break
		}
		target, to, ok := b.l.follow(own, at)
		next, isObject := target.(map[string]any)
		if !ok || !isObject {
			return g
		}
		own, at = next, to
	}
	_, additional := own["additionalProperties"]
	_, unevaluated := own["unevaluatedProperties"]
	g.open = additional || unevaluated
	b.gather(g, schema, ptr, atOnce, map[string]bool{})
	if t, ok := own["type"]; ok && !typeNames(t).has("object") {
		g.object = false
	}
	return g
}

// alone reports whether a schema is a reference and nothing else that judges.
func alone(s map[string]any) bool {
	for key := range s {
		if key != "$ref" && !slices.Contains(annotations, key) {
			return false
		}
	}
	return true
}

// gather adds a schema to the group. at once is false below anyOf and oneOf,
// whose branches need not hold together.
func (b *bundle) gather(g *group, schema any, ptr string, atOnce bool, seen map[string]bool) {
	s, ok := schema.(map[string]any)
	if !ok || seen[ptr] {
		return
	}
	seen[ptr] = true
	if typeNames(s["type"]).has("object") {
		g.object = true
	}
	for _, key := range sorted(s) {
		v, at := s[key], ptr+"/"+escape(key)
		switch key {
		case "properties":
			g.object = true
			o, _ := v.(map[string]any)
			for _, name := range sorted(o) {
				b.property(g, name, o[name], at+"/"+escape(name), atOnce)
			}
		case "patternProperties", "required", "minProperties", "maxProperties", "dependentRequired":
			g.object = true
		case "$ref":
			g.simple = g.simple && alone(s)
			if target, to, ok := b.l.follow(s, ptr); ok {
				b.gather(g, target, to, atOnce, seen)
			}
		case "allOf", "anyOf", "oneOf":
			g.simple = false
			list, _ := v.([]any)
			for i := range list {
				b.gather(g, list[i], at+"/"+itoa(i), atOnce && key == "allOf", seen)
			}
		case "then", "else":
			g.simple = false
			b.gather(g, v, at, atOnce, seen)
		case "dependentSchemas":
			g.simple = false
			o, _ := v.(map[string]any)
			for _, name := range sorted(o) {
				b.gather(g, o[name], at+"/"+escape(name), atOnce, seen)
			}
		}
	}
}

// property notes one property of the value.
func (b *bundle) property(g *group, name string, schema any, ptr string, atOnce bool) {
	if b.isReadOnly(schema, ptr, 0) {
		g.omit[name] = true
	}
	if !atOnce {
		return
	}
	s, ok := schema.(map[string]any)
	if !ok {
		return
	}
	if _, isRef := s["$ref"]; isRef && alone(s) {
		if _, to, ok := b.l.follow(s, ptr); ok {
			ptr = to // the same definition twice is one
		}
	}
	if other, twice := g.where[name]; twice && other != ptr {
		if b.closes(other) && b.closes(ptr) {
			g.twice[name] = true
		}
		return
	}
	g.where[name] = ptr
}

// closes reports whether the schema at ptr would be closed at a use site.
func (b *bundle) closes(ptr string) bool {
	schema, ok := b.l.at(ptr)
	if !ok {
		return false
	}
	g := b.groupOf(schema, ptr, false)
	return g.object && !g.open
}

// isReadOnly looks at a property's schema, what it refers to and its allOf.
func (b *bundle) isReadOnly(schema any, ptr string, depth int) bool {
	s, ok := schema.(map[string]any)
	if !ok || depth > 20 {
		return false
	}
	if s["readOnly"] == true {
		return true
	}
	if _, isRef := s["$ref"]; isRef {
		if target, to, ok := b.l.follow(s, ptr); ok && b.isReadOnly(target, to, depth+1) {
			return true
		}
	}
	list, _ := s["allOf"].([]any)
	for i := range list {
		if b.isReadOnly(list[i], ptr+"/allOf/"+itoa(i), depth+1) {
			return true
		}
	}
	return false
}

// typeNames reads the keyword type.
func typeNames(v any) (t types) {
	switch v := v.(type) {
	case string:
		return types{v}
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				t = append(t, s)
			}
		}
	}
	return t
}

// types are those that a schema may take, for reading strings; nil: any.
func (b *bundle) types(schema any, ptr string) (t types) {
	b.collectTypes(&t, schema, ptr, 0)
	return t
}

func (b *bundle) collectTypes(t *types, schema any, ptr string, depth int) {
	s, ok := schema.(map[string]any)
	if !ok || depth > 20 {
		return
	}
	for _, name := range typeNames(s["type"]) {
		if !t.has(name) {
			*t = append(*t, name)
		}
	}
	b.inPlace(s, ptr, func(v any, at string) { b.collectTypes(t, v, at, depth+1) })
}

// elementTypes are the types of an array's elements.
func (b *bundle) elementTypes(schema any, ptr string) (t types) {
	b.collectElementTypes(&t, schema, ptr, 0)
	return t
}

func (b *bundle) collectElementTypes(t *types, schema any, ptr string, depth int) {
	s, ok := schema.(map[string]any)
	if !ok || depth > 20 {
		return
	}
	if items, ok := s["items"]; ok {
		b.collectTypes(t, items, ptr+"/items", 0)
	}
	list, _ := s["prefixItems"].([]any)
	for i := range list {
		b.collectTypes(t, list[i], ptr+"/prefixItems/"+itoa(i), 0)
	}
	b.inPlace(s, ptr, func(v any, at string) { b.collectElementTypes(t, v, at, depth+1) })
}

// inPlace visits the parts that describe the same value.
func (b *bundle) inPlace(s map[string]any, ptr string, visit func(v any, ptr string)) {
	if _, ok := s["$ref"]; ok {
		if target, to, ok := b.l.follow(s, ptr); ok {
			visit(target, to)
		}
	}
	for _, key := range partLists {
		list, _ := s[key].([]any)
		for i := range list {
			visit(list[i], ptr+"/"+key+"/"+itoa(i))
		}
	}
}
