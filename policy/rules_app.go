package policy

import (
	"mime"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"
)

const maxClasses = 16

// Methods that routes and preflights may name.
var methods = fieldOf(reflect.TypeFor[Route](), "methods").oneOf

func (l *loader) cors() {
	c := l.p.App.CORS
	for i, o := range c.Origins {
		if m := judgeOrigin(o, l.p.dev); m != nil {
			l.errorf(item("app.cors.origins", i), m.hint, "%s", m.reason)
		}
	}
	for _, names := range []struct {
		path string
		list []string
	}{{"app.cors.headers", c.Headers}, {"app.cors.expose", c.Expose}} {
		seen := map[string]bool{}
		for i, h := range names.list {
			switch lower := strings.ToLower(h); {
			case h == "*":
				l.errorf(item(names.path, i), "name the headers", "* is not allowed: with credentials browsers take it for a header of that name")
			case !isToken(h):
				l.errorf(item(names.path, i), "write a name such as Content-Type", "%s is not the name of a header", quote(h))
			case lower == "set-cookie" || lower == "set-cookie2":
				l.errorf(item(names.path, i), "remove it", "browsers never show %s to a page", h)
			case seen[lower]:
				l.errorf(item(names.path, i), "keep one", "%s stands twice", h)
			default:
				seen[lower] = true
			}
		}
	}
}

// judgeOrigin returns nil for an origin as browsers send it in the Origin
// header (RFC 6454, section 6.2): anything else would never match.
func judgeOrigin(o string, dev bool) *misfit {
	q := quote(o)
	switch {
	case o == "*":
		return &misfit{"* lets every site read answers with the victim's credentials", "list the origins, such as https://app.example.com"}
	case strings.EqualFold(o, "null"):
		return &misfit{"null is the origin of any sandboxed frame, whoever made it", "serve the page from a real origin and list that"}
	case strings.Contains(o, "*"):
		return &misfit{q + " is a wildcard", "list each origin: whoever takes over a forgotten subdomain would be trusted"}
	}
	scheme, rest, ok := strings.Cut(o, "://")
	if !ok {
		return &misfit{q + " has no scheme", "write https://" + strings.TrimRight(o, "/")}
	}
	if lower := strings.ToLower(o); lower != o {
		return &misfit{q + " has upper-case letters", "write " + lower + ", as browsers send it"}
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		reason := " has a path"
		if rest[i:] == "/" {
			reason = " ends with a slash"
		}
		return &misfit{q + reason + ", and an origin has none", "write " + scheme + "://" + rest[:i]}
	}
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		return &misfit{q + " has a user name", "write " + scheme + "://" + rest[i+1:]}
	}
	host, port := rest, ""
	if i := strings.LastIndex(rest, ":"); i >= 0 && !strings.HasSuffix(rest, "]") {
		host, port = rest[:i], rest[i+1:]
		if !isPort(port) {
			return &misfit{q + " has no valid port", "ports are 1 to 65535"}
		}
	}
	if bare := strings.TrimRight(host, "."); bare != host && bare != "" {
		return &misfit{q + " ends with a dot", "write " + scheme + "://" + bare + rest[len(host):]}
	}
	if scheme != "https" && scheme != "http" {
		return &misfit{q + " is not a web origin", "write https:// and a host"}
	}
	if port == "443" && scheme == "https" || port == "80" && scheme == "http" {
		return &misfit{q + " names the default port, which browsers leave out", "write " + scheme + "://" + host}
	}
	loopback := isLocalName(host)
	if inner, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !strings.HasSuffix(inner, "]") || a.Zone() != "" || a.Is4() || a.Is4In6() || "["+a.String()+"]" != host {
			return &misfit{q + " has no valid IPv6 address", "write it as browsers do, such as https://[2001:db8::1]"}
		}
		loopback = a.IsLoopback()
	} else if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
		loopback = a.IsLoopback()
	} else if m := judgeHost(host); m != nil {
		return m
	}
	if scheme == "http" && !(dev && loopback) {
		hint := "write https://" + rest
		if loopback {
			hint = "start with --dev, where http:// on loopback is allowed"
		}
		return &misfit{q + " is not encrypted: whoever is on the network can be that origin", hint}
	}
	return nil
}

// isToken reports a token of RFC 9110, section 5.6.2.
func isToken(s string) bool {
	for _, r := range s {
		if (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
			return false
		}
	}
	return s != ""
}

func (l *loader) limits() {
	const path = "app.limits"
	if n := len(l.p.App.Limits); n > maxClasses {
		l.errorf(path, "join some", "%d rate classes are too many: at most %d", n, maxClasses)
	}
	for _, name := range sortedKeys(reflect.ValueOf(l.p.App.Limits)) {
		c, at := l.p.App.Limits[name], child(path, name)
		if !isName(name, "-") {
			l.errorf(at, "class names have lower-case letters, digits and hyphens, and begin with a letter", "%s is not a class name", quote(name))
			continue
		}
		if name == "global" && len(c.Paths) > 0 {
			l.errorf(at+".paths", "give the paths to a class of another name", "the class global counts every request and has no paths")
		}
		if name != "global" && len(c.Paths) == 0 {
			l.errorf(at+".paths", "say which paths it counts; the class that counts all is global", "the class %s has no paths", name)
		}
		for i, p := range c.Paths {
			if _, err := ParsePattern(p); err != nil {
				l.errorf(item(at+".paths", i), patternHint, "%v", err)
			}
		}
		if utf8.RuneCountInString(c.Message) > 200 {
			l.errorf(at+".message", "one sentence is enough", "the message is longer than 200 characters")
		}
	}
}

const patternHint = "write /a/b for that path, /a/ for all below it, {name} for one segment"

