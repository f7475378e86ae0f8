package app

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
)

// inputPlan is the input type of a typed handler, compiled.
type inputPlan struct {
	body  *objectPlan // nil: no body is expected
	path  parameters
	query parameters
}

// target is the struct that in, a pointer, points to.
func (p *inputPlan) target(in any) reflect.Value { return reflect.ValueOf(in).Elem() }

// objectPlan is a JSON object with known members.
type objectPlan struct {
	fields []fieldPlan
	byName map[string]int
	folded map[string]int // by name without letter case
	known  string         // the names, for messages
}

type fieldPlan struct {
	name     string
	index    []int // of reflect.Value.FieldByIndex
	optional bool
	preset   reflect.Value // default; invalid: none
	value    *valuePlan
}

// parameters are path values or query parameters.
type parameters struct {
	where  string // "path" or "query"
	fields []fieldPlan
	byName map[string]int
	known  string
}

type valueKind uint8

const (
	stringValue valueKind = iota
	boolValue
	intValue
	uintValue
	floatValue
	textValue // encoding.TextUnmarshaler
	rawValue  // json.Unmarshaler
	sliceValue
	mapValue
	objectValue
	pointerValue
)

// valuePlan is how one value is decoded and judged.
type valuePlan struct {
	kind  valueKind
	typ   reflect.Type
	text  bool        // it has UnmarshalText, for parameters
	want  string      // what it must be, for messages
	elem  *valuePlan  // of a slice, map or pointer
	most  int         // elements of a slice, 0: any number
	obj   *objectPlan // of a struct
	rules []rule
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
)

// compileInput reads In's fields and tags. It reports every mistake.
func compileInput[In any]() (*inputPlan, error) {
	t := reflect.TypeFor[In]()
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("the input is %s; it must be a struct", t)
	}
	c := planCompiler{objects: map[reflect.Type]*objectPlan{}}
	p := &inputPlan{path: parameters{where: "path"}, query: parameters{where: "query"}}
	body := &objectPlan{}
	c.fields(t, nil, func(tag, name string, f fieldPlan, at string) {
		switch tag {
		case "json":
			body.fields = append(body.fields, f)
		case "path":
			c.parameter(&f, at, false)
			p.path.fields = append(p.path.fields, f)
		case "query":
			c.parameter(&f, at, true)
			p.query.fields = append(p.query.fields, f)
		}
	}, "json", "path", "query")
	if len(body.fields) > 0 {
		p.body = body
		c.index(t, body)
	}
	p.path.byName, p.path.known = c.names(t, p.path.fields)
	p.query.byName, p.query.known = c.names(t, p.query.fields)
	if len(c.errs) > 0 {
		return nil, errors.Join(c.errs...)
	}
	return p, nil
}

type planCompiler struct {
	objects map[reflect.Type]*objectPlan // also those under way: types may refer to themselves
	errs    []error
}

func (c *planCompiler) errorf(at, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf(at+": "+format, args...))
}

// fields compiles the exported fields of t that have one of the tags, and
// those of structs embedded in it.
func (c *planCompiler) fields(t reflect.Type, index []int, add func(tag, name string, f fieldPlan, at string), tags ...string) {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := t.String() + "." + sf.Name
		path := append(slices.Clip(index), i)
		tag, name := "", ""
		for _, candidate := range tags {
			value, ok := sf.Tag.Lookup(candidate)
			if !ok {
				continue
			}
			if tag != "" {
				c.errorf(at, "it has the tags %s and %s; a field comes from one place", tag, candidate)
			}
			tag = candidate
			name, _, _ = strings.Cut(value, ",")
		}
		switch {
		case sf.Anonymous && tag == "" && sf.Type.Kind() == reflect.Struct:
			c.fields(sf.Type, path, add, tags...)
			continue
		case tag == "json" && name == "-":
			continue
		case !sf.IsExported():
			if tag != "" {
				c.errorf(at, "it has a %s tag, but it is not exported", tag)
			}
			continue
		case name == "":
			c.errorf(at, `it has no name in a tag of %s; json:"-" leaves it out`, strings.Join(tags, ", "))
			continue
		}
		f := fieldPlan{name: name, index: path, value: c.value(sf.Type, at)}
		if f.value == nil {
			continue
		}
		f.optional = f.value.kind == pointerValue
		c.rules(&f, sf.Tag, at)
		add(tag, name, f, at)
	}
}

