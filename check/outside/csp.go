package outside

import (
	"context"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

var contentPolicy = Check{
	Meta: check.Meta{
		ID:     "outside/csp",
		Most:   3,
		Points: 2,
		Title:  "What is served as a page runs no script of strangers",
		Why:    "Markup that gets into a page, an error page too, runs as its own script and takes its visitors' tokens (XSS).",
		Ref:    "CSP Level 3; ASVS 5.0 V3.4.3; OWASP API8 2023; blueprint A1, T11",
		Layer:  "app",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		return t.judge(ctx, "answers of data alone, or a Content-Security-Policy without 'unsafe-inline' and * for scripts",
			"answer JSON alone, errors too; for pages: Content-Security-Policy: default-src 'self'; object-src 'none'; base-uri 'none'",
			func(res *probe.Response) string {
				media, _, _ := strings.Cut(strings.ToLower(res.Header.Get("Content-Type")), ";")
				if media = strings.TrimSpace(media); media != "text/html" && media != "application/xhtml+xml" && media != "image/svg+xml" {
					return ""
				}
				if staticError(res) {
					return ""
				}
				all := policies(res.Header)
				if len(all) == 0 {
					return media + " without Content-Security-Policy"
				}
				what := ""
				for _, p := range all { // all of them are enforced: one that is strict is enough
					if what = laxScript(p); what == "" {
						return ""
					}
				}
				return "Content-Security-Policy " + what
			})
	},
}

// staticError reports whether a proxy wrote the page from fixed text, such as
// nginx's 404: nothing of a visitor's is in it.
func staticError(res *probe.Response) bool {
	body := string(res.Body)
	return res.Status >= 300 && len(body) < 1000 && !strings.Contains(body, "ringwall-check") &&
		(strings.Contains(body, "<hr><center>") || len(strings.TrimSpace(body)) == 0)
}

func laxScript(p map[string][]string) string {
	src, ok := p["script-src"]
	if !ok {
		if src, ok = p["default-src"]; !ok {
			return "says nothing of scripts"
		}
	}
	bound := false // by a nonce or a hash, which make browsers ignore 'unsafe-inline'
	for _, s := range src {
		bound = bound || strings.HasPrefix(s, "'nonce-") || strings.HasPrefix(s, "'sha")
	}
	for _, s := range src {
		switch s = strings.ToLower(s); {
		case s == "'unsafe-inline'" && !bound, s == "*", s == "data:", s == "http:", s == "https:" && !bound:
			return "allows scripts from " + s
		}
	}
	return ""
}
