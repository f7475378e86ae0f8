package outside

import (
	"context"
	"regexp"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

var disclosure = Check{
	Meta: check.Meta{
		ID:     "outside/disclosure",
		Most:   3,
		Points: 2,
		Title:  "Answers do not tell which software and version made them",
		Why:    "A product and its version tell a scanner which attacks to try.",
		Ref:    "RFC 9110, 10.2.4; OWASP Secure Headers Project; ASVS 5.0 V13.4.6; OWASP API8 2023; blueprint A1, T7",
		Layer:  "edge",
	},
	Verify: func(ctx context.Context, t *Target) check.Finding {
		return t.judge(ctx, "no version in Server, and no X-Powered-By or the like",
			"in nginx: server_tokens off; in Express: app.disable('x-powered-by'), or helmet",
			func(res *probe.Response) string {
				for _, name := range []string{"Server", "Via"} {
					if v := res.Header.Values(name); versionForm.MatchString(strings.Join(v, " ")) && (name == "Server" || strings.Contains(strings.Join(v, " "), "(")) {
						return headerValue(name, v)
					}
				}
				for name, v := range res.Header {
					if lower := strings.ToLower(name); strings.Contains(lower, "powered-by") || strings.Contains(lower, "generator") || strings.HasPrefix(lower, "x-aspnet") || strings.HasSuffix(lower, "-version") && versionForm.MatchString(strings.Join(v, " ")) {
						return headerValue(name, v)
					}
				}
				if m := bodyVersion.Find(res.Body); m != nil {
					return "the page names " + string(m)
				}
				return ""
			})
	},
}

var (
	versionForm = regexp.MustCompile(`[0-9]+\.[0-9]+`)

	// What servers write under their own error pages.
	bodyVersion = regexp.MustCompile(`(?i)\b(nginx|apache|openresty|tomcat|jetty|iis|gunicorn|werkzeug|php|express|lighttpd|caddy)/[0-9]+(\.[0-9]+)+`)
)
