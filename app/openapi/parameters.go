package openapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A parameter is one that an operation describes.
type parameter struct {
	in, name string
	where    string // path of its issues: "query/limit"
	segment  int    // of in path: index of its template
	required bool
	empty    bool   // allowEmptyValue
	array    bool   // its values are the elements
	split    string // separator of elements in one value; "": each value is one element
	types    types  // of it, or of its elements
	use      use
}

// parameters compiles a list of them.
func (l *loader) parameters(v any, ptr string, templates []string) (list []parameter) {
	if v == nil {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		l.errorf(ptr, "parameters are a list")
		return nil
	}
	for i, item := range items {
		fields, at, ok := l.resolve(item, ptr+"/"+itoa(i))
		if !ok {
			continue
		}
		p, ok := l.parameter(fields, at, templates)
		if !ok {
			continue
		}
		if slices.ContainsFunc(list, func(o parameter) bool { return o.in == p.in && o.name == p.name }) {
			l.errorf(at, "the %s parameter %s stands twice", p.in, p.name)
			continue
		}
		list = append(list, p)
	}
	return list
}

// parameter compiles one; ok is false for a mistake and for what is ignored.
func (l *loader) parameter(f map[string]any, ptr string, templates []string) (p parameter, ok bool) {
	p.name, _ = f["name"].(string)
	p.in, _ = f["in"].(string)
	p.required, _ = f["required"].(bool)
	p.empty, _ = f["allowEmptyValue"].(bool)
	style, _ := f["style"].(string)
	explode, hasExplode := f["explode"].(bool)
	if p.name == "" {
		l.errorf(ptr, "a parameter has a name")
		return p, false
	}
	usual := "form"
	switch p.in {
	case "query", "cookie":
	case "path":
		usual = "simple"
		if p.segment = slices.Index(templates, p.name); p.segment < 0 {
			l.errorf(ptr, "the path has no {%s}", p.name)
			return p, false
		}
		if !p.required {
			l.errorf(ptr, "a path parameter has required: true")
		}
	case "header":
		usual = "simple"
		p.name = http.CanonicalHeaderKey(p.name)
		if p.name == "Accept" || p.name == "Content-Type" || p.name == "Authorization" {
			return p, false // OpenAPI 3.1, 4.8.12.2: shall be ignored
		}
	default:
		l.errorf(ptr+"/in", "a parameter is in query, path, header or cookie")
		return p, false
	}
	p.where = p.in + "/" + p.name
	if style == "" {
		style = usual
	}
	if !hasExplode {
		explode = style == "form"
	}
	if f["content"] != nil {
		l.errorf(ptr+"/content", "parameters with content are not validated here; describe it by schema")
		return p, false
	}
	schema, ok := f["schema"]
	if !ok {
		l.errorf(ptr, "a parameter has a schema")
		return p, false
	}
	at := ptr + "/schema"
	p.types = l.bundle.types(schema, at)
	if p.types.has("object") {
		l.errorf(ptr, "a parameter that is an object (style %s) is not validated here; use one parameter for each member", style)
		return p, false
	}
	if p.types.has("array") {
		if len(p.types) > 1 {
			l.errorf(at, "a parameter is an array or not; this may be either")
			return p, false
		}
		p.array = true
		p.types = l.bundle.elementTypes(schema, at)
		if p.types.has("array") || p.types.has("object") {
			l.errorf(at, "a parameter cannot hold arrays or objects in an array")
			return p, false
		}
	}
	switch {
	case style == usual && usual == "simple":
		p.split = ","
	case p.in == "query" && style == "form" || p.in == "cookie" && style == "form" && (!p.array || !explode):
		if !explode {
			p.split = ","
		}
	case p.in == "query" && style == "spaceDelimited" && !explode:
		p.split = " "
	case p.in == "query" && style == "pipeDelimited" && !explode:
		p.split = "|"
	default:
		l.errorf(ptr, "style %s with explode: %v is not validated here for a %s parameter", style, explode, p.in)
		return p, false
	}
	p.use = l.bundle.use(schema, at)
	return p, true
}