// parameter sees that a value can come from a path or a query.
func (c *planCompiler) parameter(f *fieldPlan, at string, several bool) {
	v := f.value
	if v.kind == sliceValue && several || v.kind == pointerValue {
		v = v.elem
	}
	switch v.kind {
	case stringValue, boolValue, intValue, uintValue, floatValue, textValue:
		return
	case rawValue:
		if v.text {
			return
		}
	}
	c.errorf(at, "%s cannot come from a parameter", v.typ)
}

// value compiles a type, or reports that no input may have it.
func (c *planCompiler) value(t reflect.Type, at string) *valuePlan {
	v := &valuePlan{typ: t}
	if t.Kind() != reflect.Pointer {
		ptr := reflect.PointerTo(t)
		v.text = ptr.Implements(textUnmarshaler)
		if ptr.Implements(jsonUnmarshaler) {
			v.kind, v.want = rawValue, "must be a well-formed "+t.Name()
			return v
		}
		if v.text {
			v.kind, v.want = textValue, "must be a string that is a well-formed "+t.Name()
			return v
		}
	}
	switch t.Kind() {
	case reflect.String:
		v.kind, v.want = stringValue, "must be a string"
	case reflect.Bool:
		v.kind, v.want = boolValue, "must be true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.kind, v.want = intValue, "must be a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.kind, v.want = uintValue, "must be a whole number, not negative"
	case reflect.Float32, reflect.Float64:
		v.kind, v.want = floatValue, "must be a number"
	case reflect.Struct:
		v.kind, v.want = objectValue, "must be an object"
		v.obj = c.object(t)
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Pointer {
			c.errorf(at, "it is a pointer to a pointer")
			return nil
		}
		v.kind, v.elem = pointerValue, c.value(t.Elem(), at)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			c.errorf(at, "bytes have no one form in JSON; use string, or a type with UnmarshalText")
			return nil
		}
		v.kind, v.want, v.elem = sliceValue, "must be an array", c.value(t.Elem(), at)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			c.errorf(at, "the keys of a map must be strings")
			return nil
		}
		v.kind, v.want, v.elem = mapValue, "must be an object", c.value(t.Elem(), at)
	case reflect.Interface:
		c.errorf(at, "%s takes input of any shape; name the type that you expect", t)
		return nil
	default:
		c.errorf(at, "%s cannot be input", t)
		return nil
	}
	if v.elem == nil && (v.kind == pointerValue || v.kind == sliceValue || v.kind == mapValue) {
		return nil // reported
	}
	return v
}

// object compiles a struct type once.
func (c *planCompiler) object(t reflect.Type) *objectPlan {
	if o := c.objects[t]; o != nil {
		return o
	}
	o := &objectPlan{}
	c.objects[t] = o
	c.fields(t, nil, func(_, _ string, f fieldPlan, _ string) { o.fields = append(o.fields, f) }, "json")
	c.index(t, o)
	return o
}

func (c *planCompiler) index(t reflect.Type, o *objectPlan) {
	o.byName, o.known = c.names(t, o.fields)
	o.folded = map[string]int{}
	for i, f := range o.fields {
		key := string(appendFolded(nil, []byte(f.name)))
		if other, twice := o.folded[key]; twice && o.fields[other].name != f.name {
			c.errorf(t.String(), "%q and %q differ only in letter case", o.fields[other].name, f.name)
		}
		o.folded[key] = i
	}
}

// names indexes fields by name and lists them for messages.
func (c *planCompiler) names(t reflect.Type, fields []fieldPlan) (map[string]int, string) {
	byName := map[string]int{}
	for i, f := range fields {
		if _, twice := byName[f.name]; twice {
			c.errorf(t.String(), "two fields are called %q", f.name)
		}
		byName[f.name] = i
	}
	if len(fields) == 0 {
		return byName, "none is known"
	}
	return byName, "known are " + strings.Join(slices.Sorted(maps.Keys(byName)), ", ")
}
