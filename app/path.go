package app

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// canonicalPath gives each request one canonical path, which routes, limits and the
// upstream all see, and refuses what two programs could read in two ways.
var canonicalPath = Control{
	Meta: check.Meta{
		ID:    "app/path",
		Title: "Every path has one reading, and ambiguous ones are refused",
		Why:   "A path that the proxy and the API read differently walks around every rule (/public/..;/admin).",
		Ref:   "RFC 3986, 6.2.2; blueprint A4, E6",
	},
	Fixed: true,
	Wrap: func(_ *policy.Policy, deps Deps) (Middleware, error) {
		return func(next Handler) Handler {
			return func(x *Exchange) {
				canonical, err := CanonicalPath(x.R.URL)
				if err != nil {
					status := http.StatusBadRequest
					if errors.Is(err, errPathTooLong) {
						status = http.StatusRequestURITooLong
					}
					x.Deny(Denied{Control: "app/path", Kind: audit.ProtocolRefused, Status: status,
						Detail: "The path is not in canonical form.", Err: err})
					return
				}
				route, classes, ambiguous := x.ring.routes.match(x.R.Method, canonical)
				if ambiguous {
					x.Deny(Denied{Control: "app/path", Kind: audit.ProtocolRefused, Status: http.StatusNotFound,
						Detail: "Nothing is here. Paths are case-sensitive.", Err: errors.New("letter case of the path would change its rules")})
					return
				}
				x.Path, x.Route, x.classes = canonical, route, classes
				if x.R.URL.Path != canonical || x.R.URL.RawPath != "" {
					u := *x.R.URL
					u.Path, u.RawPath = canonical, ""
					x.R.URL = &u
				}
				if h := deps.Open[canonical]; h != nil {
					h.ServeHTTP(x.W, x.R)
					return
				}
				next(x)
			}
		}, nil
	},
	Value: func(_ *policy.Policy, r *Route) string {
		if r.Pattern == "" {
			return "no route matched"
		}
		return "matched " + r.Pattern
	},
	Verify: verifyPath,
}

// MaxPath is the longest path that is served, in bytes before decoding.
const MaxPath = 4096

var errPathTooLong = errors.New("the path is longer than 4096 bytes")

// CanonicalPath returns the one reading of a request target's path: decoded,
// starting with a slash. It refuses what programs read in different ways: empty
// and dot segments, encoded slashes, backslashes, semicolons, question marks,
// number signs, percent signs and control characters, and invalid UTF-8. It
// does not allocate for a path without escapes.
func CanonicalPath(u *url.URL) (string, error) {
	raw := u.RawPath
	if raw == "" {
		raw = u.Path // already what a default encoding decodes to
		if err := checkSegments(raw); err != nil {
			return "", err
		}
		return raw, nil
	}
	if len(raw) > MaxPath {
		return "", errPathTooLong
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return "", errors.New("a percent escape is broken")
	}
	if err := checkSegments(decoded); err != nil {
		return "", err
	}
	if strings.Count(decoded, "/") != strings.Count(raw, "/") {
		return "", errors.New("a slash is percent-encoded")
	}
	return decoded, nil
}

// checkSegments judges a decoded path.
func checkSegments(p string) error {
	if len(p) > MaxPath {
		return errPathTooLong
	}
	if p == "" || p[0] != '/' {
		return errors.New("the path does not start with a slash")
	}
	ascii := true
	start := 1 // of the current segment
	for i := 1; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			switch c := p[i]; {
			case c < ' ' || c == 0x7f:
				return errors.New("a control character is in the path")
			case c == '\\' || c == ';' || c == '?' || c == '#' || c == '%':
				return errors.New("the character " + string(rune(c)) + " is in the path")
			case c >= 0x80:
				ascii = false
			}
			continue
		}
		switch p[start:i] {
		case ".", "..":
			return errors.New("a dot segment is in the path")
		case "":
			if i < len(p) {
				return errors.New("an empty segment is in the path")
			}
		}
		start = i + 1
	}
	if !ascii && !utf8.ValidString(p) {
		return errors.New("the path is not UTF-8")
	}
	return nil
}

// verifyPath sends targets byte for byte: no client library may tidy them.
func verifyPath(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	fix := "put the app ring in front of the API, or refuse such paths in the proxy"
	ok, err := c.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to GET /: %v", err)
	}
	if ok.Status == http.StatusBadRequest {
		return check.Unseen("GET / itself is answered 400, so a refusal proves nothing")
	}
	for _, target := range []string{
		"//", "/./", "/../", "/a/..;/", "/a/%2e%2e/", "/a%2fb", "/a%5cb", "/a\\b", "/a%00", "/a;b", "/%ff", "/a%252fb",
	} {
		res, err := c.Do(ctx, probe.Request{Target: target})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		if res.Status != http.StatusBadRequest {
			return check.Failed("GET "+target+" was answered "+res.Line(), "400", fix)
		}
	}
	return check.Passed("12 ambiguous paths were answered 400, GET / was answered %d", ok.Status)
}