func (l *loader) routes() {
	parsed := make([]*Pattern, len(l.p.App.Routes))
	for i, r := range l.p.App.Routes {
		at := item("app.routes", i)
		if r.Path != "" {
			if p, err := ParsePattern(r.Path); err != nil {
				l.errorf(at+".path", patternHint, "%v", err)
			} else {
				parsed[i] = &p
			}
		}
		l.allow(at+".allow", r.Allow)
		l.contentTypes(at+".content_types", r.ContentTypes)
		if r.ContentTypes == nil && l.written(at+".content_types") {
			l.errorf(at+".content_types", "remove the key to use app.content_types", "the list is empty")
		}
	}
	for j, r := range l.p.App.Routes {
		if parsed[j] == nil {
			continue
		}
		left := methodSet(r.Methods)
		for i := 0; i < j && left != 0; i++ {
			if parsed[i] == nil || !parsed[i].Covers(*parsed[j]) {
				continue
			}
			if left &^= methodSet(l.p.App.Routes[i].Methods); left == 0 {
				l.errorf(item("app.routes", j)+".path", "move it up, or remove it: the first match wins",
					"no request reaches this route, since %s (app.routes[%d]) comes first", l.p.App.Routes[i].Path, i)
			}
		}
	}
}

// methodSet gives a bit to each method and one to all that are not listed.
func methodSet(names []string) (set uint) {
	if len(names) == 0 {
		return 1<<(len(methods)+1) - 1
	}
	for _, n := range names {
		if i := slices.Index(methods, n); i >= 0 {
			set |= 1 << i
		}
	}
	if slices.Contains(names, "GET") {
		set |= 1 << slices.Index(methods, "HEAD")
	}
	return set
}

// written reports whether a key stands in the file.
func (l *loader) written(path string) bool { return l.doc.index[path] != nil }

func (l *loader) allow(path string, allow []string) {
	roles := l.p.Identity.Roles
	for i, a := range allow {
		at := item(path, i)
		switch {
		case a == "anyone" || a == "signed-in":
			if len(allow) > 1 {
				l.errorf(at, "keep "+a+" alone, or remove it", "%s makes the others on the list pointless", a)
			}
		case a == "*" || strings.HasSuffix(a, ":*"):
			l.errorf(at, "write anyone, signed-in, a role or one permission", "%s is for roles: a route names what it needs", quote(a))
		case strings.Contains(a, ":"):
			if !isPermission(a, false) {
				l.errorf(at, "write noun:verb, such as notes:write", "%s is not a permission", quote(a))
			} else if !held(roles, a) {
				l.errorf(at, "grant it in identity.roles", "no role has the permission %s, so nobody could call", a)
			}
		default:
			if _, ok := roles[a]; ok {
				continue
			}
			known := append([]string{"anyone", "signed-in"}, sortedKeys(reflect.ValueOf(roles))...)
			hint := "name it in identity.roles"
			if near := Nearest(a, known); near != "" {
				hint = "did you mean " + near + "?"
			}
			l.errorf(at, hint, "there is no role %s", quote(a))
		}
	}
}

// held reports whether some role grants the permission.
func held(roles map[string][]string, want string) bool {
	for _, permissions := range roles {
		for _, has := range permissions {
			if prefix, ok := strings.CutSuffix(has, "*"); ok && strings.HasPrefix(want, prefix) || has == want {
				return true
			}
		}
	}
	return false
}

// contentTypes judges media types as requests name them: lower case, no
// parameters, no wildcards.
func (l *loader) contentTypes(path string, types []string) {
	for i, t := range types {
		main, sub, _ := strings.Cut(t, "/")
		parsed, params, err := mime.ParseMediaType(t)
		switch {
		case strings.Contains(t, "*"):
			l.errorf(item(path, i), "list each type", "%s is a wildcard", quote(t))
		case err == nil && len(params) > 0 || strings.Contains(t, ";"):
			l.errorf(item(path, i), "write "+parsed+"; parameters such as charset are always allowed", "%s has parameters", quote(t))
		case !isToken(main) || !isToken(sub) || err != nil:
			l.errorf(item(path, i), "write a type such as application/json", "%s is not a media type", quote(t))
		case parsed != t:
			l.errorf(item(path, i), "write "+parsed, "%s has upper-case letters", quote(t))
		}
	}
}

func (l *loader) headers() {
	h := l.p.App.Headers
	const path = "app.headers.hsts.preload"
	switch {
	case h.HSTS.Preload && !h.HSTS.Subdomains:
		l.errorf(path, "set app.headers.hsts.subdomains: true when every subdomain speaks HTTPS, or remove preload",
			"browsers take no site into their lists without its subdomains")
	case h.HSTS.Preload && h.HSTS.MaxAge < 365*day:
		l.errorf(path, "set app.headers.hsts.max_age: 365d, or remove preload", "browsers take no site into their lists for less than 365 days")
	}
	for _, v := range []struct{ path, value string }{
		{"app.headers.csp", h.CSP}, {"app.headers.permissions", h.Permissions},
	} {
		if strings.ContainsFunc(v.value, func(r rune) bool { return r >= utf8.RuneSelf }) {
			l.errorf(v.path, "header values are ASCII", "the value has a character that a header cannot carry")
		} else if strings.TrimSpace(v.value) == "" {
			l.errorf(v.path, "to send none, waive the control", "the value is blank")
		}
	}
	// RFC 8941, section 3.2: without = a member means true, which no browser knows here.
	for member := range strings.SplitSeq(h.Permissions, ",") {
		if name, _, ok := strings.Cut(strings.TrimSpace(member), "="); !ok || !isToken(name) {
			l.errorf("app.headers.permissions", "write geolocation=(), microphone=(self)", "%s is not feature=(...)", quote(strings.TrimSpace(member)))
			return
		}
	}
}
