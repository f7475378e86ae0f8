package edge

import (
	"net"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/policy"
)

// Redirect answers every plain HTTP request with 308 to the same path at
// https:// and the site, whatever Host the client sent: nothing of it is
// reflected. 308 keeps the method and the body (RFC 9110, 15.4.9), so that a
// client with a wrong scheme notices nothing but a detour. port is the one of
// the HTTPS listener; it is left out when it is 443.
//
// There is no Strict-Transport-Security: browsers must ignore it over plain
// HTTP (RFC 6797, 7.2).
func Redirect(p *policy.Policy, port string) http.Handler {
	base := "https://" + p.Site
	if port != "" && port != "443" {
		base = "https://" + net.JoinHostPort(p.Site, port)
	}
	static := http.Header{
		"Cache-Control":           {"no-store"},
		"Content-Length":          {"0"},
		"Content-Security-Policy": {p.App.Headers.CSP},
		"Permissions-Policy":      {p.App.Headers.Permissions},
		"Referrer-Policy":         {"strict-origin-when-cross-origin"},
		"X-Content-Type-Options":  {"nosniff"},
		"X-Frame-Options":         {"DENY"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not every request target is a path: of OPTIONS * it is "*", and of
		// GET x:@evil.example it is what would become another host.
		target := r.URL.RequestURI()
		if !strings.HasPrefix(target, "/") {
			target = "/"
		}
		h := w.Header()
		for name, v := range static {
			if v[0] != "" {
				h[name] = v
			}
		}
		h["Location"] = []string{base + target}
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}
