package outside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

var permissions = Check{
	Meta: check.Meta{
		ID:     "outside/permissions-policy",
		Most:   3,
		Points: 2,
		Title:  "Answers ask for no location, microphone or camera",
		Why:    "Script that gets into a page can use what the visitor once allowed to the site.",
		Ref:    "Permissions Policy, 5 and 9; OWASP API8 2023; blueprint E7, T11",
		Layer:  "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		return t.judge(ctx, "Permissions-Policy: geolocation=(), microphone=(), camera=() on every answer, errors too",
			`in nginx: add_header Permissions-Policy "geolocation=(), microphone=(), camera=()" always; in the server block, and again in each location that has an add_header`,
			func(res *probe.Response) string {
				values := res.Header.Values("Permissions-Policy")
				off := map[string]bool{}
				for d := range strings.SplitSeq(strings.Join(values, ","), ",") {
					name, v, _ := strings.Cut(d, "=")
					v = strings.TrimSpace(v)
					// A later item of a dictionary takes the place of an earlier one (RFC 9651, 3.2).
					off[strings.ToLower(strings.TrimSpace(name))] = v == "()" || v == "(self)" || v == "self"
				}
				for _, name := range []string{"geolocation", "microphone", "camera"} {
					if !off[name] {
						return headerValue("Permissions-Policy", values)
					}
				}
				return ""
			})
	},
}
