package outside

import (
	"context"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

var frames = Check{
	Meta: check.Meta{
		ID:     "outside/frames",
		Most:   3,
		Points: 2,
		Title:  "Other sites cannot frame the answers",
		Why:    "A page that frames this one can make a visitor click on what it hides (clickjacking).",
		Ref:    "HTML standard, 7.4.5 (X-Frame-Options); CSP Level 3, 6.4.2; ASVS 5.0 V3.4.6; OWASP API8 2023; blueprint A1, E7, T11",
		Layer:  "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		return t.judge(ctx, "X-Frame-Options: DENY, or frame-ancestors 'none' in Content-Security-Policy, errors too",
			"in nginx: add_header X-Frame-Options DENY always; in the server block, and again in each location that has an add_header",
			func(res *probe.Response) string {
				// frame-ancestors counts in the place of X-Frame-Options where both are.
				for _, policy := range policies(res.Header) {
					if who, ok := policy["frame-ancestors"]; ok {
						for _, w := range who {
							if w == "*" || w == "http:" || w == "https:" {
								return "frame-ancestors lets " + w + " in"
							}
						}
						return ""
					}
				}
				values := res.Header.Values("X-Frame-Options")
				kinds := map[string]bool{}
				for v := range strings.SplitSeq(strings.Join(values, ","), ",") {
					kinds[strings.ToUpper(strings.TrimSpace(v))] = true
				}
				if len(kinds) != 1 || !kinds["DENY"] && !kinds["SAMEORIGIN"] {
					return headerValue("X-Frame-Options", values)
				}
				return ""
			})
	},
}

// policies are the Content-Security-Policies that are enforced, by directive. Of
// one that stands twice the first counts (CSP Level 3, 2.2.1).
func policies(h http.Header) (out []map[string][]string) {
	for p := range strings.SplitSeq(strings.Join(h.Values("Content-Security-Policy"), ","), ",") {
		d := map[string][]string{}
		for one := range strings.SplitSeq(p, ";") {
			words := strings.Fields(one)
			if len(words) == 0 {
				continue
			}
			if name := strings.ToLower(words[0]); d[name] == nil {
				d[name] = append([]string{}, words[1:]...)
			}
		}
		if len(d) > 0 {
			out = append(out, d)
		}
	}
	return out
}
