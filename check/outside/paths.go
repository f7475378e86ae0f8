package outside

import (
	"context"
	"regexp"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// paths writes one path in many ways: out of the root of files, and around what
// guards a path.
var paths = Check{
	Meta: check.Meta{
		ID:     "outside/paths",
		Most:   35,
		Points: 120,
		Title:  "No spelling of a path walks around what guards it",
		Why:    "A path that the proxy and the API read differently passes by every rule, as /public/..;/admin does.",
		Ref:    "RFC 3986, 6.2.2; ASVS 5.0 V1.1.1; OWASP API5 2023; CWE-22, CWE-436; blueprint A4, E6, T7, T8",
		Layer:  "edge",

		Spends: true,
	},
	Manner: Active,
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const fix = "refuse encoded slashes, dot segments and ; in paths at the proxy, and match one canonical path everywhere"
		tried, closed := 0, 0
		for _, target := range []string{
			"/static../etc/passwd", "//etc/passwd", "/../../../../etc/passwd", "/..%2f..%2f..%2f..%2fetc%2fpasswd", "/static/..%5c..%5c..%5cetc%5cpasswd",
		} {
			res, err := t.Client.Do(ctx, probe.Request{Target: target})
			if err != nil {
				if ctx.Err() != nil {
					return unanswered("GET "+target, err)
				}
				if closed++; closed == 2 {
					break // each earns points towards a ban where such paths are not answered
				}
				continue
			}
			tried++
			if passwd.Match(res.Body) {
				return check.Failed("GET "+target+" is answered with the server's /etc/passwd", "a refusal", fix)
			}
		}
		own, _ := t.Client.Fresh()
		t = t.Through(own)
		g, _, err := t.guarded(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		if g == nil || g.path == "/" {
			if closed > 0 {
				if _, err := t.Client.Do(ctx, probe.Request{Target: t.base()}); err != nil {
					return unanswered("GET "+t.base(), err)
				}
			}
			return check.Passed("%d ways out of the root led to no file; no guarded path was found to walk around", tried+closed)
		}
		p := strings.SplitN(g.path, "?", 2)[0]
		dir, last := p[:strings.LastIndexByte(p, '/')+1], p[strings.LastIndexByte(p, '/')+1:]
		spellings := []string{
			"/" + p, dir + "./" + last, dir + "x/../" + last, dir + "x/..;/" + last, p + "/", p + "//", p + "/.", p + "%2f", p + ";", p + ";a=b", p + "%20", p + "%00", p + ".json", p + "?x=/public",
			dir + strings.ToUpper(last), dir + percent(last[:1]) + last[1:], "/%2e" + p, strings.ReplaceAll(p, "/", "%2f"), "/" + strings.ReplaceAll(p[1:], "/", "//"), "/" + strings.ReplaceAll(p[1:], "/", "\\"),
		}
		for _, target := range spellings {
			res, err := t.Client.Do(ctx, probe.Request{Target: target})
			if err == nil && res.Status < 300 {
				// Another page may be open by right: what guards must not be open in
				// another spelling.
				return check.Failed("GET "+p+" is answered "+g.statusLine()+", GET "+target+" "+res.Line(), g.statusLine()+", or a refusal", fix)
			}
		}
		return check.Passed("%d ways out of the root led to no file, and %d spellings of %s, which is guarded, were refused", tried+closed, len(spellings), p)
	},
}

var passwd = regexp.MustCompile(`root:[^:\n]*:0:0:`)

func percent(s string) string {
	const hex = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.Write([]byte{'%', hex[s[i]>>4], hex[s[i]&15]})
	}
	return b.String()
}
