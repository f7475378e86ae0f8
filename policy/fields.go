package policy

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// A field is one key, as the tags of a struct give it.
type field struct {
	index    int
	key      string
	doc      string
	fallback string // the default tag
	hasValue bool   // there is a default tag
	required bool
	min, max string
	oneOf    []string
	env      string
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	dateType     = reflect.TypeFor[time.Time]()
	prefixType   = reflect.TypeFor[netip.Prefix]()
	openingType  = reflect.TypeFor[Opening]()
)

// fields lists the keys of a struct type in their order.
func fields(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		key := tag.Get("yaml")
		if key == "" || key == "-" {
			continue
		}
		f := field{index: i, key: key, doc: tag.Get("doc"), min: tag.Get("min"), max: tag.Get("max"),
			env: tag.Get("env"), required: tag.Get("required") == "true"}
		if names := tag.Get("oneof"); names != "" {
			f.oneOf = strings.Split(names, ",")
		}
		f.fallback, f.hasValue = tag.Lookup("default")
		out = append(out, f)
	}
	return out
}

// fieldOf returns the field of a key, which must be there.
func fieldOf(t reflect.Type, key string) field {
	all := fields(t)
	return all[slices.IndexFunc(all, func(f field) bool { return f.key == key })]
}

// describe is the doc tag with the range.
func (f field) describe() string {
	if f.max == "" {
		return f.doc
	}
	return f.doc + "; " + f.min + " to " + f.max
}

// isScalar reports whether a type is written as one word or text.
func isScalar(t reflect.Type) bool {
	switch t {
	case durationType, sizeType, dateType, prefixType:
		return true
	}
	return t.Kind() == reflect.String || t.Kind() == reflect.Bool || t.Kind() == reflect.Int
}

// isLeaf reports whether a type is a scalar or a list of scalars.
func isLeaf(t reflect.Type) bool {
	return isScalar(t) || t.Kind() == reflect.Slice && isScalar(t.Elem())
}

// parseScalar reads a text as a value of type t. The error is a misfit.
func parseScalar(t reflect.Type, s string) (v any, err error) {
	switch {
	case t == durationType:
		return parseDuration(s)
	case t == sizeType:
		return parseSize(s)
	case t == dateType:
		return parseDate(s)
	case t == prefixType:
		return parsePrefix(s)
	case t == openingType:
		return parseOpening(s)
	case t.Kind() == reflect.Bool:
		return parseBool(s)
	case t.Kind() == reflect.Int:
		n, err := parseInt(s)
		return int(n), err
	}
	return s, nil
}

// formatScalar writes what parseScalar reads.
func formatScalar(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return formatDuration(x)
	case time.Time:
		return x.Format(time.DateOnly)
	case netip.Prefix:
		if x.IsSingleIP() {
			return x.Addr().String()
		}
		return x.String()
	default:
		return fmt.Sprint(x)
	}
}

// setScalar sets v from a text and judges it by the field's range.
func setScalar(v reflect.Value, f field, s string) error {
	x, err := parseScalar(v.Type(), s)
	if err != nil {
		return err
	}
	if f.hasValue && f.fallback != "" && x == "" {
		return &misfit{"the value is empty", "remove the key to use the default, " + quote(f.fallback)}
	}
	if strings.ContainsFunc(s, unprintable) || !utf8.ValidString(s) {
		return &misfit{"the value has a line break or an invisible character",
			"write it on one line; a text over several lines begins with >- and not with > or |"}
	}
	if f.oneOf != nil && s != "" && !slices.Contains(f.oneOf, s) {
		hint := "write " + strings.Join(f.oneOf[:len(f.oneOf)-1], ", ") + " or " + f.oneOf[len(f.oneOf)-1]
		if near := Nearest(s, f.oneOf); near != "" {
			hint = "did you mean " + near + "?"
		}
		return &misfit{quote(s) + " is not known here", hint}
	}
	n := reflect.ValueOf(x).Convert(v.Type())
	for _, bound := range []struct {
		limit, than string
		sign        int64
	}{{f.min, "less than", -1}, {f.max, "more than", 1}} {
		if bound.limit == "" {
			continue
		}
		limit, err := parseScalar(v.Type(), bound.limit)
		if err != nil {
			panic("policy: bad range tag of " + f.key + ": " + err.Error())
		}
		if cmpInt(n.Int(), reflect.ValueOf(limit).Int()) == bound.sign {
			return &misfit{s + " is " + bound.than + " " + bound.limit, "give " + f.min + " to " + f.max}
		}
	}
	v.Set(n)
	return nil
}

func cmpInt(a, b int64) int64 {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// setEntry sets e, an entry of a list, unless it is empty or was seen before.
func setEntry(e reflect.Value, f field, s string, seen map[any]bool) error {
	if s == "" {
		return &misfit{"the value is empty", "remove it"}
	}
	if err := setScalar(e, field{oneOf: f.oneOf}, s); err != nil {
		return err
	}
	if seen[e.Interface()] {
		return &misfit{quote(s) + " stands twice", "keep one"}
	}
	seen[e.Interface()] = true
	return nil
}

// setText sets a leaf from one text: a list by comma.
func setText(v reflect.Value, f field, s string) error {
	if isScalar(v.Type()) {
		return setScalar(v, f, s)
	}
	out, seen := reflect.Zero(v.Type()), map[any]bool{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		e := reflect.New(v.Type().Elem()).Elem()
		if err := setEntry(e, f, part, seen); err != nil {
			return err
		}
		out = reflect.Append(out, e)
	}
	v.Set(out)
	return nil
}
