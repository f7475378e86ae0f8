package audit

import (
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what one attribute may grow to.
const (
	maxDepth  = 10
	maxItems  = 100
	maxString = 64 << 10
)

const redacted = `"[redacted]"`

// encoder appends JSON to buf. It never fails: what has no JSON form is written
// as its type's name.
type encoder struct {
	buf    []byte
	hidden bool // inside a group whose name is that of a secret
	event  bool // an attribute event.name was written
}

func (e *encoder) raw(s string) { e.buf = append(e.buf, s...) }

// A mark is where groups were opened, so that they can be taken back when
// nothing comes to stand in them.
type mark struct {
	start, inside, groups int
	hidden                bool
}

// begin opens groups for the attributes that follow.
func (e *encoder) begin(groups []string) mark {
	m := mark{start: len(e.buf), groups: len(groups), hidden: e.hidden}
	for i, g := range groups {
		if i == 0 {
			e.raw(",")
		}
		e.string(g)
		e.raw(":{")
		e.hidden = e.hidden || Secret(g)
	}
	m.inside = len(e.buf)
	return m
}

// wrote reports whether an attribute was written since begin. If none was, the
// groups are taken back; if some was, they stay open.
func (e *encoder) wrote(m mark) bool {
	if len(e.buf) == m.inside {
		e.buf, e.hidden = e.buf[:m.start], m.hidden
		return false
	}
	if m.groups > 0 { // each attribute has a comma before it, the first too
		e.buf = slices.Delete(e.buf, m.inside, m.inside+1)
	}
	return true
}

// attr writes one attribute with a comma before it.
func (e *encoder) attr(a slog.Attr) {
	v := a.Value
	if v.Kind() == slog.KindLogValuer {
		v = v.Resolve()
	}
	if v.Kind() == slog.KindGroup {
		groups, hidden := []string{a.Key}, e.hidden
		if a.Key == "" {
			groups = nil
		}
		m := e.begin(groups)
		for _, member := range v.Group() {
			e.attr(member)
		}
		if e.wrote(m) && groups != nil {
			e.raw("}")
		}
		e.hidden = hidden
		return
	}
	if a.Key == "" && v.Any() == nil {
		return // slog: an empty Attr is ignored
	}
	e.raw(",")
	e.string(a.Key)
	e.raw(":")
	if e.hidden || Secret(a.Key) {
		e.raw(redacted)
		return
	}
	e.event = e.event || a.Key == "event.name"
	e.value(v, 0)
}

func (e *encoder) value(v slog.Value, depth int) {
	switch v.Kind() {
	case slog.KindString:
		e.string(v.String())
	case slog.KindInt64:
		e.buf = strconv.AppendInt(e.buf, v.Int64(), 10)
	case slog.KindUint64:
		e.buf = strconv.AppendUint(e.buf, v.Uint64(), 10)
	case slog.KindFloat64:
		e.float(v.Float64())
	case slog.KindBool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case slog.KindDuration:
		e.buf = strconv.AppendInt(e.buf, int64(v.Duration()), 10)
	case slog.KindTime:
		e.time(v.Time())
	case slog.KindGroup: // of a LogValuer inside a value
		e.raw("{")
		for i, a := range v.Group() {
			if i > 0 {
				e.raw(",")
			}
			e.string(a.Key)
			e.raw(":")
			if Secret(a.Key) {
				e.raw(redacted)
			} else {
				e.value(a.Value.Resolve(), depth+1)
			}
		}
		e.raw("}")
	default:
		e.any(v.Any(), depth)
	}
}

func (e *encoder) float(f float64) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		e.string(strconv.FormatFloat(f, 'g', -1, 64)) // JSON has no such numbers
		return
	}
	e.buf = strconv.AppendFloat(e.buf, f, 'g', -1, 64)
}

func (e *encoder) time(t time.Time) {
	e.raw(`"`)
	e.buf = t.AppendFormat(e.buf, time.RFC3339Nano)
	e.raw(`"`)
}

// any writes what is none of slog's own kinds.
func (e *encoder) any(v any, depth int) {
	if depth > maxDepth {
		e.raw(`"[too deep]"`)
		return
	}
	defer func(start int) {
		if p := recover(); p != nil { // a method of the value's panicked, on a nil pointer as a rule
			e.buf = e.buf[:start]
			e.string(fmt.Sprintf("[%T: panicked]", v))
		}
	}(len(e.buf))
	switch v := v.(type) {
	case nil:
		e.raw("null")
	case slog.LogValuer:
		e.value(slog.AnyValue(v).Resolve(), depth+1)
	case error:
		e.string(v.Error())
	case string:
		e.string(v)
	case time.Time:
		e.time(v)
	case netip.Addr:
		e.string(v.String())
	case []byte:
		e.string(fmt.Sprintf("[%d bytes]", len(v)))
	case http.Header:
		e.header(v)
	case *http.Request:
		e.string(v.Method + " " + v.URL.Path)
	case *url.URL:
		e.string((&url.URL{Scheme: v.Scheme, Host: v.Host, Path: v.Path}).String())
	case url.URL:
		e.any(&v, depth)
	case json.Marshaler:
		e.marshaled(v, depth)
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			b = fmt.Appendf(nil, "[%T: %v]", v, err)
		}
		e.string(string(b))
	default:
		e.reflected(reflect.ValueOf(v), depth)
	}
}

