package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// A loader fills a policy and collects its mistakes.
type loader struct {
	p    *Policy
	doc  *document
	errs Errors
	bad  map[string]bool // paths with a mistake, which the rules then pass over
}

func (l *loader) add(e *Error) {
	l.errs = append(l.errs, e)
	if e.Path != "" {
		l.bad[e.Path] = true
	}
}

// spoiled reports whether path, or a table or list that it is in, has a
// mistake already.
func (l *loader) spoiled(path string) bool {
	for ; path != ""; path = parent(path) {
		if l.bad[path] {
			return true
		}
	}
	return false
}

func (l *loader) say(at position, path, hint, format string, args ...any) {
	l.add(l.doc.mistake(at, path, hint, fmt.Sprintf(format, args...)))
}

// setDefaults fills v, a struct, from the default tags.
func setDefaults(v reflect.Value) {
	for _, f := range fields(v.Type()) {
		fv := v.Field(f.index)
		switch {
		case fv.Kind() == reflect.Struct && !isLeaf(fv.Type()):
			setDefaults(fv)
		case !f.hasValue:
		case isLeaf(fv.Type()):
			if err := setText(fv, f, f.fallback); err != nil {
				panic("policy: bad default tag of " + f.key + ": " + err.Error())
			}
		default:
			doc, errs := parseDocument("", []byte(f.fallback))
			l := &loader{doc: doc, errs: errs, bad: map[string]bool{}}
			if l.errs == nil {
				l.value("", doc.root, fv, f)
			}
			if l.errs != nil {
				panic("policy: bad default tag of " + f.key + ": " + l.errs.Error())
			}
		}
	}
}

// value decodes a node into v. What it cannot use leaves v as it is.
func (l *loader) value(path string, n *node, v reflect.Value, f field) {
	t := v.Type()
	switch {
	case n.kind == refused:
	case isScalar(t):
		l.scalar(path, n, v.Type(), func(s string) error { return setScalar(v, f, s) })
	case t.Kind() == reflect.Struct:
		if l.expect(path, n, table) {
			l.table(path, n, v)
		}
	case t.Kind() == reflect.Map:
		if l.expect(path, n, table) {
			l.mapping(path, n, v)
		}
	case isLeaf(t):
		l.leaves(path, n, v, f)
	case l.expect(path, n, list):
		out := reflect.MakeSlice(t, len(n.items), len(n.items))
		for i, it := range n.items {
			e := out.Index(i)
			if l.expect(item(path, i), it, table) {
				l.table(item(path, i), it, e)
			}
		}
		if out.Len() > 0 {
			v.Set(out)
		}
	}
}

// expect reports whether n is of the kind. A section that is there without
// content, such as one with all its lines commented out, is as good as absent.
func (l *loader) expect(path string, n *node, k nodeKind) bool {
	if n.kind == k {
		return true
	}
	if n.kind == refused {
		return false
	}
	if n.kind != null || strings.HasSuffix(path, "]") {
		hint := "indent its keys below it"
		if k == list {
			hint = "write [a, b], or one line beginning with a dash for each"
		}
		l.say(n.place(), path, hint, "this is %s, and %s is wanted", kindNames[n.kind], kindNames[k])
	}
	return false
}

// scalar judges the kind of a node and hands its text to set.
func (l *loader) scalar(path string, n *node, t reflect.Type, set func(string) error) {
	wantText := t.Kind() == reflect.String && t != openingType
	wantNumber, wantBool := t.Kind() == reflect.Int, t.Kind() == reflect.Bool
	switch {
	case n.kind == refused:
	case n.kind == null:
		l.say(n.place(), path, "give a value, or remove the key", "the key has no value")
	case n.kind >= list:
		l.say(n.place(), path, "write one value", "this is %s, and one value is wanted", kindNames[n.kind])
	case wantText && n.kind != text:
		l.say(n.at, path, `put it in quotes: "`+n.value+`"`, "this is %s, and a text is wanted", kindNames[n.kind])
	case wantNumber && n.quoted:
		l.say(n.at, path, "remove the quotes", "this is a text, and a number is wanted")
	case wantBool && n.quoted:
		l.say(n.at, path, "remove the quotes", "this is a text, and true or false is wanted")
	default:
		if err := set(n.value); err != nil {
			m := misfitOf(err)
			l.say(n.at, path, m.hint, "%s", m.reason)
		}
	}
}

