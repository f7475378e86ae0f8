package edge

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// WellKnown serves what strangers look for on every host, by path:
// /.well-known/security.txt (RFC 9116) when the policy has a contact, and
// /robots.txt (RFC 9309), which asks crawlers to stay away, unless edge.robots
// is false. What is not there is left to the API.
func WellKnown(p *policy.Policy, now func() time.Time) map[string]http.Handler {
	open := map[string]http.Handler{}
	if len(p.Edge.SecurityTxt.Contact) > 0 && inForce(p, securityTxt, now()) {
		open[securityTxtPath] = text(func() string { return SecurityTxt(p, now()) })
	}
	if p.Edge.Robots {
		open["/robots.txt"] = text(func() string { return "User-agent: *\nDisallow: /\n" })
	}
	return open
}

// fresh is how long a security.txt without a date of its own holds.
const fresh = 90 * 24 * time.Hour

// SecurityTxt is the site's security.txt. Without edge.security_txt.expires it
// is good for 90 days from today, whenever that is: the server that gives it out
// vouches for it.
func SecurityTxt(p *policy.Policy, now time.Time) string {
	s := p.Edge.SecurityTxt
	last := s.Expires
	if last.IsZero() {
		last = now.UTC().Truncate(24 * time.Hour).Add(fresh)
	}
	var b strings.Builder
	for _, c := range s.Contact {
		b.WriteString("Contact: " + c + "\n")
	}
	b.WriteString("Expires: " + last.Add(24*time.Hour-time.Second).Format(time.RFC3339) + "\n")
	if len(s.Languages) > 0 {
		b.WriteString("Preferred-Languages: " + strings.Join(s.Languages, ", ") + "\n")
	}
	b.WriteString("Canonical: https://" + p.Site + "/.well-known/security.txt\n")
	if s.Policy != "" {
		b.WriteString("Policy: " + s.Policy + "\n")
	}
	return b.String()
}

// text answers GET and HEAD.
func text(body func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		s := body()
		h.Set("Content-Type", "text/plain; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(s)))
		h.Set("Cache-Control", "max-age=3600")
		if r.Method == http.MethodGet {
			_, _ = io.WriteString(w, s) // a client that is gone
		}
	})
}