// marshaled takes the JSON that the value gives of itself, and looks for
// secrets in it as in any other.
func (e *encoder) marshaled(v json.Marshaler, depth int) {
	b, err := v.MarshalJSON()
	var any any
	if err == nil {
		err = json.Unmarshal(b, &any)
	}
	if err != nil {
		e.string(fmt.Sprintf("[%T: %v]", v, err))
		return
	}
	e.any(any, depth+1)
}

func (e *encoder) reflected(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		e.buf = strconv.AppendBool(e.buf, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.buf = strconv.AppendInt(e.buf, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		e.buf = strconv.AppendUint(e.buf, v.Uint(), 10)
	case reflect.Float32, reflect.Float64:
		e.float(v.Float())
	case reflect.String:
		e.string(v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			e.raw("null")
			return
		}
		e.any(v.Elem().Interface(), depth+1)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			e.string(fmt.Sprintf("[%d bytes]", v.Len()))
			return
		}
		e.raw("[")
		for i := range min(v.Len(), maxItems) {
			if i > 0 {
				e.raw(",")
			}
			e.any(v.Index(i).Interface(), depth+1)
		}
		if v.Len() > maxItems {
			e.raw(",")
			e.string(fmt.Sprintf("[%d more]", v.Len()-maxItems))
		}
		e.raw("]")
	case reflect.Map:
		e.mapped(v, depth)
	case reflect.Struct:
		e.fields(v, depth)
	default:
		e.string(v.Type().String())
	}
}

func (e *encoder) mapped(v reflect.Value, depth int) {
	type entry struct {
		key   string
		value reflect.Value
	}
	entries := make([]entry, 0, min(v.Len(), maxItems))
	for it := v.MapRange(); it.Next() && len(entries) < maxItems; {
		entries = append(entries, entry{fmt.Sprint(it.Key().Interface()), it.Value()})
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	e.raw("{")
	for i, m := range entries {
		if i > 0 {
			e.raw(",")
		}
		e.string(m.key)
		e.raw(":")
		e.member(m.key, m.value, depth)
	}
	e.raw("}")
}

// fields writes the exported fields of a struct, under their JSON names.
func (e *encoder) fields(v reflect.Value, depth int) {
	e.raw("{")
	first := true
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if !first {
			e.raw(",")
		}
		first = false
		secret := name != "" && Secret(name)
		if name == "" {
			name = f.Name
		}
		e.string(name)
		e.raw(":")
		if secret {
			e.raw(redacted)
			continue
		}
		e.member(f.Name, v.Field(i), depth)
	}
	e.raw("}")
}

func (e *encoder) member(name string, v reflect.Value, depth int) {
	if judge(name) { // not Secret: it would remember names that attackers send
		e.raw(redacted)
		return
	}
	e.any(v.Interface(), depth+1)
}

// header writes the names of a header, and the values of those that hold
// nothing secret. It is a list of what may be shown: what nobody knows is not.
func (e *encoder) header(h http.Header) {
	e.raw("{")
	for i, name := range slices.Sorted(func(yield func(string) bool) {
		for name := range h {
			if !yield(name) {
				return
			}
		}
	}) {
		if i > 0 {
			e.raw(",")
		}
		e.string(name)
		e.raw(":")
		if _, ok := shown[http.CanonicalHeaderKey(name)]; ok {
			e.string(strings.Join(h[name], ", "))
		} else {
			e.raw(redacted)
		}
	}
	e.raw("}")
}

const hexDigits = "0123456789abcdef"

// string writes s quoted. Beyond what JSON asks, whatever is not printable is
// escaped: DEL, the C1 controls (CSI is one), line separators, marks that turn
// the direction of writing, and characters that no standard knows yet.
func (e *encoder) string(s string) {
	if len(s) > maxString {
		s = s[:maxString] + "…"
	}
	b := append(e.buf, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f && c != '"' && c != '\\' {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if unicode.IsPrint(r) && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		if r > 0xffff {
			r -= 0x10000
			b = appendEscape(appendEscape(b, 0xd800+r>>10), 0xdc00+r&0x3ff)
		} else {
			b = appendEscape(b, r)
		}
		i += size
		start = i
	}
	e.buf = append(append(b, s[start:]...), '"')
}

func appendEscape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
