package openapi

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A requestBody is what an operation takes.
type requestBody struct {
	required bool
	content  map[string]*media // by media type or range: "application/json", "image/*", "*/*"
	known    string            // the keys of content, for messages
}

// A media is how a body of one media type is judged.
type media struct {
	json, form bool                 // else the type is all that is judged
	use        use                  // 0: no schema
	fields     map[string]formField // of a form
}

// A formField is a property of a form's object.
type formField struct {
	array bool
	types types // of it, or of its elements
}

func (l *loader) requestBody(v any, ptr string) *requestBody {
	fields, ptr, ok := l.resolve(v, ptr)
	if !ok {
		return nil
	}
	b := &requestBody{content: map[string]*media{}}
	b.required, _ = fields["required"].(bool)
	content, _ := fields["content"].(map[string]any)
	if len(content) == 0 {
		l.errorf(ptr, "a request body has content, by media type")
		return b
	}
	b.known = strings.Join(sorted(content), ", ")
	for _, key := range sorted(content) {
		at := ptr + "/content/" + escape(key)
		o, ok := content[key].(map[string]any)
		if !ok {
			l.errorf(at, "a media type is an object")
			continue
		}
		name, params, err := mime.ParseMediaType(key)
		if err != nil || len(params) > 0 || !strings.Contains(name, "/") {
			l.errorf(at, "write the media type without parameters, such as application/json")
			continue
		}
		m := &media{}
		b.content[name] = m
		schema, described := o["schema"]
		if !described {
			continue
		}
		switch at += "/schema"; {
		case isJSON(name):
			m.json, m.use = true, l.bundle.use(schema, at)
		case name == "application/x-www-form-urlencoded":
			m.form, m.use = true, l.bundle.use(schema, at)
			m.fields = map[string]formField{}
			l.bundle.formFields(m.fields, schema, at, 0)
		}
	}
	return b
}

// isJSON agrees with app/json, which has judged such bodies before.
func isJSON(media string) bool {
	return media == "application/json" || media == "text/json" || strings.HasSuffix(media, "+json")
}

// formFields collects the properties of a form, which is flat.
func (b *bundle) formFields(fields map[string]formField, schema any, ptr string, depth int) {
	s, ok := schema.(map[string]any)
	if !ok || depth > 20 {
		return
	}
	properties, _ := s["properties"].(map[string]any)
	for _, name := range sorted(properties) {
		at := ptr + "/properties/" + escape(name)
		f := formField{types: b.types(properties[name], at)}
		if f.types.has("array") {
			f = formField{array: true, types: b.elementTypes(properties[name], at)}
		}
		if f.types.has("object") || f.types.has("array") {
			b.l.errorf(at, "a form is flat: a field is no object, and an element neither object nor array")
		}
		fields[name] = f
	}
	b.inPlace(s, ptr, func(v any, at string) { b.formFields(fields, v, at, depth+1) })
}

// find picks the most specific entry for a media type (OpenAPI 3.1, 4.8.14).
func (b *requestBody) find(header []string) *media {
	if len(header) != 1 {
		return nil
	}
	if m := b.content[header[0]]; m != nil {
		return m
	}
	name, _, err := mime.ParseMediaType(header[0])
	if err != nil {
		return nil
	}
	if m := b.content[name]; m != nil {
		return m
	}
	main, _, _ := strings.Cut(name, "/")
	if m := b.content[main+"/*"]; m != nil {
		return m
	}
	return b.content["*/*"]
}

// checkBody judges the media type, and the body when it is JSON or a form.
func (op *operation) checkBody(c *checker, r *http.Request, body []byte) {
	sent := len(body) > 0 || r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
	switch {
	case !sent && op.body != nil && op.body.required:
		c.issue("", "required", "a body is required")
		return
	case !sent:
		return
	case op.body == nil:
		c.issue("", "unknown", "no body is described for this operation")
		return
	}
	m := op.body.find(r.Header["Content-Type"])
	if m == nil {
		c.issue("header/Content-Type", "media_type", "must be one of "+op.body.known)
		return
	}
	if m.use == 0 {
		return
	}
	switch {
	case len(body) == 0:
		c.issue("", "required", "a body is required")
	case m.json:
		if v, ok := decodeJSON(body); ok {
			c.validate(m.use, v, "")
		} else {
			c.issue("", "syntax", "is not JSON, or has a number that is too long")
		}
	case m.form:
		m.checkForm(c, string(body))
	}
}

// decodeJSON decodes one value, with numbers as they are written. app/json has
// judged the body before, unless it is waived: what would cost too much to
// compute with is refused here too.
func decodeJSON(body []byte) (v any, ok bool) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&v) != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return v, bounded(v)
}

// bounded reports whether all numbers are short and of bounded exponent.
func bounded(v any) bool {
	switch v := v.(type) {
	case json.Number:
		if len(v) > 100 {
			return false
		}
		if i := strings.IndexAny(string(v), "eE"); i >= 0 {
			n, err := strconv.Atoi(string(v[i+1:]))
			return err == nil && -400 <= n && n <= 400
		}
	case []any:
		for _, e := range v {
			if !bounded(e) {
				return false
			}
		}
	case map[string]any:
		for _, e := range v {
			if !bounded(e) {
				return false
			}
		}
	}
	return true
}

// checkForm judges a form as the object that it stands for.
func (m *media) checkForm(c *checker, body string) {
	sent, err := url.ParseQuery(body)
	if err != nil || !utf8.ValidString(body) {
		c.issue("", "syntax", "is not a form")
		return
	}
	o := make(map[string]any, len(sent))
	for name, list := range sent {
		f := m.fields[name]
		if !utf8.ValidString(name) {
			c.issue("", "utf8", "must be UTF-8")
			return
		}
		values := make([]any, len(list))
		for i, s := range list {
			if !utf8.ValidString(s) {
				c.issue("", "utf8", "must be UTF-8")
				return
			}
			values[i] = f.types.coerce(s)
		}
		switch {
		case f.array:
			o[name] = values
		case len(list) > 1:
			c.issueAt("", []string{name}, "duplicate", "stands more than once")
		default:
			o[name] = values[0]
		}
	}
	c.validate(m.use, o, "")
}