// leaves decodes a list of single values. What cannot be read stays a zero
// value, so that the rules see the rest under their own index.
func (l *loader) leaves(path string, n *node, v reflect.Value, f field) {
	switch {
	case n.kind == null:
		l.say(n.place(), path, "write [] for none, or remove the key", "the key has no value")
		return
	case n.kind != list:
		l.say(n.place(), path, "write ["+n.value+"]", "this is %s, and a list is wanted", kindNames[n.kind])
		return
	}
	out, seen := reflect.Zero(v.Type()), map[any]bool{}
	if len(n.items) > 0 {
		out = reflect.MakeSlice(v.Type(), len(n.items), len(n.items))
	}
	for i, it := range n.items {
		e := out.Index(i)
		l.scalar(item(path, i), it, e.Type(), func(s string) error { return setEntry(e, f, s, seen) })
	}
	v.Set(out)
}

func (l *loader) table(path string, n *node, v reflect.Value) {
	known := fields(v.Type())
	for _, it := range n.items {
		i := slices.IndexFunc(known, func(f field) bool { return f.key == it.key })
		if i < 0 {
			l.unknown(path, it, v.Type())
			continue
		}
		l.value(child(path, it.key), it, v.Field(known[i].index), known[i])
	}
}

func (l *loader) mapping(path string, n *node, v reflect.Value) {
	out := reflect.MakeMap(v.Type())
	for it := v.MapRange(); it.Next(); {
		out.SetMapIndex(it.Key(), it.Value())
	}
	for _, it := range n.items {
		e := reflect.New(v.Type().Elem()).Elem()
		key := reflect.ValueOf(it.key)
		if old := out.MapIndex(key); old.IsValid() {
			e.Set(old)
		}
		l.value(child(path, it.key), it, e, field{})
		out.SetMapIndex(key, e)
	}
	if out.Len() > 0 {
		v.Set(out)
	}
}

// unknown says that a key does not exist here, and which one may be meant.
func (l *loader) unknown(path string, n *node, t reflect.Type) {
	full := child(path, n.key)
	for _, s := range secrets() {
		if fold(n.key) == fold(s.name) || fold(full) == fold(s.path) {
			e := l.doc.mistake(n.keyAt, full, "put it in the file secrets/"+s.name+" (mode 0600) beside the policy, in $CREDENTIALS_DIRECTORY/"+
				s.name+", or in "+s.env()+"; and make a new one, this one has been seen", "a secret is in the policy")
			e.Source = strings.Repeat(" ", max(0, n.keyAt.column-1)) + n.key + ": " + redacted
			l.add(e)
			return
		}
	}
	var here []string
	for _, f := range fields(t) {
		here = append(here, f.key)
	}
	hint := "`ringwall policy schema` lists the keys"
	if near := Nearest(n.key, here); near != "" {
		hint = "did you mean " + near + "?"
	} else if elsewhere := l.elsewhere(n.key); elsewhere != "" {
		hint = "did you mean " + elsewhere + "?"
	} else if len(here) <= 8 {
		hint = "the keys here are " + strings.Join(here, ", ")
	}
	l.say(n.keyAt, full, hint, "there is no such key")
}

// elsewhere finds the path of a key that stands in the wrong section.
func (l *loader) elsewhere(key string) (found string) {
	eachField(reflect.TypeFor[Policy](), "", func(path string, f field) {
		if found == "" && fold(f.key) == fold(key) {
			found = path
		}
	})
	return found
}

// eachField visits the fields of a struct and of the structs in it, not those
// of lists and maps.
func eachField(t reflect.Type, path string, visit func(path string, f field)) {
	for _, f := range fields(t) {
		visit(child(path, f.key), f)
		if ft := t.Field(f.index).Type; ft.Kind() == reflect.Struct && !isLeaf(ft) {
			eachField(ft, child(path, f.key), visit)
		}
	}
}