// check judges what was sent for the parameter; nothing: sent is empty.
func (p *parameter) check(c *checker, sent []string) {
	if len(sent) == 0 {
		if p.required {
			c.issue(p.where, "required", "is required")
		}
		return
	}
	for _, s := range sent {
		if !utf8.ValidString(s) {
			c.issue(p.where, "utf8", "must be UTF-8")
			return
		}
	}
	if p.empty && len(sent) == 1 && sent[0] == "" {
		return
	}
	var v any
	switch {
	case len(sent) > 1 && (!p.array || p.split != "" && p.in != "header"):
		c.issue(p.where, "duplicate", "stands more than once")
		return
	case p.array:
		elements := make([]any, 0, len(sent))
		for _, s := range sent {
			if p.split == "" {
				elements = append(elements, p.types.coerce(s))
				continue
			}
			for part := range strings.SplitSeq(s, p.split) {
				elements = append(elements, p.types.coerce(strings.Trim(part, " ")))
			}
		}
		v = elements
	default:
		v = p.types.coerce(sent[0])
	}
	c.validate(p.use, v, p.where)
}

// cookies returns the values of a cookie. Reported as not ok is one that net/http
// drops (RFC 6265, 4.1.1) and other programs read: a value with a quote or a
// backslash inside, a blank before, or bytes outside of ASCII, and a name in quotes
// or in blanks of another alphabet. net/http drops all of 3,000, too.
func cookies(lines []string, name string) (sent []string, ok bool) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			key, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
			if key = strings.Trim(key, " \t"); key != name {
				if strings.Contains(key, name) && strings.TrimFunc(key, notOfName) == name {
					return nil, false
				}
				continue
			}
			if value != "" && value[0] == ' ' {
				return nil, false
			}
			if n := len(value); n > 1 && value[0] == '"' && value[n-1] == '"' {
				value = value[1 : n-1]
			}
			for i := range len(value) {
				if b := value[i]; b < ' ' || b >= 0x7f || b == '"' || b == '\\' {
					return nil, false
				}
			}
			sent = append(sent, value)
		}
	}
	return sent, true
}

// notOfName reports what no cookie's name begins or ends with, a byte of no
// UTF-8 too.
func notOfName(c rune) bool {
	return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"'(),/:<=>?@[\]{}`, c)
}

// checkQuery judges all query parameters.
func (op *operation) checkQuery(c *checker, raw string) {
	var sent url.Values
	if raw != "" {
		var err error
		if sent, err = url.ParseQuery(raw); err != nil {
			c.issue("query", "syntax", "is not well-formed")
			return
		}
		for name := range sent {
			if _, ok := op.queries[name]; !ok && !slices.Contains(op.free, name) {
				// The name is the client's word and is not repeated.
				c.issue("query", "unknown", "holds a parameter that is not described; "+op.known)
				break
			}
		}
	}
	for i := range op.query {
		p := &op.query[i]
		p.check(c, sent[p.name])
	}
}

// types are the JSON types that a schema may take; nil: any.
type types []string

func (t types) has(name string) bool { return slices.Contains(t, name) }

// coerce reads a string as the first of the types that it has the form of. What
// has none stays a string, and the schema refuses it.
func (t types) coerce(s string) any {
	if (t.has("integer") || t.has("number")) && isNumber(s) {
		return json.Number(s)
	}
	if t.has("boolean") && (s == "true" || s == "false") {
		return s == "true"
	}
	return s
}

// isNumber reports whether s is a JSON number of at most 40 bytes without an
// exponent: parameters have one way to write a number.
func isNumber(s string) bool {
	return s != "" && len(s) <= 40 && (s[0] == '-' || '0' <= s[0] && s[0] <= '9') &&
		!strings.ContainsAny(s, "eE \t\r\n") && json.Valid([]byte(s))
}

func itoa(i int) string { return strconv.Itoa(i) }
