package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// canonicalPath gives each request one canonical path, which routes, limits and
// the upstream all see, and refuses what two programs could read in two ways
// with 400, or 414 when it is too long. A path that would meet other rules in
// another letter case, or in another spelling of the same characters in Unicode,
// is answered 404: an upstream that does not tell these apart would serve it. A
// number sign in the query is refused, too: some programs, Node's among them, end
// the query there. After this control the request has no second view of its target:
// URL and RequestURI are both in origin-form, encoded as net/url does, without a
// byte outside of ASCII, which some read as Latin-1.
var canonicalPath = Control{
	Meta: check.Meta{
		ID:     "app/path",
		Most:   16,
		Points: 46,
		Title:  "Every path has one reading, and ambiguous ones are refused",
		Why:    "A path that the proxy and the API read differently walks around every rule (/public/..;/admin).",
		Ref:    "RFC 3986, 6.2.2; ASVS 5.0 V1.1.1; OWASP API8 2023; blueprint A4, E6, T7",
	},
	Fixed: true,
	Wrap: func(_ *policy.Policy, deps Deps) (Middleware, error) {
		return func(next Handler) Handler {
			return func(x *Exchange) {
				canonical, err := CanonicalPath(x.R.URL)
				query := x.R.URL.RawQuery
				if err == nil {
					query, err = canonicalQuery(query)
				}
				if err == nil && x.R.ProtoMajor > 1 && x.R.URL.Scheme != "" {
					err = errAbsolute
				}
				if err != nil {
					status, detail := http.StatusBadRequest, "The path is not in canonical form."
					switch {
					case errors.Is(err, errPathTooLong):
						status = http.StatusRequestURITooLong
					case errors.Is(err, errFragment):
						detail = "The target has a number sign; in a query it is %23."
					}
					x.Deny(Denied{Control: "app/path", Kind: audit.ProtocolRefused, Status: status, Detail: detail, Err: err})
					return
				}
				route, classes, ambiguous := x.ring.routes.match(x.R.Method, canonical)
				if ambiguous {
					x.Deny(Denied{Control: "app/path", Kind: audit.ProtocolRefused, Status: http.StatusNotFound,
						Detail: "Nothing is here. Paths are case-sensitive.", Err: errors.New("letter case, or another spelling in Unicode, of the path would change its rules")})
					return
				}
				x.Path, x.Route, x.classes = canonical, route, classes
				if u := x.R.URL; u.Path != canonical || u.RawPath != "" || u.Scheme != "" || u.Host != "" || u.RawQuery != query {
					x.R.URL = &url.URL{Path: canonical, RawQuery: query, ForceQuery: u.ForceQuery}
					x.R.RequestURI = x.R.URL.RequestURI()
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

// MaxPath is the longest path that is served, in bytes, decoded; its escaped
// form may be three times as long.
const MaxPath = 4096

var (
	errPathTooLong = errors.New("the path is longer than 4096 bytes")

	// The host is another header's to say (RFC 9113, 8.3.1), and would be read there.
	errAbsolute = errors.New("the path of an HTTP/2 request is an absolute target")

	errFragment = errors.New("the target has a fragment") // RFC 9112, 3.2 has none
)

// canonicalQuery is the query in ASCII. It allocates for no other.
func canonicalQuery(q string) (string, error) {
	wide := 0
	for i := range len(q) {
		switch c := q[i]; {
		case c == '#':
			return "", errFragment
		case c >= utf8.RuneSelf:
			wide++
		}
	}
	if wide == 0 {
		return q, nil
	}
	b := make([]byte, 0, len(q)+2*wide)
	for i := range len(q) {
		if c := q[i]; c >= utf8.RuneSelf {
			b = fmt.Appendf(b, "%%%02X", c)
		} else {
			b = append(b, c)
		}
	}
	return string(b), nil
}

// CanonicalPath returns the one reading of a request target's path: decoded,
// starting with a slash. It refuses what programs read in different ways: empty
// and dot segments, encoded slashes, backslashes, semicolons, question marks,
// number signs, percent signs and control characters, and invalid UTF-8. It
// refuses "*" too, and absolute targets with a scheme other than http and https,
// without a host, or with a user name. An absolute target without a path has the path / (RFC
// 3986, 6.2.3). It does not allocate for a path without escapes.
func CanonicalPath(u *url.URL) (string, error) {
	if u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
		return "", errors.New("the target's scheme is not http or https")
	}
	if u.Scheme != "" && u.Host == "" { // RFC 9110, 4.2.1
		return "", errors.New("the target is absolute without a host")
	}
	if u.User != nil { // RFC 9110, 4.2.4
		return "", errors.New("the target has a user name")
	}
	if u.Path == "" && u.RawPath == "" && u.Host != "" {
		return "/", nil
	}
	if len(u.Path) > MaxPath || len(u.RawPath) > 3*MaxPath {
		return "", errPathTooLong
	}
	if err := checkSegments(u.Path); err != nil {
		return "", err
	}
	if u.RawPath == "" { // the target was what a default encoding of Path gives
		return u.Path, nil
	}
	decoded, err := url.PathUnescape(u.RawPath)
	if err != nil || decoded != u.Path {
		return "", errors.New("the path and its escaped form differ")
	}
	if strings.Count(decoded, "/") != strings.Count(u.RawPath, "/") {
		return "", errors.New("a slash is percent-encoded")
	}
	return decoded, nil
}

// checkSegments judges a decoded path.
func checkSegments(p string) error {
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
	if ascii {
		return nil
	}
	if !utf8.ValidString(p) {
		return errors.New("the path is not UTF-8")
	}
	if strings.ContainsFunc(p, unicode.IsControl) { // U+0080 to U+009F
		return errors.New("a control character is in the path")
	}
	for seg := range strings.SplitSeq(p, "/") {
		if len(seg) > len("\uff0e\uff0e") {
			continue
		}
		if s := norm.NFKC.String(seg); s == "." || s == ".." { // dots of full width, two in one character
			return errors.New("a dot segment is in the path, in other characters")
		}
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
	ambiguous := []string{"//", "/./", "/a/../", "/a%2fb", "/a%5cb", "/a\\b", "/a%00", "/a;b", "/%ff", "/a%252fb", "/?a#b"}
	// Two dots in a disguise are a scanner's: an edge may hang up on them.
	disguised := []string{"/a/..;/", "/a/%2e%2e/"}
	if !c.Loopback() {
		disguised = disguised[:1] // each brings this address nearer to a ban
	}
	for i, target := range slices.Concat(ambiguous, disguised) {
		res, err := c.Do(ctx, probe.Request{Target: target})
		if i >= len(ambiguous) && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)) {
			continue
		}
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		if res.Status != http.StatusBadRequest {
			return check.Failed("GET "+target+" was answered "+res.Line(), "400", fix)
		}
	}
	got := fmt.Sprintf("%d ambiguous targets were refused, GET / was answered %d", len(ambiguous)+len(disguised), ok.Status)
	if target := otherCase(p); target != "" {
		res, err := c.Do(ctx, probe.Request{Target: target})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		if res.Status != http.StatusNotFound {
			return check.Failed("GET "+target+" was answered "+res.Line(), "404: its rules depend on letter case", fix)
		}
		got += ", " + target + " 404"
	}
	return check.Passed("%s", got)
}

// otherCase is a path whose rules would change with letter case, or "".
func otherCase(p *policy.Policy) string {
	rs, err := compileRoutes(p)
	if err != nil {
		return ""
	}
	for _, r := range p.App.Routes {
		target := strings.ToUpper(r.Path)
		if strings.Contains(target, "{") || strings.ContainsFunc(target, func(c rune) bool { return c > '~' }) {
			continue
		}
		if _, _, ambiguous := rs.match(http.MethodGet, target); ambiguous {
			return target
		}
	}
	return ""
}
