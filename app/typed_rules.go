package app

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A rule judges a decoded value.
type rule struct {
	code, message string
	ok            func(reflect.Value) bool
}

// rules compiles the check and each tags of a field.
func (c *planCompiler) rules(f *fieldPlan, tag reflect.StructTag, at string) {
	v := f.value
	for name, arg := range c.split(tag.Get("check"), at) {
		switch name {
		case "optional":
			f.optional = true
		case "default":
			c.preset(f, arg, at)
		default:
			c.rule(v.target(), name, arg, at)
		}
	}
	each, ok := tag.Lookup("each")
	if !ok {
		c.judgePreset(f, at)
		return
	}
	if t := v.target(); t.kind != sliceValue && t.kind != mapValue {
		c.errorf(at, "each is for slices and maps, not for %s", t.typ)
		return
	}
	for name, arg := range c.split(each, at) {
		c.rule(v.target().elem.target(), name, arg, at)
	}
	c.judgePreset(f, at)
}

// target is what rules judge: not the pointer, but what it points to.
func (v *valuePlan) target() *valuePlan {
	if v.kind == pointerValue {
		return v.elem
	}
	return v
}

// split takes a tag apart: name=argument, separated by commas. pattern takes
// all that follows it.
func (c *planCompiler) split(tag, at string) func(yield func(name, arg string) bool) {
	return func(yield func(name, arg string) bool) {
		for tag != "" {
			item, rest, _ := strings.Cut(tag, ",")
			if strings.HasPrefix(tag, "pattern=") {
				item, rest = tag, ""
			}
			name, arg, hasArg := strings.Cut(item, "=")
			if hasArg == (name == "optional") {
				c.errorf(at, "%q: optional stands alone, every other rule has a value, as in min=2", item)
			} else if !yield(name, arg) {
				return
			}
			tag = rest
		}
	}
}

func (c *planCompiler) rule(v *valuePlan, name, arg, at string) {
	text := v.kind == stringValue
	var r rule
	var err error
	switch {
	case name == "min" || name == "max":
		r, err = bound(v, name == "min", arg)
	case name == "maxbytes" && text:
		var n int
		n, err = strconv.Atoi(arg)
		r = rule{"too_long", fmt.Sprintf("must have at most %d bytes", n), func(v reflect.Value) bool { return v.Len() <= n }}
	case name == "oneof" && text:
		words := strings.Split(arg, "|")
		r = rule{"not_listed", "must be one of " + strings.Join(words, ", "),
			func(v reflect.Value) bool { return slices.Contains(words, v.String()) }}
	case name == "format" && text && arg == "email":
		r = rule{"format", "must be an e-mail address", func(v reflect.Value) bool { return isEmail(v.String()) }}
	case name == "format" && text && arg == "uuid":
		r = rule{"format", "must be a UUID", func(v reflect.Value) bool { return isUUID(v.String()) }}
	case name == "pattern" && text:
		var re *regexp.Regexp
		if re, err = regexp.Compile(`^(?:` + arg + `)$`); err == nil {
			r = rule{"pattern", "does not have the expected form", func(v reflect.Value) bool { return re.MatchString(v.String()) }}
		}
	default:
		err = fmt.Errorf("no such rule for %s; app.Handle lists them", v.typ)
	}
	if err != nil {
		c.errorf(at, "%s=%s: %v", name, arg, err)
		return
	}
	v.rules = append(v.rules, r)
}

// bound is min or max for v's kind.
func bound(v *valuePlan, least bool, arg string) (rule, error) {
	code, words := "too_large", "at most "
	if least {
		code, words = "too_small", "at least "
	}
	switch v.kind {
	case intValue:
		n, err := strconv.ParseInt(arg, 10, v.typ.Bits())
		return rule{code, "must be " + words + arg, within(least, n, reflect.Value.Int)}, err
	case uintValue:
		n, err := strconv.ParseUint(arg, 10, v.typ.Bits())
		return rule{code, "must be " + words + arg, within(least, n, reflect.Value.Uint)}, err
	case floatValue:
		n, err := strconv.ParseFloat(arg, 64)
		return rule{code, "must be " + words + arg, within(least, n, reflect.Value.Float)}, err
	}
	code = "too_long"
	if least {
		code = "too_short"
	}
	n, err := strconv.Atoi(arg)
	if err == nil && n < 0 {
		err = fmt.Errorf("a length is not negative")
	}
	switch v.kind {
	case stringValue:
		count := func(v reflect.Value) int { return utf8.RuneCountInString(v.String()) }
		return rule{code, "must have " + words + arg + " characters", within(least, n, count)}, err
	case sliceValue, mapValue:
		if !least {
			v.most = n
		}
		return rule{code, "must have " + words + arg + " elements", within(least, n, reflect.Value.Len)}, err
	}
	return rule{}, fmt.Errorf("%s has no size", v.typ)
}

func within[T cmp.Ordered](least bool, n T, of func(reflect.Value) T) func(reflect.Value) bool {
	if least {
		return func(v reflect.Value) bool { return of(v) >= n }
	}
	return func(v reflect.Value) bool { return of(v) <= n }
}

// preset compiles a default: written as a query parameter would be.
func (c *planCompiler) preset(f *fieldPlan, arg, at string) {
	f.optional = true
	d := decoder{}
	v := reflect.New(f.value.typ).Elem()
	if k := f.value.kind; k > textValue {
		c.errorf(at, "default is for plain values, not for %s", f.value.typ)
		return
	}
	d.text(f.value, v, arg)
	if len(d.issues) > 0 {
		c.errorf(at, "default=%s: %s", arg, d.issues[0].Message)
		return
	}
	f.preset = v
}

// judgePreset holds a default against the other rules.
func (c *planCompiler) judgePreset(f *fieldPlan, at string) {
	if !f.preset.IsValid() {
		return
	}
	d := decoder{}
	d.judge(f.value, f.preset)
	if len(d.issues) > 0 {
		c.errorf(at, "its default %s", d.issues[0].Message)
	}
}

// isEmail follows the HTML standard's "valid e-mail address", with the lengths
// of RFC 5321, 4.5.3.1: 64 bytes before the @, 254 in all.
func isEmail(s string) bool {
	at := strings.LastIndexByte(s, '@')
	if at < 1 || at > 64 || len(s) > 254 {
		return false
	}
	for i := range at {
		if c := s[i]; !isAlnum(c) && strings.IndexByte(".!#$%&'*+/=?^_`{|}~-", c) < 0 {
			return false
		}
	}
	for label := range strings.SplitSeq(s[at+1:], ".") {
		if len(label) < 1 || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for i := range len(label) {
			if !isAlnum(label[i]) && label[i] != '-' {
				return false
			}
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// isUUID follows RFC 9562, 4, in either case of letters.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !isDigit(c) && (c|0x20 < 'a' || 'f' < c|0x20) {
				return false
			}
		}
	}
	return true
}
