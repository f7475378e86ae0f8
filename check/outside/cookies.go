package outside

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
)

// cookies judges those of ordinary answers. There may be none before a sign-in:
// then nothing was seen.
var cookies = Check{
	Meta: check.Meta{
		ID:     "outside/cookies",
		Most:   3,
		Points: 2,
		Title:  "Cookies are sent over HTTPS only, and neither to scripts nor to other sites",
		Why:    "A session cookie that a script can read, or that other sites can have sent, is somebody else's session.",
		Ref:    "RFC 6265bis, 4.1 and 5.7; ASVS 5.0 V3.3.1, V3.3.2, V3.3.4; OWASP API2 2023; CWE-614, CWE-1004; blueprint A10, T6, T10",
		Layer:  "app",
	},
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "Secure, HttpOnly, SameSite=Lax or Strict, and a name that begins with __Host-"
		samples, evidence, err := t.ask(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		seen := 0
		for _, s := range samples {
			for _, line := range s.res.Header.Values("Set-Cookie") {
				seen++
				c, err := http.ParseSetCookie(line)
				if err != nil {
					continue // no browser takes it
				}
				if what := laxCookie(c); what != "" {
					f := check.Shown(fmt.Sprintf("the cookie %.40s is %s (%s)", c.Name, what, s.asked), want,
						"in Express: res.cookie('__Host-session', v, {secure: true, httpOnly: true, sameSite: 'strict', path: '/'})")
					f.Evidence = evidence
					return f
				}
			}
		}
		if seen == 0 {
			return check.Moot("%d answers set no cookie: look at the answer of a sign-in", len(samples))
		}
		f := check.Passed("%d cookies, each with Secure, HttpOnly and SameSite", seen)
		f.Evidence = evidence
		return f
	},
}

func laxCookie(c *http.Cookie) string {
	lower := strings.ToLower(c.Name)
	if strings.Contains(lower, "csrf") || strings.Contains(lower, "xsrf") {
		if !c.Secure {
			return "sent over plain HTTP, too"
		}
		return "" // scripts must read it: that is what it is for
	}
	switch {
	case !c.Secure:
		return "sent over plain HTTP, too (no Secure)"
	case !c.HttpOnly:
		return "told to scripts (no HttpOnly)"
	case c.SameSite == http.SameSiteNoneMode, c.SameSite == 0, c.SameSite == http.SameSiteDefaultMode:
		return "left to the browser whether other sites may have it sent (no SameSite)"
	case strings.HasPrefix(c.Name, "__Host-") && (c.Domain != "" || c.Path != "/"):
		return "refused by browsers: __Host- asks for Path=/ and no Domain"
	}
	return ""
}
