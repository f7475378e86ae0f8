package openapi

import (
	"errors"
	"net/http"
	"strings"
)

// node is a segment of the path templates.
type node struct {
	literal  map[string]*node
	template *node
	item     *pathItem
}

// maxTemplates is how many {names} one path may have.
const maxTemplates = 16

// values are what the {names} of a path stand for, in order.
type values [maxTemplates]string

// methods are those that OpenAPI has, in the order of an Allow header.
var methods = [...]string{"get", "head", "post", "put", "patch", "delete", "options", "trace"}

type pathItem struct {
	operations [len(methods)]*operation
	allow      []string // value of an Allow header
}

func (p *pathItem) operation(method string) *operation {
	switch method {
	case http.MethodGet:
		return p.operations[0]
	case http.MethodHead:
		if p.operations[1] == nil {
			return p.operations[0]
		}
		return p.operations[1]
	case http.MethodPost:
		return p.operations[2]
	case http.MethodPut:
		return p.operations[3]
	case http.MethodPatch:
		return p.operations[4]
	case http.MethodDelete:
		return p.operations[5]
	case http.MethodOptions:
		return p.operations[6]
	case http.MethodTrace:
		return p.operations[7]
	}
	return nil
}

func (p *pathItem) setAllow() {
	var allowed []string
	for i, m := range methods {
		if p.operations[i] != nil || m == "head" && p.operations[0] != nil {
			allowed = append(allowed, strings.ToUpper(m))
		}
	}
	p.allow = []string{strings.Join(allowed, ", ")}
}

// find walks path, "/a/b", with n values filled in.
func (d *node) find(path string, v *values, n int) *pathItem {
	if path == "" {
		return d.item
	}
	segment, rest := path[1:], ""
	if i := strings.IndexByte(segment, '/'); i >= 0 {
		segment, rest = segment[:i], segment[i:]
	}
	if c := d.literal[segment]; c != nil {
		if item := c.find(rest, v, n); item != nil {
			return item
		}
	}
	if d.template != nil && segment != "" {
		v[n] = segment
		return d.template.find(rest, v, n+1)
	}
	return nil
}

// add puts a path template into the tree, and returns its names in order. The
// template is below base, which has none.
func (d *node) add(base, path string, item *pathItem) (names []string, err error) {
	if !strings.HasPrefix(path, "/") {
		return nil, errors.New("a path starts with /")
	}
	if strings.ContainsAny(path, "%?#;\\") {
		return nil, errors.New("a path is written decoded, without query, and has none of % ? # ; \\")
	}
	n := d
	full := base + path
	last := strings.Count(full, "/") - 1
	for i, segment := range strings.Split(full[1:], "/") {
		switch {
		case segment == "." || segment == ".." || segment == "" && i < last:
			return nil, errors.New("a path has no empty and no dot segments: such requests are refused before")
		case strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") && strings.Count(segment, "{")+strings.Count(segment, "}") == 2:
			names = append(names, segment[1:len(segment)-1])
			if len(names) > maxTemplates {
				return nil, errors.New("more than 16 templates in one path")
			}
			if n.template == nil {
				n.template = &node{}
			}
			n = n.template
		case strings.ContainsAny(segment, "{}"):
			return nil, errors.New("a template stands for a whole segment: /{id}, not /{id}.json")
		default:
			if n.literal == nil {
				n.literal = map[string]*node{}
			}
			if n.literal[segment] == nil {
				n.literal[segment] = &node{}
			}
			n = n.literal[segment]
		}
	}
	if n.item != nil {
		return nil, errors.New("another path is the same but for its template names")
	}
	n.item = item
	return names, nil
}
