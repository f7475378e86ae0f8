package openapi

import (
	"net/url"
	"slices"
	"strings"
)

// An operation is one method of one path.
type operation struct {
	path, query, header, cookie []parameter

	queries map[string]int // by name, into query
	free    []string       // query parameters of security schemes, which no one judges
	known   string         // names of the query parameters, for messages
	body    *requestBody   // nil: none is described
}

// document compiles all operations.
func (l *loader) document(root map[string]any) *Document {
	if !l.version(root) {
		return nil
	}
	base := l.base(root)
	paths, ok := root["paths"].(map[string]any)
	if !ok || len(paths) == 0 {
		l.errorf("", "it has no paths, so that every request would be refused")
		return nil
	}
	d := &Document{root: &node{}, known: l.bundle.known, omitted: l.bundle.readOnly}
	free := l.securityQueries(root)
	for _, path := range sorted(paths) {
		if strings.HasPrefix(path, "x-") {
			continue
		}
		ptr := "/paths/" + escape(path)
		item := &pathItem{}
		names, err := d.root.add(base, path, item)
		if err != nil {
			l.errorf(ptr, "%v", err)
			continue
		}
		fields, at, ok := l.resolve(paths[path], ptr)
		if !ok {
			continue
		}
		l.pathItem(item, fields, at, names, free)
	}
	d.judges = l.judges()
	return d
}

// version refuses what is not OpenAPI 3.1.
func (l *loader) version(root map[string]any) bool {
	v, _ := root["openapi"].(string)
	switch {
	case strings.HasPrefix(v, "3.1."):
	case strings.HasPrefix(v, "3.0."):
		l.errorf("/openapi", "this is OpenAPI 3.0; raise it to 3.1.0: nullable: true becomes type: [string, \"null\"], and exclusiveMinimum: true becomes exclusiveMinimum with the number")
		return false
	case root["swagger"] != nil:
		l.errorf("/swagger", "this is Swagger 2.0; convert it to OpenAPI 3.1")
		return false
	case v != "":
		l.errorf("/openapi", "this version of OpenAPI is not known here; 3.1 is")
		return false
	default:
		l.errorf("", "it has no openapi version (as text, such as 3.1.0), so it is not an OpenAPI document")
		return false
	}
	switch dialect := root["jsonSchemaDialect"]; dialect {
	case nil, "https://spec.openapis.org/oas/3.1/dialect/base", "https://json-schema.org/draft/2020-12/schema":
		return true
	}
	l.errorf("/jsonSchemaDialect", "only the default dialect, JSON Schema 2020-12, is known here")
	return false
}

// base is the path of all servers, without a slash at its end.
func (l *loader) base(root map[string]any) string {
	servers, _ := root["servers"].([]any)
	base := ""
	for i, s := range servers {
		ptr := "/servers/" + itoa(i)
		server, at, ok := l.resolve(s, ptr)
		if !ok {
			continue
		}
		text, _ := server["url"].(string)
		if variables, ok := server["variables"].(map[string]any); ok {
			for _, name := range sorted(variables) {
				v, _ := variables[name].(map[string]any)
				value, _ := v["default"].(string)
				text = strings.ReplaceAll(text, "{"+name+"}", value)
			}
		}
		u, err := url.Parse(text)
		if err != nil || strings.ContainsAny(text, "{}") {
			l.errorf(at+"/url", "this is not a URL")
			continue
		}
		path := strings.TrimSuffix(u.Path, "/")
		if path != "" && !strings.HasPrefix(path, "/") {
			l.errorf(at+"/url", "write the base path from the root, such as /v1")
			continue
		}
		if i > 0 && path != base {
			l.errorf(at+"/url", "its path differs from the first server's, %q; requests carry one base path", base)
			continue
		}
		base = path
	}
	return base
}

// securityQueries are the query parameters that carry an API key.
func (l *loader) securityQueries(root map[string]any) (names []string) {
	components, _ := root["components"].(map[string]any)
	schemes, _ := components["securitySchemes"].(map[string]any)
	for _, key := range sorted(schemes) {
		s, _, ok := l.resolve(schemes[key], "/components/securitySchemes/"+escape(key))
		if ok && s["type"] == "apiKey" && s["in"] == "query" {
			if name, ok := s["name"].(string); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

// pathItem compiles the operations of one path.
func (l *loader) pathItem(item *pathItem, fields map[string]any, ptr string, templates, free []string) {
	if _, ok := fields["servers"]; ok {
		l.errorf(ptr+"/servers", "servers are taken from the root only")
	}
	shared := l.parameters(fields["parameters"], ptr+"/parameters", templates)
	for i, method := range methods {
		v, ok := fields[method]
		if !ok {
			continue
		}
		at := ptr + "/" + method
		op, ok := v.(map[string]any)
		if !ok {
			l.errorf(at, "an operation is an object")
			continue
		}
		if _, ok := op["servers"]; ok {
			l.errorf(at+"/servers", "servers are taken from the root only")
		}
		item.operations[i] = l.operation(op, at, shared, templates, free)
	}
	item.setAllow()
}

func (l *loader) operation(fields map[string]any, ptr string, shared []parameter, templates, free []string) *operation {
	op := &operation{queries: map[string]int{}, free: free}
	own := l.parameters(fields["parameters"], ptr+"/parameters", templates)
	all := slices.Clone(own)
	for _, p := range shared {
		if !slices.ContainsFunc(own, func(o parameter) bool { return o.in == p.in && o.name == p.name }) {
			all = append(all, p)
		}
	}
	found := make([]bool, len(templates))
	for _, p := range all {
		switch p.in {
		case "path":
			found[p.segment] = true
			op.path = append(op.path, p)
		case "query":
			op.queries[p.name] = len(op.query)
			op.query = append(op.query, p)
		case "header":
			op.header = append(op.header, p)
		case "cookie":
			op.cookie = append(op.cookie, p)
		}
	}
	for i, name := range templates {
		if !found[i] {
			l.errorf(ptr, "the path has {%s}, but no parameter describes it", name)
		}
	}
	op.known = "none is described"
	if len(op.queries) > 0 {
		op.known = "described are " + strings.Join(sorted(op.queries), ", ")
	}
	if v, ok := fields["requestBody"]; ok {
		op.body = l.requestBody(v, ptr+"/requestBody")
	}
	return op
}
