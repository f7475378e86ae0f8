package policy

import (
	"net/mail"
	"net/url"
	"slices"
	"strings"
)

// acme judges whom the certificate is asked from, and whether he can issue one.
func (l *loader) acme() {
	const path = "edge.tls.acme"
	t := l.p.Edge.TLS
	a := t.ACME
	if u, err := url.Parse(a.Directory); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Contains(a.Directory, "#") {
		l.errorf(path+".directory", "write an address such as "+LetsEncrypt, "%s is not the https address of an authority", quote(a.Directory))
	}
	if !a.Enabled() {
		for _, k := range []struct {
			key   string
			given bool
		}{{"directory", a.Directory != LetsEncrypt}, {"trust", a.Trust != ""}} {
			if k.given {
				l.errorf(path+"."+k.key, "give "+path+".email too, or remove it", "there is a %s without %s.email, so nobody is asked for a certificate", k.key, path)
			}
		}
		return
	}
	if m, err := mail.ParseAddress(a.Email); err != nil || m.Address != a.Email {
		l.errorf(path+".email", "write the address alone, such as ops@example.com", "%s is not a mail address", quote(a.Email))
	}
	private := a.Directory != LetsEncrypt
	switch {
	case l.p.dev:
		l.errorf(path+".email", "remove it; ringwall serve --dev has a local authority of its own", "no authority is asked for a certificate of this machine")
	case t.Cert != "" || t.Key != "":
		l.errorf(path+".email", "keep one of the two", "the certificate comes from files or from an authority, not both")
	case !private && !isPublicName(l.p.Site):
		l.errorf(path+".email", "name a private authority in "+path+".directory, or give edge.tls.cert and edge.tls.key",
			"a public authority issues nothing for %s, a name that only your own network knows", quote(l.p.Site))
	}
	if a.Trust != "" && !private {
		l.errorf(path+".trust", "remove it; the system's authorities are trusted", "Let's Encrypt is not a private authority")
	}
}

// privateNames are top-level names below which nobody can own a domain: reserved
// (RFC 6761, RFC 6762, RFC 7686, RFC 8375, ICANN's .internal) or in wide private
// use (RFC 6762, appendix G).
var privateNames = []string{"test", "example", "invalid", "localhost", "local", "internal", "onion", "arpa", "lan", "home", "corp", "intranet"}

// isPublicName reports whether an authority of the web could issue for a host:
// it has a domain above it, and not one that is for private use.
func isPublicName(host string) bool {
	i := strings.LastIndexByte(host, '.')
	return i > 0 && !slices.Contains(privateNames, host[i+1:])
}
