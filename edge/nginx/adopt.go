package nginx

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Adopted is a site of nginx as a policy says it.
type Adopted struct {
	Site   string
	Policy string   // YAML
	Left   []string // what no key of a policy says, each with its place and why
}

// Adopt reads the files of one site, and what else of nginx's configuration it
// stands on, such as zones. main is the site's own file; only its directives are
// missed when no key says them. What Ringwall does anyway is not.
func Adopt(main string, files []File) (*Adopted, error) {
	a := &adoption{values: map[string]string{}, zones: map[string]string{}, upstreams: map[string][]string{}}
	found := false
	for _, f := range files {
		ds, err := Parse(f.Name, f.Text)
		if err != nil {
			if f.Name == main {
				return nil, err
			}
			continue
		}
		for _, d := range unwrapped(ds) {
			switch {
			case d.Name == "limit_req_zone":
				a.zone(d)
			case d.Name == "upstream" && len(d.Args) == 1:
				for _, s := range d.Block {
					if s.Name == "server" && len(s.Args) > 0 {
						a.upstreams[d.Args[0]] = append(a.upstreams[d.Args[0]], s.Args[0])
					}
				}
			}
		}
		if f.Name == main {
			found = true
			a.main = unwrapped(ds)
		}
	}
	if !found {
		return nil, fmt.Errorf("nginx does not read %s", main)
	}
	for _, d := range a.main {
		switch {
		case d.Name == "server" && d.IsBlock:
			a.server(d.Block)
		case d.Name == "upstream" || d.Name == "limit_req_zone" || d.Name == "limit_conn_zone":
		default:
			a.left(d, "it is not about this site alone")
		}
	}
	if a.site == "" {
		return nil, fmt.Errorf("%s: no server in it has a name", main)
	}
	return &Adopted{Site: a.site, Policy: a.yaml(), Left: a.missed}, nil
}

func unwrapped(ds []Directive) (out []Directive) {
	for _, d := range ds {
		if d.Name == "http" && d.IsBlock {
			out = append(out, unwrapped(d.Block)...)
		} else {
			out = append(out, d)
		}
	}
	return out
}

type adoption struct {
	main      []Directive
	site      string
	values    map[string]string   // by the policy's path
	trusted   []string            // edge.trusted_proxies
	behind    []string            // upstreams
	zones     map[string]string   // rate by zone
	upstreams map[string][]string // servers by name
	missed    []string
}

func (a *adoption) left(d Directive, why string) {
	line := strings.TrimSpace(d.Name + " " + strings.Join(d.Args, " "))
	if len(line) > 100 {
		line = line[:100] + "..."
	}
	a.missed = append(a.missed, fmt.Sprintf("%s:%d: %s: %s", d.File, d.Line, line, why))
}

// done are directives of which Ringwall, or the configuration that it renders,
// does the same or better.
var done = map[string]bool{
	"ssl_protocols": true, "ssl_ciphers": true, "ssl_prefer_server_ciphers": true, "ssl_ecdh_curve": true, "ssl_dhparam": true, "ssl_session_cache": true,
	"ssl_session_timeout": true, "ssl_session_tickets": true, "ssl_stapling": true, "ssl_stapling_verify": true, "ssl_trusted_certificate": true, "ssl": true, "http2": true,
	"proxy_http_version": true, "proxy_redirect": true, "proxy_buffering": true, "proxy_request_buffering": true, "proxy_cache_bypass": true, "proxy_hide_header": true,
	"proxy_buffers": true, "proxy_buffer_size": true, "proxy_busy_buffers_size": true, "proxy_next_upstream": true,
	"server_tokens": true, "gzip": true, "gzip_types": true, "gzip_vary": true, "gzip_proxied": true, "gzip_comp_level": true, "gzip_min_length": true,
	"access_log": true, "error_log": true, "limit_req_status": true, "limit_conn_status": true, "limit_req_log_level": true, "real_ip_header": true, "real_ip_recursive": true,
	"client_header_timeout": true, "client_body_timeout": true, "keepalive_timeout": true, "send_timeout": true, "large_client_header_buffers": true,
	"client_header_buffer_size": true, "merge_slashes": true, "underscores_in_headers": true, "ignore_invalid_headers": true, "default_type": true, "charset": true,
}

// doneHeaders are response headers that Ringwall sets with a value of its own.
var doneHeaders = []string{"x-frame-options", "x-content-type-options", "referrer-policy", "x-xss-protection", "cross-origin-opener-policy",
	"cross-origin-resource-policy", "x-permitted-cross-domain-policies", "x-download-options", "x-dns-prefetch-control"}

