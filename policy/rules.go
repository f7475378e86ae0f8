package policy

import (
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// rules judges what the values mean together. Kinds, units and ranges are
// judged before, where the values are read.
func (l *loader) rules(now time.Time) {
	l.site()
	l.edge()
	l.gate(now)
	l.http3()
	l.nginx()
	l.addresses()
	l.cors()
	l.limits()
	l.roles()
	l.routes()
	l.headers()
	l.identity()
	l.waivers(now)
	l.watch()
	l.host()
	l.contentTypes("app.content_types", l.p.App.ContentTypes)
}

func (l *loader) site() {
	site := l.p.Site
	if site == "" {
		return // said already
	}
	const path = "site"
	if strings.Contains(site, "://") {
		l.errorf(path, "write the host name alone", "%s has a scheme", quote(site))
		return
	}
	if a, err := netip.ParseAddr(strings.Trim(site, "[]")); err == nil {
		switch {
		case !l.p.dev:
			l.errorf(path, "give the host name that clients use; an address is for --dev", "%s is an address: no certificate and no cookie is safe for it", quote(site))
		case a.String() != site || !a.IsLoopback():
			l.errorf(path, "write localhost, 127.0.0.1 or ::1", "%s is not a loopback address", quote(site))
		}
		return
	}
	if host, port, ok := strings.Cut(site, ":"); ok && isDigits(port) {
		l.errorf(path, "write "+host+"; the port stands in edge.listen", "%s has a port", quote(site))
		return
	}
	if m := judgeHost(site); m != nil {
		l.errorf(path, m.hint, "%s", m.reason)
		return
	}
	if isLocalName(site) && !l.p.dev {
		l.errorf(path, "give the host name that clients use, or start with --dev", "%s is this machine only", quote(site))
	}
}

func isLocalName(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// judgeHost returns nil for a host name as browsers send it: lower case,
// letters, digits and hyphens (RFC 1123, section 2.1), not an address.
func judgeHost(host string) *misfit {
	q := quote(host)
	if strings.ContainsFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return &misfit{q + " is not ASCII", "write the host name's punycode form, which begins a label with xn--, as browsers send it"}
	}
	if lower := strings.ToLower(host); lower != host {
		return &misfit{q + " has upper-case letters", "write " + lower}
	}
	if bare := strings.TrimRight(host, "."); bare != host && bare != "" {
		return &misfit{q + " ends with a dot", "write " + bare}
	}
	labels := strings.Split(host, ".")
	for _, label := range labels {
		bad := label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.ContainsFunc(label, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
		if bad {
			return &misfit{q + " is not a host name", "host names have letters, digits, hyphens and dots, such as api.example.com"}
		}
	}
	// WHATWG URL: a name whose last label is a number is read as an address.
	if last := labels[len(labels)-1]; isDigits(last) || strings.HasPrefix(last, "0x") {
		return &misfit{q + " would be read as an address", "give a host name such as api.example.com"}
	}
	if len(host) > 253 {
		return &misfit{q + " is longer than 253 characters", ""}
	}
	return nil
}

func (l *loader) edge() {
	e := l.p.Edge
	if (e.TLS.Cert == "") != (e.TLS.Key == "") {
		have, lack := "cert", "key"
		if e.TLS.Cert == "" {
			have, lack = lack, have
		}
		l.errorf("edge.tls."+have, "give both, or neither", "there is a %s without edge.tls.%s", have, lack)
	}
	if e.ProxyProtocol && len(e.TrustedProxies) == 0 {
		l.errorf("edge.proxy_protocol", "name the proxies in edge.trusted_proxies", "nobody may send the headers that every connection must begin with")
	}
	l.acme()
	l.upstreams()
}

// upstreams judges where the API is: in one place, or in several.
func (l *loader) upstreams() {
	l.upstream("upstream", l.p.Upstream)
	if len(l.p.Upstreams) > 0 && l.p.Upstream != "" {
		l.errorf("upstreams", "keep one of the two", "upstream says already where the API listens")
	}
	if len(l.p.Upstreams) > 64 {
		l.errorf("upstreams", "", "there are %d, and at most 64 are taken", len(l.p.Upstreams))
	}
	for i, up := range l.p.Upstreams {
		l.upstream(item("upstreams", i), up)
		_, first := OverHTTP2(l.p.Upstreams[0])
		if _, h2c := OverHTTP2(up); h2c != first {
			l.errorf(item("upstreams", i), "write all of them with h2c, or none", "the same API speaks HTTP/1.1 in one place and HTTP/2 in another")
		}
	}
	l.grpc()
	h := l.p.Edge.Health.Path
	u, err := url.ParseRequestURI(h)
	if h != "" && (err != nil || h[0] != '/' || u.RequestURI() != h) {
		l.errorf("edge.health.path", "write it as a client asks for it, such as /healthz", "%s is not a path", quote(h))
	}
}

// grpc: its status comes in trailers, which pass HTTP/2 alone.
func (l *loader) grpc() {
	behind := l.p.Behind()
	if len(behind) == 0 && !l.p.NginxIsEdge() {
		return // the handler is Go code, and has the client's HTTP/2 itself
	}
	h2c := len(behind) == 0
	if !h2c {
		_, h2c = OverHTTP2(behind[0])
	}
	for i, r := range l.p.App.Routes {
		for j, kind := range r.ContentTypes {
			if kind != "application/grpc" && !strings.HasPrefix(kind, "application/grpc+") {
				continue
			}
			path := item(item("app.routes", i)+".content_types", j)
			switch {
			case l.p.NginxIsEdge():
				l.errorf(path, "write engine: builtin for a site that serves gRPC", "gRPC does not pass where nginx is the edge: it speaks HTTP/1.1 to Ringwall")
			case !h2c:
				l.errorf(path, "write the upstream as h2c://127.0.0.1:50051", "gRPC needs an upstream that is spoken to in HTTP/2")
			}
		}
	}
}

// upstream: what is behind must not be reachable past the ring, so it is on
// this machine.
func (l *loader) upstream(path, up string) {
	const hint = "write http://127.0.0.1:8000 or unix:/run/api.sock; an API elsewhere could be reached around Ringwall"
	up, _ = OverHTTP2(up)
	switch socket, isSocket := strings.CutPrefix(up, "unix:"); {
	case up == "":
		return
	case isSocket:
		if !cleanAbsolute(socket) {
			l.errorf(path, "write unix: and an absolute path, such as unix:/run/api.sock", "%s is not the absolute path of a socket", quote(socket))
		} else if len(socket) > 107 {
			l.errorf(path, "move it, to /run for example", "a socket's path has at most 107 bytes")
		}
		return
	}
	u, err := url.Parse(up)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		l.errorf(path, hint, "%s is not an address of an API", quote(up))
	case u.Scheme == "https":
		l.errorf(path, "write http://"+u.Host+"; TLS would only protect this machine from itself", "%s is https on loopback", quote(up))
	case u.Scheme != "http":
		l.errorf(path, hint, "the scheme %s is not known here", quote(u.Scheme))
	case u.User != nil:
		e := l.p.Errorf(path, "remove it: the upstream is on this machine", "a user name or a password is in the address").(*Error)
		if e.Line > 0 {
			e.Source = strings.Repeat(" ", e.Column-1) + redacted
		}
		l.add(e)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(up, "#"):
		l.errorf(path, "write http://"+u.Host+"; paths reach the upstream as clients send them", "%s has more than a host and a port", quote(up))
	case !isLoopbackHost(u.Hostname()):
		l.errorf(path, hint, "%s is not on this machine's loopback", quote(u.Host))
	case u.Port() != "" && !isPort(u.Port()) || strings.HasSuffix(u.Host, ":"):
		l.errorf(path, "ports are 1 to 65535", "%s has no valid port", quote(u.Host))
	}
}

func cleanAbsolute(p string) bool { return path.IsAbs(p) && path.Clean(p) == p && p != "/" }

func isLoopbackHost(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Zone() == "" && a.Unmap().IsLoopback()
}

func isPort(s string) bool {
	n, err := strconv.Atoi(s)
	return err == nil && isDigits(s) && s[0] != '0' && n <= 65535
}

// addresses judges what Ringwall itself listens on, and that no two of its
// listeners and the upstream are the same.
func (l *loader) addresses() {
	type place struct{ path, host, port string }
	var taken []place
	claim := func(p place) {
		for _, t := range taken {
			if t.port == p.port && (t.host == p.host || t.host == "" || p.host == "") {
				l.errorf(p.path, "give each its own port", "port %s is taken by %s", p.port, t.path)
			}
		}
		taken = append(taken, p)
	}
	listen := func(path, addr string, loopbackOnly bool, example string) {
		host, port, err := net.SplitHostPort(addr)
		a, notAddr := netip.ParseAddr(host)
		switch {
		case addr == "":
			return
		case err != nil || port != "0" && !isPort(port):
			l.errorf(path, "write "+example, "%s is not an address and a port", quote(addr))
			return
		case host != "" && host != "localhost" && notAddr != nil:
			l.errorf(path, "write "+example, "%s is not an address of this machine", quote(host))
			return
		case loopbackOnly && !isLoopbackHost(host):
			l.errorf(path, "write "+example+"; read it through ssh -L or a local agent", "%s can be reached from other machines", quote(addr))
			return
		}
		switch {
		case notAddr == nil && a.IsUnspecified():
			host = ""
		case isLoopbackHost(host):
			host = "loopback"
		}
		if port != "0" {
			claim(place{path, host, port})
		}
	}
	listen("edge.listen", l.p.Edge.Listen, false, ":443")
	listen("edge.redirect", l.p.Edge.Redirect, false, ":80")
	listen("admin", l.p.Admin, true, "127.0.0.1:9464")
	if at := l.p.Edge.Nginx.Listen; l.p.NginxIsEdge() && !strings.HasPrefix(at, "unix:") {
		listen("edge.nginx.listen", at, true, "127.0.0.1:8001")
	}
	listeners := len(taken) // the same port of two loopback addresses is two places
	for i, up := range l.p.Behind() {
		taken = taken[:listeners]
		up, _ = OverHTTP2(up)
		u, err := url.Parse(up)
		if err != nil || u.Scheme != "http" || !isLoopbackHost(u.Hostname()) {
			continue
		}
		path, port := "upstream", u.Port()
		if port == "" {
			port = "80"
		}
		if l.p.Upstream == "" {
			path = item("upstreams", i)
		}
		claim(place{path, "loopback", port})
	}
}

func (l *loader) identity() {
	id := l.p.Identity
	if id.Issuer != "" {
		u, err := url.Parse(id.Issuer)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(id.Issuer, "#") {
			l.errorf("identity.issuer", "write https:// and a host, perhaps with a path (RFC 8414, section 2)", "%s is not an issuer", quote(id.Issuer))
		}
	}
	if strings.ContainsAny(id.Audience, " \t") {
		l.errorf("identity.audience", "write it as it stands in the tokens", "%s has a blank in it", quote(id.Audience))
	}
	for i, role := range id.DefaultRoles {
		if _, known := id.Roles[role]; !known {
			l.errorf(item("identity.default_roles", i), "name one of identity.roles", "there is no role %s", quote(role))
		}
	}
	l.store()
	l.mail()
}

// store judges the form of the address; whether it can be opened shows at the
// start.
func (l *loader) store() {
	const hint = "write sqlite:ringwall.db or postgres://ringwall@/ringwall"
	kind, rest, _ := strings.Cut(l.p.Store, ":")
	switch kind {
	case "sqlite":
		if rest == "" || strings.ContainsAny(rest, "?#\x00") {
			l.errorf("store", hint, "%s does not name a file", quote(rest))
		}
	case "postgres":
		u, err := url.Parse(l.p.Store)
		switch {
		case err != nil || u.Opaque != "" || strings.Trim(u.Path, "/") == "":
			l.errorf("store", hint, "the address does not name a database")
		case u.User != nil && hasPassword(u):
			e := l.p.Errorf("store", "remove it, make a new one and put it in secrets/store_password or RINGWALL_STORE_PASSWORD",
				"a password is in the address").(*Error)
			if e.Line > 0 {
				e.Source = strings.Repeat(" ", e.Column-1) + redacted
			}
			l.add(e)
		}
	default:
		l.errorf("store", hint, "%s is not a kind of store", quote(kind))
	}
}

func hasPassword(u *url.URL) bool {
	_, has := u.User.Password()
	return has || u.Query().Has("password")
}

func (l *loader) mail() {
	id, m := l.p.Identity, l.p.Identity.Mail
	if m.SMTP != "" {
		if host, port, err := net.SplitHostPort(m.SMTP); err != nil || host == "" || !isDigits(port) {
			l.errorf("identity.mail.smtp", "write a host and a port, such as smtp.example.com:465", "%s is not a host and a port", quote(m.SMTP))
		}
		if m.Folder != "" {
			l.errorf("identity.mail.folder", "keep one of the two", "mails go to a server or to a folder, not both")
		}
	}
	if m.From != "" {
		if a, err := mail.ParseAddress(m.From); err != nil || a.Address != m.From {
			l.errorf("identity.mail.from", "write the address alone, such as accounts@example.com", "%s is not a mail address", quote(m.From))
		}
	}
	if m.Link != "" {
		u, err := url.Parse(m.Link)
		secure := err == nil && (u.Scheme == "https" || u.Scheme == "http" && l.p.dev)
		if !secure || u.Host == "" || u.User != nil || strings.Contains(m.Link, "#") {
			l.errorf("identity.mail.link", "write https://, a host and a path, without a fragment", "%s is not a page that mails can point to", quote(m.Link))
		}
	}
	// serve --dev has a folder for mails.
	if needs := l.p.KeepsAccounts() && (id.VerifyEmail || id.Registration == "invite"); needs && !l.p.dev && m.SMTP == "" && m.Folder == "" {
		l.errorf("identity.registration", "set identity.mail.smtp, or for development identity.mail.folder",
			"accounts need mail, to prove their address or to be invited, and there is no way to send it")
	}
}

// roles judges names and what they grant.
func (l *loader) roles() {
	for _, name := range sortedKeys(reflect.ValueOf(l.p.Identity.Roles)) {
		path := child("identity.roles", name)
		switch {
		case name == "anyone" || name == "signed-in":
			l.errorf(path, "choose another name", "%s is no role: routes use the word for every caller", name)
		case !isName(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-."):
			l.errorf(path, "role names have letters, digits, hyphens, dots and underscores, and begin with a letter; a colon marks a permission",
				"%s is not a role name", quote(name))
		}
		for i, perm := range l.p.Identity.Roles[name] {
			if perm != "*" && !isPermission(strings.TrimSuffix(perm, "*"), strings.HasSuffix(perm, ":*")) {
				l.errorf(item(path, i), "write notes:read, notes:* or *", "%s is not a permission", quote(perm))
			}
		}
	}
}

// isName reports a text of 1 to 64 lower-case letters, digits and more, that
// begins with a letter.
func isName(s, more string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for i, r := range s {
		letter := 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' && strings.ContainsRune(more, r)
		if !letter && (i == 0 || (r < '0' || r > '9') && !strings.ContainsRune(more, r)) {
			return false
		}
	}
	return true
}

// isPermission reports noun:verb, or noun: when the verb is a star cut off.
func isPermission(s string, star bool) bool {
	noun, verb, ok := strings.Cut(s, ":")
	return ok && isName(noun, "_-.") && (star && verb == "" || !star && isName(verb, "_-."))
}

func (l *loader) waivers(now time.Time) {
	seen := map[string]int{}
	for i, w := range l.p.Waivers {
		at := item("waivers", i)
		if first, dup := seen[w.Control]; dup && w.Control != "" {
			l.errorf(at+".control", "keep one", "%s is waived already, by waivers[%d]", w.Control, first)
		}
		seen[w.Control] = i
		ring, noun, ok := strings.Cut(w.Control, "/")
		if w.Control != "" && (!ok || !isName(ring, "-") || !isName(noun, "-")) {
			l.errorf(at+".control", "write the ID as `ringwall check` prints it, such as app/hsts", "%s is not the ID of a control", quote(w.Control))
		}
		if w.Reason != "" {
			letters := strings.Trim(strings.ToLower(w.Reason), " .!?x-_")
			switch {
			case utf8.RuneCountInString(strings.TrimSpace(w.Reason)) < 10:
				l.errorf(at+".reason", "say in 10 characters or more why the control is off", "the reason is too short")
			case strings.HasPrefix(letters, "todo") || strings.HasPrefix(letters, "tbd") || strings.HasPrefix(letters, "fixme") || isFiller(letters):
				l.errorf(at+".reason", "say why the control is off, for whoever reads the report", "%s is not a reason", quote(w.Reason))
			}
		}
		if last := now.UTC().AddDate(0, 0, 366); w.Until.After(last) {
			l.errorf(at+".until", "give a day up to "+last.Format(time.DateOnly)+", and renew it then",
				"%s is more than a year ahead", w.Until.Format(time.DateOnly))
		}
	}
}

// isFiller reports a text of fewer than four different letters.
func isFiller(s string) bool {
	letters := map[rune]bool{}
	for _, r := range s {
		letters[r] = true
	}
	return len(letters) < 4
}
