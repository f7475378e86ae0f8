package outside

import (
	"context"
	"fmt"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// leastHSTS is half a year, in seconds: what browsers' own list of sites asked
// for at first, and graders take as enough.
const leastHSTS = 15768000

var hsts = Check{
	Meta: check.Meta{
		ID:     "outside/hsts",
		Most:   3,
		Points: 2,
		Title:  "Browsers are told to use HTTPS only",
		Why:    "Without it the first request of each visit may go over plain HTTP, where somebody on the way answers in the API's place.",
		Ref:    "RFC 6797, 6.1 and 8.1; ASVS 5.0 V3.4.1; OWASP API8 2023; blueprint A1, E2, T6, checklist 1",
		Layer:  "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		if t.Client.Base().Scheme != "https" {
			return check.Unseen("browsers heed it over HTTPS only, and the URL is http://")
		}
		return t.judge(ctx, fmt.Sprintf("Strict-Transport-Security: max-age=31536000, at least %d, on errors too", leastHSTS),
			`in nginx: add_header Strict-Transport-Security "max-age=31536000" always; in the server block, and again in each location that has an add_header`,
			func(res *probe.Response) string {
				values := res.Header.Values("Strict-Transport-Security")
				switch h, err := probe.ParseHSTS(values); {
				case err != nil && len(values) > 0:
					return fmt.Sprintf("%s, which browsers void: %v", headerValue("Strict-Transport-Security", values), err)
				case err != nil || h.MaxAge < leastHSTS:
					return headerValue("Strict-Transport-Security", values)
				}
				return ""
			})
	},
}
