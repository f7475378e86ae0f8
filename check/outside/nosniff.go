package outside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

var nosniff = Check{
	Meta: check.Meta{
		ID:     "outside/nosniff",
		Most:   3,
		Points: 2,
		Title:  "Browsers do not guess content types",
		Why:    "JSON that holds a visitor's markup can be taken for a page and run as one.",
		Ref:    "Fetch standard, 3.6 (X-Content-Type-Options); ASVS 5.0 V3.4.4; OWASP API8 2023; blueprint A1, E7, T11",
		Layer:  "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		return t.judge(ctx, "X-Content-Type-Options: nosniff on every answer, errors too",
			"in nginx: add_header X-Content-Type-Options nosniff always; in the server block, and again in each location that has an add_header",
			func(res *probe.Response) string {
				values := res.Header.Values("X-Content-Type-Options")
				first, _, _ := strings.Cut(strings.Join(values, ","), ",") // the first value decides
				if !strings.EqualFold(strings.TrimSpace(first), "nosniff") {
					return headerValue("X-Content-Type-Options", values)
				}
				return ""
			})
	},
}
