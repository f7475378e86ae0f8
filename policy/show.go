package policy

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// Show writes the policy that is in force: every key, with defaults filled in.
// What the environment set says so in a comment; secrets are comments too, and
// only say whether they are there. Load accepts the result and makes an equal
// policy of it, apart from the secrets.
func (p *Policy) Show() []byte {
	w := &shower{p: p}
	w.table("", "", reflect.ValueOf(p).Elem(), false)
	return w.out.Bytes()
}

type shower struct {
	p   *Policy
	out bytes.Buffer
}

func (w *shower) line(indent, path, format string, args ...any) {
	w.out.WriteString(indent)
	fmt.Fprintf(&w.out, format, args...)
	if from := w.p.origin[path]; from != "" {
		w.out.WriteString(" # from " + textYAML(from))
	}
	w.out.WriteByte('\n')
}

// table writes the keys of a struct. In an entry of a list or map, keys that
// are not set are left out: there they mean the value of a section above.
func (w *shower) table(indent, path string, v reflect.Value, entry bool) {
	for _, f := range fields(v.Type()) {
		fv, here := v.Field(f.index), child(path, f.key)
		switch {
		case entry && fv.IsZero():
		case fv.Type() == dateType && fv.IsZero(): // no day
		case isLeaf(fv.Type()):
			w.line(indent, here, "%s: %s", f.key, leafYAML(fv))
		case fv.Kind() == reflect.Struct:
			w.line(indent, here, "%s:", f.key)
			w.table(indent+"  ", here, fv, entry)
		case fv.Len() == 0 && fv.Kind() == reflect.Map:
			w.line(indent, here, "%s: {}", f.key)
		case fv.Len() == 0:
			w.line(indent, here, "%s: []", f.key)
		case fv.Kind() == reflect.Map:
			w.line(indent, here, "%s:", f.key)
			for _, key := range sortedKeys(fv) {
				at, e := child(here, key), fv.MapIndex(reflect.ValueOf(key))
				if isLeaf(e.Type()) {
					w.line(indent+"  ", at, "%s: %s", textYAML(key), leafYAML(e))
				} else {
					w.line(indent+"  ", at, "%s:", textYAML(key))
					w.table(indent+"    ", at, e, true)
				}
			}
		default:
			w.line(indent, here, "%s:", f.key)
			for i := range fv.Len() {
				start := w.out.Len()
				w.table(indent+"    ", item(here, i), fv.Index(i), true)
				if w.out.Len() > start {
					w.out.Bytes()[start+len(indent)+2] = '-'
				}
			}
		}
	}
	for _, s := range secrets() {
		if parent(s.path) == path {
			state := "not set"
			if reflect.ValueOf(w.p).Elem().FieldByIndex(s.index).Interface().(Secret).Set() {
				state = redacted
			}
			w.line(indent, s.path, "# %s: %s", strings.TrimPrefix(s.path, path+"."), state)
		}
	}
}

func leafYAML(v reflect.Value) string {
	if isScalar(v.Type()) {
		if v.Kind() == reflect.String {
			return textYAML(v.String())
		}
		return formatScalar(v)
	}
	var parts []string
	for i := range v.Len() {
		e := v.Index(i)
		if e.Kind() == reflect.String {
			parts = append(parts, textYAML(e.String()))
		} else {
			parts = append(parts, textYAML(formatScalar(e)))
		}
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// textYAML quotes a text unless no reader of YAML, old or new, could take it
// for anything else.
func textYAML(s string) string {
	plain := s != ""
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '/'
		plain = plain && (letter || i > 0 && ('0' <= r && r <= '9' || strings.ContainsRune("_-./", r)))
	}
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		plain = false
	}
	if plain {
		return s
	}
	return strconv.Quote(strings.ToValidUTF8(s, "\x00")) // which no reader takes
}
