package edge

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// plainRedirect is Redirect and, before it, Certificates.Challenge. A waiver only
// silences the proof, for a site whose port 80 belongs to something else.
var plainRedirect = Control{
	Meta: check.Meta{
		ID:    "edge/redirect",
		Most:  5,
		Title: "Plain HTTP leads to HTTPS and serves nothing else",
		Why:   "What is asked or answered over plain HTTP can be read and changed on the way; a redirect to a host that the client names can be turned against others.",
		Ref:   "RFC 9110, 15.4.9; RFC 8555, 8.3; ASVS 5.0 V12.2.1; blueprint E2, T6, checklist 1",
	},
	Verify: verifyRedirect,
}

// Redirect answers every plain HTTP request with 308 to the same path at
// https:// and the site, whatever Host the client sent: nothing of it is
// reflected. 308 keeps the method and the body (RFC 9110, 15.4.9), so that a
// client with a wrong scheme notices nothing but a detour. port is the one of
// the HTTPS listener; it is left out when it is 443.
//
// There is no Strict-Transport-Security: browsers must ignore it over plain
// HTTP (RFC 6797, 7.2).
func Redirect(p *policy.Policy, port string) http.Handler {
	base := "https://" + p.Site
	if port != "" && port != "443" {
		base = "https://" + net.JoinHostPort(p.Site, port)
	}
	static := http.Header{
		"Cache-Control":           {"no-store"},
		"Content-Length":          {"0"},
		"Content-Security-Policy": {p.App.Headers.CSP},
		"Permissions-Policy":      {p.App.Headers.Permissions},
		"Referrer-Policy":         {"strict-origin-when-cross-origin"},
		"X-Content-Type-Options":  {"nosniff"},
		"X-Frame-Options":         {"DENY"},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not every request target is a path: of OPTIONS * it is "*", and of
		// GET x:@evil.example it is what would become another host.
		target := r.URL.RequestURI()
		if !strings.HasPrefix(target, "/") {
			target = "/"
		}
		h := w.Header()
		for name, v := range static {
			if v[0] != "" {
				h[name] = v
			}
		}
		h["Location"] = []string{base + target}
		w.WriteHeader(http.StatusPermanentRedirect)
	})
}

// ChallengePath begins the paths that an authority which validates by HTTP-01
// asks for (RFC 8555, section 8.3).
const ChallengePath = "/.well-known/acme-challenge/"

// verifyRedirect asks over plain HTTP for what must not be served.
func verifyRedirect(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "leave port 80 to Ringwall (edge.redirect), or answer everything there with 308 to https:// and the site's own name"
	port := "80"
	if p.Edge.Redirect != "" {
		_, port, _ = net.SplitHostPort(p.Edge.Redirect)
	}
	if port == "0" || port == "" {
		return check.Unseen("edge.redirect has no port that is known beforehand")
	}
	plain, err := c.At("http://" + net.JoinHostPort(c.Base().Hostname(), port))
	if err != nil {
		return check.Unseen("%v", err)
	}
	site := serverName(p, c)
	for _, try := range []struct {
		req probe.Request
		to  string // path of the redirect; "": none need be
	}{
		{probe.Request{Target: "/ringwall-check?x=1", Host: site}, "/ringwall-check?x=1"},
		{probe.Request{Method: http.MethodPost, Target: "/ringwall-check", Host: site, Body: "{}", Headers: [][2]string{{"Content-Type", "application/json"}}}, "/ringwall-check"},
		{probe.Request{Target: "/ringwall-check", Host: "ringwall-check.invalid"}, ""},
		{probe.Request{Target: ChallengePath + rand.Text(), Host: site}, ""},
	} {
		asked := strings.TrimSpace(try.req.Method + " http://" + try.req.Host + strings.SplitN(try.req.Target, "?", 2)[0])
		res, err := plain.Do(ctx, try.req)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED) && p.Edge.Redirect == "":
			if _, err := c.Do(ctx, probe.Request{}); err != nil {
				return check.Unseen("neither port %s nor the target answers: %v", port, err)
			}
			return check.Passed("nothing listens on port %s", port)
		case err != nil && try.to == "" && hungUp(err):
			continue // the site's own requests were answered before
		case err != nil:
			return check.Unseen("no answer to %s on port %s: %v", asked, port, err)
		}
		if why := misled(res, site, try.to); why != "" {
			return check.Failed(asked+" on port "+port+": "+why, "308 to https://"+site+" and the same path", fix)
		}
	}
	return check.Passed("port %s answers 308 to https://%s, whatever path and method, and serves no other Host", port, site)
}

// misled says what is wrong with an answer over plain HTTP; "" is nothing.
func misled(res *probe.Response, site, path string) string {
	at, err := url.Parse(res.Header.Get("Location"))
	switch {
	case res.Header.Get("Strict-Transport-Security") != "":
		return "Strict-Transport-Security, which is for HTTPS alone"
	case res.Status < 300:
		return "served, " + res.Line()
	case path == "" && res.Status >= 400:
		return ""
	case res.Status != http.StatusPermanentRedirect:
		return res.Line()
	case err != nil || at.Scheme != "https" || !strings.EqualFold(at.Hostname(), strings.Trim(site, "[]")):
		return fmt.Sprintf("308 to %.80q", res.Header.Get("Location"))
	case path != "" && at.RequestURI() != path:
		return fmt.Sprintf("308 to another path, %.80q", at.RequestURI())
	}
	return ""
}