// doneRequestHeaders are what the upstream is told anyway.
var doneRequestHeaders = []string{"host", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port", "upgrade", "connection", "x-request-id", "proxy"}

func (a *adoption) server(ds []Directive) {
	for _, d := range ds {
		if d.Name == "server_name" {
			for _, name := range d.Args {
				switch name = strings.ToLower(name); {
				case name == "_" || name == "":
				case strings.ContainsAny(name, "*~") || strings.HasPrefix(name, "."):
					a.left(d, "a policy is for one name, without patterns")
				case a.site == "" || a.site == name:
					a.site = name
				default:
					a.left(d, "a policy is for one name: "+name+" needs another, or a redirect of yours")
				}
			}
		}
	}
	for _, d := range ds {
		a.directive(d)
	}
}

// directive takes one of a server, or of its location for everything.
func (a *adoption) directive(d Directive) {
	arg := func(i int) string {
		if i < len(d.Args) {
			return d.Args[i]
		}
		return ""
	}
	switch {
	case d.Name == "server_name" || done[d.Name]:
	case d.Name == "listen":
		a.listen(d)
	case d.Name == "ssl_certificate":
		a.set(d, "edge.tls.cert", arg(0))
	case d.Name == "ssl_certificate_key":
		a.set(d, "edge.tls.key", arg(0))
	case d.Name == "client_max_body_size":
		if size, ok := sizeOf(arg(0)); ok {
			a.set(d, "app.body", size)
		} else {
			a.left(d, "a policy always has a cap: app.body")
		}
	case d.Name == "limit_req":
		a.limitReq(d)
	case d.Name == "limit_conn":
		a.set(d, "edge.connections", arg(1))
	case d.Name == "proxy_connect_timeout" || d.Name == "proxy_send_timeout" || d.Name == "proxy_read_timeout":
		key := strings.TrimSuffix(strings.TrimPrefix(d.Name, "proxy_"), "_timeout")
		if t := arg(0); t != "" && strings.Trim(t, "0123456789") == "" {
			a.set(d, "edge.timeouts."+key, t+"s")
		} else {
			a.set(d, "edge.timeouts."+key, t)
		}
	case d.Name == "set_real_ip_from":
		if _, err := netip.ParsePrefix(arg(0)); err != nil {
			if _, err := netip.ParseAddr(arg(0)); err != nil {
				a.left(d, "only addresses can be trusted")
				return
			}
		}
		if !slices.Contains(a.trusted, arg(0)) {
			a.trusted = append(a.trusted, arg(0))
		}
	case d.Name == "add_header":
		a.addHeader(d)
	case d.Name == "proxy_set_header":
		if !slices.Contains(doneRequestHeaders, strings.ToLower(arg(0))) {
			a.left(d, "the API is told whose request it is and who calls, and nothing else of the proxy")
		}
	case d.Name == "proxy_pass":
		a.proxyPass(d)
	case d.Name == "return":
		if target := arg(1) + arg(0); !strings.Contains(target, "https://") {
			a.left(d, "the API answers this, or nobody")
		}
	case d.Name == "location":
		a.location(d)
	case d.Name == "if":
		if len(d.Block) != 1 || d.Block[0].Name != "return" || !strings.Contains(strings.Join(d.Block[0].Args, " "), "https://") {
			a.left(d, "a policy has no conditions")
		}
	case d.Name == "include":
		if !strings.Contains(arg(0), "letsencrypt") && !strings.Contains(arg(0), "proxy_params") && !strings.Contains(arg(0), "snakeoil") {
			a.left(d, "look what is in it")
		}
	default:
		a.left(d, "no key says this")
	}
}

func (a *adoption) set(d Directive, key, value string) {
	if value == "" {
		a.left(d, "it has no value")
		return
	}
	if old, is := a.values[key]; is && old != value {
		a.left(d, key+" is "+old+" already")
		return
	}
	a.values[key] = value
}

func (a *adoption) listen(d Directive) {
	if len(d.Args) == 0 {
		return
	}
	key, usual := "edge.redirect", "80"
	if slices.Contains(d.Args, "ssl") {
		key, usual = "edge.listen", "443"
	}
	if slices.Contains(d.Args, "proxy_protocol") {
		a.values["edge.proxy_protocol"] = "true"
	}
	host, port, err := net.SplitHostPort(d.Args[0])
	switch {
	case strings.HasPrefix(d.Args[0], "unix:"):
		a.left(d, "clients come over TCP")
		return
	case strings.Trim(d.Args[0], "0123456789") == "":
		host, port = "", d.Args[0]
	case err != nil:
		host, port = d.Args[0], usual
	}
	if host == "*" || host == "0.0.0.0" || host == "::" {
		host = ""
	}
	if host != "" || port != usual {
		a.set(d, key, net.JoinHostPort(host, port))
	}
}

func (a *adoption) zone(d Directive) {
	name, rate := "", ""
	for _, arg := range d.Args {
		if v, ok := strings.CutPrefix(arg, "zone="); ok {
			name, _, _ = strings.Cut(v, ":")
		}
		if v, ok := strings.CutPrefix(arg, "rate="); ok {
			rate = v
		}
	}
	a.zones[name] = rate
}

var rateText = regexp.MustCompile(`^(\d+)r/([sm])$`)

func (a *adoption) limitReq(d Directive) {
	rate, burst := "", "0"
	for _, arg := range d.Args {
		if v, ok := strings.CutPrefix(arg, "zone="); ok {
			rate = a.zones[v]
		}
		if v, ok := strings.CutPrefix(arg, "burst="); ok {
			burst = v
		}
	}
	m := rateText.FindStringSubmatch(rate)
	if m == nil {
		a.left(d, "its zone is not known")
		return
	}
	a.set(d, "edge.rate", fmt.Sprintf("{requests: %s, per: 1%s, burst: %s}", m[1], m[2], burst))
}

func (a *adoption) addHeader(d Directive) {
	if len(d.Args) < 2 {
		return
	}
	name, value := strings.ToLower(d.Args[0]), d.Args[1]
	switch {
	case slices.Contains(doneHeaders, name):
	case strings.Contains(value, "$"):
		a.left(d, "a policy has no variables")
	case name == "strict-transport-security":
		for part := range strings.SplitSeq(value, ";") {
			key, v, _ := strings.Cut(strings.ToLower(strings.TrimSpace(part)), "=")
			switch key {
			case "max-age":
				if n, err := strconv.Atoi(strings.Trim(v, `"`)); err == nil && n >= 3600 {
					a.values["app.headers.hsts.max_age"] = strconv.Itoa(n) + "s"
				} else {
					a.left(d, "less than an hour protects nobody")
				}
			case "includesubdomains":
				a.values["app.headers.hsts.subdomains"] = "true"
			case "preload":
				a.values["app.headers.hsts.preload"] = "true"
			}
		}
	case name == "content-security-policy":
		a.set(d, "app.headers.csp", yamlText(value))
	case name == "permissions-policy":
		a.set(d, "app.headers.permissions", yamlText(value))
	case strings.HasPrefix(name, "access-control-"):
		a.left(d, "write the origins in app.cors.origins")
	default:
		a.left(d, "have the API send it")
	}
}

func (a *adoption) proxyPass(d Directive) {
	target := strings.TrimSuffix(strings.Join(d.Args, ""), "/")
	rest, http := strings.CutPrefix(target, "http://")
	var places []string
	switch {
	case !http:
		a.left(d, "the API is on this machine, over http")
		return
	case strings.HasPrefix(rest, "unix:"):
		socket, _, _ := strings.Cut(rest, ":/")
		if socket != "unix" || strings.Count(rest, ":") > 1 {
			a.left(d, "paths reach the API as clients send them")
			return
		}
		places = []string{rest}
	case strings.ContainsAny(rest, "/$"):
		a.left(d, "paths reach the API as clients send them")
		return
	case a.upstreams[rest] != nil:
		for _, s := range a.upstreams[rest] {
			if !strings.HasPrefix(s, "unix:") {
				s = "http://" + s
			}
			places = append(places, s)
		}
	default:
		places = []string{target}
	}
	for _, at := range places {
		if host, ok := strings.CutPrefix(at, "http://"); ok {
			name, _, err := net.SplitHostPort(host)
			if err != nil {
				name = host
			}
			if ip, err := netip.ParseAddr(strings.Trim(name, "[]")); name != "localhost" && (err != nil || !ip.IsLoopback()) {
				a.left(d, "the API is on another machine, where it could be reached around Ringwall")
				return
			}
		}
	}
	if a.behind == nil {
		a.behind = places
	} else if !slices.Equal(a.behind, places) {
		a.left(d, "there is one API behind a policy")
	}
}

func (a *adoption) location(d Directive) {
	path := strings.Join(d.Args, " ")
	if isChallenge(path) {
		return
	}
	refuses := len(d.Block) > 0
	for _, in := range d.Block {
		says := in.Name + " " + strings.Join(in.Args, " ")
		refuses = refuses && (says == "return 444" || says == "return 404" || says == "return 403" || says == "deny all" || in.Name == "access_log" || in.Name == "log_not_found")
	}
	if refuses {
		return // edge/scanners, or the API's own 404
	}
	whole := path == "/"
	for _, in := range d.Block {
		switch {
		case whole || in.Name == "proxy_pass" || in.Name == "proxy_set_header" || done[in.Name]:
			a.directive(in)
		default:
			a.left(in, "it holds for "+path+" alone; app.routes and app.limits have what a policy says of paths")
		}
	}
}

func isChallenge(path string) bool { return strings.Contains(path, ".well-known") }

var sizeText = regexp.MustCompile(`^(\d+)([kKmMgG]?)$`)

func sizeOf(s string) (string, bool) {
	m := sizeText.FindStringSubmatch(s)
	if m == nil || strings.Trim(m[1], "0") == "" {
		return "", false
	}
	return m[1] + map[string]string{"": "B", "k": "KiB", "m": "MiB", "g": "GiB"}[strings.ToLower(m[2])], true
}

// yamlText is a text in YAML's double quotes.
func yamlText(s string) string { return strconv.Quote(s) }

// freeListen is where Ringwall can listen for nginx when the API has the port
// that is usual; "": it has not.
func (a *adoption) freeListen() string {
	const usual = 8001
	for port := usual; ; port++ {
		taken := slices.ContainsFunc(a.behind, func(at string) bool { return strings.HasSuffix(at, ":"+strconv.Itoa(port)) })
		switch {
		case taken:
		case port == usual:
			return ""
		default:
			return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		}
	}
}

// yaml writes the policy.
func (a *adoption) yaml() string {
	var b strings.Builder
	b.WriteString("site: " + a.site + "\n")
	switch len(a.behind) {
	case 0:
		b.WriteString("upstream: http://127.0.0.1:8000 # nothing said where the API is\n")
	case 1:
		b.WriteString("upstream: " + yamlText(a.behind[0]) + "\n")
	default:
		b.WriteString("upstreams:\n")
		for _, at := range a.behind {
			b.WriteString("  - " + yamlText(at) + "\n")
		}
	}
	b.WriteString("edge:\n  engine: nginx\n")
	if cert, key := a.values["edge.tls.cert"], a.values["edge.tls.key"]; cert != "" && key != "" {
		b.WriteString("  tls:\n    cert: " + yamlText(cert) + "\n    key: " + yamlText(key) + "\n")
	}
	line := func(indent, path string, quoted bool) {
		if v := a.values[path]; v != "" {
			if quoted {
				v = yamlText(v)
			}
			b.WriteString(indent + path[strings.LastIndexByte(path, '.')+1:] + ": " + v + "\n")
		}
	}
	under := func(head, indent string, paths ...string) {
		if slices.ContainsFunc(paths, func(p string) bool { return a.values[p] != "" }) {
			b.WriteString(head + "\n")
			for _, p := range paths {
				line(indent, p, false)
			}
		}
	}
	if at := a.freeListen(); at != "" {
		b.WriteString("  nginx: {listen: " + yamlText(at) + "}\n")
	}
	line("  ", "edge.listen", true)
	line("  ", "edge.redirect", true)
	line("  ", "edge.proxy_protocol", false)
	if len(a.trusted) > 0 {
		b.WriteString("  trusted_proxies:\n")
		for _, t := range a.trusted {
			b.WriteString("    - " + yamlText(t) + "\n")
		}
	}
	line("  ", "edge.rate", false)
	line("  ", "edge.connections", false)
	under("  timeouts:", "    ", "edge.timeouts.connect", "edge.timeouts.send", "edge.timeouts.read")
	headers := []string{"app.headers.csp", "app.headers.permissions", "app.headers.hsts.max_age", "app.headers.hsts.subdomains", "app.headers.hsts.preload"}
	if a.values["app.body"] != "" || slices.ContainsFunc(headers, func(p string) bool { return a.values[p] != "" }) {
		b.WriteString("app:\n")
		line("  ", "app.body", false)
		if slices.ContainsFunc(headers, func(p string) bool { return a.values[p] != "" }) {
			b.WriteString("  headers:\n")
			line("    ", headers[0], false)
			line("    ", headers[1], false)
			under("    hsts:", "      ", headers[2:]...)
		}
	}
	return b.String()
}
