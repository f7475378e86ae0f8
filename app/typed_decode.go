package app

import (
	"encoding"
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxIssues is how many issues one answer lists.
const maxIssues = 20

// A decoder fills values from JSON that scanJSON has passed, so that it needs no
// syntax checks, and from parameters. It goes on after an issue.
type decoder struct {
	b      []byte
	i      int
	where  string // "query" or "path"; "": the body
	path   []step // to the value under way
	key    []byte
	issues []Issue
}

// A step is a name or, when that is "", an index of an array.
type step struct {
	name  string
	index int
}

func (d *decoder) issue(code, message string) {
	if len(d.issues) == maxIssues {
		return
	}
	var p strings.Builder
	p.WriteString(d.where)
	for _, s := range d.path {
		p.WriteByte('/')
		if s.name == "" {
			p.WriteString(strconv.Itoa(s.index))
			continue
		}
		_, _ = pointerEscapes.WriteString(&p, s.name)
	}
	d.issues = append(d.issues, Issue{Path: p.String(), Code: code, Message: message})
}

// pointerEscapes writes a name as a token of a JSON Pointer (RFC 6901, 3).
var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

func (d *decoder) push(s step) { d.path = append(d.path, s) }
func (d *decoder) pop()        { d.path = d.path[:len(d.path)-1] }

// judge applies the rules to a decoded value.
func (d *decoder) judge(p *valuePlan, v reflect.Value) {
	for i := range p.rules {
		if r := &p.rules[i]; !r.ok(v) {
			d.issue(r.code, r.message)
		}
	}
}

// text decodes a parameter, or the characters of a JSON string, into v.
func (d *decoder) text(p *valuePlan, v reflect.Value, s string) {
	switch p.kind {
	case stringValue:
		if strings.IndexByte(s, 0) >= 0 {
			d.issue("character", "must not hold the character U+0000")
			return
		}
		v.SetString(s)
		d.judge(p, v)
	case boolValue:
		if s != "true" && s != "false" {
			d.issue("type", p.want)
			return
		}
		v.SetBool(s == "true")
	case intValue, uintValue, floatValue:
		if !isNumber(s) {
			d.issue("type", p.want)
			return
		}
		d.number(p, v, s)
	case pointerValue:
		n := reflect.New(p.elem.typ)
		d.text(p.elem, n.Elem(), s)
		v.Set(n)
	default:
		u, ok := v.Addr().Interface().(encoding.TextUnmarshaler)
		if !ok || u.UnmarshalText([]byte(s)) != nil {
			d.issue("format", p.want)
		}
	}
}

// isNumber reports whether s is a number as JSON writes it, no longer than one.
func isNumber(s string) bool {
	n := jsonScanner{b: []byte(s)}
	return s != "" && (s[0] == '-' || isDigit(s[0])) && n.number() == jsonClean && n.i == len(s)
}

// number decodes a JSON number into v. 1.0 and 1e2 are no integers.
func (d *decoder) number(p *valuePlan, v reflect.Value, s string) {
	var err error
	switch p.kind {
	case intValue:
		var n int64
		if n, err = strconv.ParseInt(s, 10, p.typ.Bits()); err == nil {
			v.SetInt(n)
		}
	case uintValue:
		var n uint64
		if n, err = strconv.ParseUint(s, 10, p.typ.Bits()); err == nil {
			v.SetUint(n)
		}
	default:
		var n float64
		if n, err = strconv.ParseFloat(s, p.typ.Bits()); err == nil {
			v.SetFloat(n)
		}
	}
	switch {
	case err == nil:
		d.judge(p, v)
	case errors.Is(err, strconv.ErrRange):
		d.issue("range", "is larger or smaller than can be taken")
	default:
		d.issue("type", p.want)
	}
}

// value decodes the JSON value that starts at d.i, or skips it with an issue.
func (d *decoder) value(p *valuePlan, v reflect.Value) {
	switch p.kind {
	case pointerValue:
		if d.b[d.i] == 'n' {
			d.skip()
			return
		}
		n := reflect.New(p.elem.typ)
		d.value(p.elem, n.Elem())
		v.Set(n)
		return
	case rawValue:
		raw := d.skip()
		// A copy: the type may keep it, and the body is shared.
		if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(append([]byte(nil), raw...)); err != nil || raw[0] == 'n' {
			d.issue("format", p.want)
			return
		}
		d.judge(p, v)
		return
	case objectValue:
		d.object(p.obj, v)
		return
	case sliceValue:
		d.array(p, v)
		return
	case mapValue:
		d.table(p, v)
		return
	}
	start := d.b[d.i]
	raw := d.skip()
	switch {
	case start == '"' && (p.kind == stringValue || p.kind == textValue):
		d.text(p, v, d.unquote(raw))
	case (start == 't' || start == 'f') && p.kind == boolValue:
		v.SetBool(start == 't')
	case (start == '-' || isDigit(start)) && (p.kind == intValue || p.kind == uintValue || p.kind == floatValue):
		d.number(p, v, string(raw))
	default:
		d.issue("type", p.want)
	}
}

func (d *decoder) object(p *objectPlan, v reflect.Value) {
	d.space()
	if d.b[d.i] != '{' {
		d.skip()
		d.issue("type", "must be an object")
		return
	}
	var room [32]bool
	seen := room[:]
	if len(p.fields) > len(room) {
		seen = make([]bool, len(p.fields))
	}
	unknown := false
	for d.members() {
		key := d.member()
		i, ok := p.byName[string(key)]
		if !ok {
			// The key is the client's word and is not repeated.
			if near, ok := p.folded[string(appendFolded(nil, key))]; ok {
				d.push(step{name: p.fields[near].name})
				d.issue("unknown", "must be written in exactly these letters")
				d.pop()
			} else if !unknown {
				unknown = true
				d.issue("unknown", "holds a member that is not known; "+p.known)
			}
			d.skip()
			continue
		}
		seen[i] = true
		f := &p.fields[i]
		d.push(step{name: f.name})
		d.value(f.value, v.FieldByIndex(f.index))
		d.pop()
	}
	finish(d, p.fields, seen, v)
}

// finish sees to the fields that the input did not hold.
func finish(d *decoder, fields []fieldPlan, seen []bool, v reflect.Value) {
	for i := range fields {
		f := &fields[i]
		switch {
		case seen[i]:
		case f.preset.IsValid():
			v.FieldByIndex(f.index).Set(f.preset)
		case !f.optional:
			d.push(step{name: f.name})
			d.issue("required", "is required")
			d.pop()
		}
	}
}

func (d *decoder) array(p *valuePlan, v reflect.Value) {
	if d.b[d.i] != '[' {
		d.skip()
		d.issue("type", p.want)
		return
	}
	d.i++
	v.Set(reflect.MakeSlice(p.typ, 0, 4))
	for n := 0; d.more(']'); n++ {
		if len(d.issues) == maxIssues || p.most > 0 && n > p.most {
			d.skip() // it is refused already: build nothing more
			continue
		}
		d.push(step{index: n})
		if n == v.Cap() {
			v.Grow(1)
		}
		v.SetLen(n + 1)
		d.value(p.elem, v.Index(n))
		d.pop()
	}
	d.judge(p, v)
}

func (d *decoder) table(p *valuePlan, v reflect.Value) {
	if d.b[d.i] != '{' {
		d.skip()
		d.issue("type", p.want)
		return
	}
	v.Set(reflect.MakeMap(p.typ))
	for d.members() {
		key := reflect.ValueOf(string(d.member())).Convert(p.typ.Key())
		elem := reflect.New(p.elem.typ).Elem()
		d.value(p.elem, elem) // issues are the table's: its keys are not known here
		v.SetMapIndex(key, elem)
	}
	d.judge(p, v)
}

// decodeQuery decodes the query parameters of raw.
func (p *inputPlan) decodeQuery(d *decoder, v reflect.Value, raw string) {
	var values url.Values
	d.where = p.query.where
	if raw != "" {
		var err error
		if values, err = url.ParseQuery(raw); err != nil {
			d.issue("syntax", "is not well-formed")
			d.where = ""
			return
		}
		for name := range values {
			if _, ok := p.query.byName[name]; !ok {
				d.issue("unknown", "holds a parameter that is not known; "+p.query.known)
				break
			}
		}
	}
	p.query.decode(d, v, func(name string) ([]string, bool) {
		s, ok := values[name]
		return s, ok
	})
}

func (p *parameters) decode(d *decoder, v reflect.Value, get func(string) ([]string, bool)) {
	d.where = p.where
	for i := range p.fields {
		f := &p.fields[i]
		values, ok := get(f.name)
		if !ok {
			finish(d, p.fields[i:i+1], []bool{false}, v)
			continue
		}
		d.push(step{name: f.name})
		field := v.FieldByIndex(f.index)
		switch {
		case slices.ContainsFunc(values, func(s string) bool { return !utf8.ValidString(s) }):
			d.issue("utf8", "must be UTF-8")
		case f.value.kind == sliceValue:
			field.Set(reflect.MakeSlice(f.value.typ, len(values), len(values)))
			for n, s := range values {
				d.text(f.value.elem, field.Index(n), s)
			}
			d.judge(f.value, field)
		case len(values) > 1:
			d.issue("duplicate", "stands more than once")
		default:
			d.text(f.value, field, values[0])
		}
		d.pop()
	}
	d.where = ""
}
