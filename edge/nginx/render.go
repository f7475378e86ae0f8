package nginx

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

// Options are what a text depends on besides the policy.
type Options struct {
	Version Version

	// Headers gives those that every answer has, over HTTPS or over plain HTTP;
	// nil: none.
	Headers func(p *policy.Policy, secure bool) map[string]string

	// Documented are the paths of the API's OpenAPI document, such as
	// /files/{name}. What it describes is not taken for a scanner's.
	Documented []string

	// WithoutTLS leaves port 443 out, until there is a certificate: certbot
	// needs port 80 to get one.
	WithoutTLS bool

	// WithoutIPv6 listens on IPv4 alone where the policy names no address.
	WithoutIPv6 bool

	// Now dates the waivers; nil: time.Now.
	Now func() time.Time
}

// Render writes the policy as a file for nginx's http block. It reads and writes
// nothing. An error names a key of the policy, or what a version cannot do.
func Render(p *policy.Policy, o Options) (string, error) {
	ds, err := Directives(p, o)
	if err != nil {
		return "", err
	}
	return Print(ds), nil
}

// Directives is Render before it is printed.
func Directives(p *policy.Policy, o Options) ([]Directive, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &rendering{Policy: p, Options: o, facts: edge.Known()}
	if err := r.judge(); err != nil {
		return nil, err
	}
	r.secure, r.plain = r.headers(true), r.headers(false)
	ds := []Directive{{Comment: strings.Join([]string{
		"Written by ringwall nginx from the policy of " + p.Site + " for nginx " + o.Version.String() + ".",
		"Do not change it here: change the policy, then type ringwall nginx install.",
		"ringwall nginx diff shows what differs.",
	}, "\n")}}
	ds = append(ds, r.http()...)
	if !o.WithoutTLS {
		ds = append(ds, r.stranger(), r.site())
	}
	if p.Edge.Redirect != "" {
		ds = append(ds, r.plainStranger(), r.plainSite())
	}
	return ds, nil
}

// rendering is one text being made.
type rendering struct {
	*policy.Policy
	Options
	facts         edge.Facts
	secure, plain []Directive // add_header, for answers over HTTPS and over HTTP
}

// Judge refuses a policy that no nginx can be set up from. It reads nothing.
func Judge(p *policy.Policy) error { return (&rendering{Policy: p}).judge() }

// judge refuses what cannot be written.
func (r *rendering) judge() error {
	p := r.Policy
	if !p.NginxIsEdge() {
		return p.Errorf("edge.engine", "write engine: nginx under edge", "the policy's edge is %s, not nginx", p.Edge.Engine)
	}
	if strings.ContainsFunc(p.Site, func(c rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789.-", c) }) {
		return p.Errorf("site", "write a host name in lower case", "%.60q cannot be nginx's server_name", p.Site)
	}
	for _, f := range [][2]string{{"edge.nginx.conf", p.Edge.Nginx.Conf}, {"edge.nginx.folder", p.Edge.Nginx.Folder}, {"edge.nginx.state", p.Edge.Nginx.State},
		{"edge.nginx.webroot", p.Edge.Nginx.Webroot}, {"edge.nginx.log", p.Edge.Nginx.Log}, {"edge.tls.cert", r.File(p.Edge.TLS.Cert)}, {"edge.tls.key", r.File(p.Edge.TLS.Key)}} {
		// A variable in it would be one of the client's, and nginx would read it
		// at each handshake, as whom its workers run.
		if strings.ContainsFunc(f[1], func(c rune) bool { return c < ' ' || c == 0x7f || c == '$' }) {
			return p.Errorf(f[0], "move the file", "nginx would take %.100q for more than a path", f[1])
		}
	}
	for _, f := range [][2]string{{"edge.tls.cert", p.Edge.TLS.Cert}, {"edge.tls.key", p.Edge.TLS.Key}} {
		if f[1] != "" && !filepath.IsAbs(r.File(f[1])) {
			return p.Errorf(f[0], "write an absolute path", "nginx looks for %.100q elsewhere: it is relative", f[1])
		}
	}
	if !r.WithoutTLS && p.Edge.TLS.Cert == "" && !p.Edge.TLS.ACME.Enabled() {
		return p.Errorf("edge.tls", "name what certbot keeps, tls: {cert: /etc/letsencrypt/live/"+p.Site+"/fullchain.pem, key: /etc/letsencrypt/live/"+p.Site+"/privkey.pem}, "+
			"or have Ringwall ask, tls: {acme: {email: you@example.com}}", "there is no certificate, and nothing is served without")
	}
	if _, _, ok := p.Edge.Rate.PerMinute(); !ok {
		return p.Errorf("edge.rate", "write requests in 1s or 1m, such as 10 in 1s", "nginx counts whole requests in a second or in a minute")
	}
	return nil
}

func (r *rendering) enforced(control string) bool { return edge.Enforced(r.Policy, control, r.Now()) }

// headers are the add_header lines of every answer. A location with one of its
// own inherits none, so each location has all of them.
func (r *rendering) headers(secure bool) []Directive {
	if r.Headers == nil {
		return nil
	}
	all := r.Headers(r.Policy, secure)
	var ds []Directive
	for _, name := range sorted(all) {
		if all[name] != "" {
			ds = append(ds, d("add_header", name, literal(all[name]), "always"))
		}
	}
	return ds
}

// Certificate is where nginx finds the site's certificate and key. With
// edge.tls.acme both are in one file, so that no crash leaves one without the other.
func Certificate(p *policy.Policy) (cert, key string) {
	if p.Edge.TLS.ACME.Enabled() {
		pair := filepath.Join(p.Edge.Nginx.State, pairFile)
		return pair, pair
	}
	return p.File(p.Edge.TLS.Cert), p.File(p.Edge.TLS.Key)
}

// seconds writes a duration as nginx reads it.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return fmt.Sprintf("%dms", d/time.Millisecond)
}
