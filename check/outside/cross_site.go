package outside

import (
	"context"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// crossSite posts as a form of another site's would, with a cookie that means
// nothing. Without cookies there is nothing that a browser adds by itself, and
// nothing to forge.
var crossSite = Check{
	Meta: check.Meta{
		ID:     "outside/cross-site",
		Most:   15,
		Points: 16,
		Title:  "Forms of other sites cannot act in a visitor's name",
		Why:    "A browser adds cookies to what another site has it send: without a check that is the visitor's own act (CSRF).",
		Ref:    "Fetch Metadata; RFC 6265bis, 8.8; ASVS 5.0 V3.5.1, V3.5.2; CWE-352; blueprint A2, T10",
		Layer:  "app",
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const fix = "refuse posts whose Sec-Fetch-Site is not same-origin or none, or whose Origin is another; set cookies with SameSite"
		e, _, err := t.signIn(ctx)
		if err != nil {
			return check.Unseen("%v", err)
		}
		if e == nil {
			return check.Unseen("no path was found that takes a post")
		}
		post := func(media string, headers ...[2]string) (*probe.Response, error) {
			req := loginRequest(e.path)
			req.Headers = append([][2]string{{"Content-Type", media}, {"Cookie", "session=ringwall-check"}}, headers...)
			return t.Client.Do(ctx, req)
		}
		own, err := post("application/json", [2]string{"Origin", t.Client.Base().Scheme + "://" + t.Client.Base().Host}, [2]string{"Sec-Fetch-Site", "same-origin"})
		if err != nil {
			return unanswered("POST "+e.path+" of the site's own", err)
		}
		if own.Status == http.StatusTooManyRequests || own.Status == http.StatusForbidden {
			return check.Unseen("POST %s of the site's own is answered %s", e.path, own.Line())
		}
		// Types that a form can send without a preflight (Fetch, "CORS-safelisted").
		taken := ""
		for _, media := range []string{"text/plain", "application/x-www-form-urlencoded", "application/json"} {
			res, err := post(media, [2]string{"Origin", "https://ringwall-check.invalid"}, [2]string{"Sec-Fetch-Site", "cross-site"})
			if err != nil {
				continue
			}
			if res.Status == http.StatusTooManyRequests {
				return check.Unseen("POST %s met a rate limit", e.path)
			}
			// Read as JSON, or simply acted upon.
			if res.Status == own.Status && sameAnswer(own, res) && media != "application/json" || res.Status < 400 && res.Header.Get("Set-Cookie") != "" {
				taken = media
				break
			}
		}
		if taken == "" {
			return check.Passed("POST %s as a form of another site is not answered as the site's own is, %s", e.path, own.Line())
		}
		if t.usesCookies(ctx) || own.Header.Get("Set-Cookie") != "" {
			return check.Failed("POST "+e.path+" as "+taken+" of another site, with a cookie, is answered as the site's own, "+own.Line(), "403, or 415", fix)
		}
		return check.Unseen("POST %s as %s of another site is answered as the site's own; no cookie was seen that would make it an attack", e.path, taken)
	},
}

func (t *Target) usesCookies(ctx context.Context) bool {
	samples, _, err := t.ask(ctx)
	if err != nil {
		return false
	}
	for _, s := range samples {
		if len(s.res.Header.Values("Set-Cookie")) > 0 {
			return true
		}
	}
	return false
}
