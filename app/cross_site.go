package app

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// crossSite refuses requests that change something, that carry a credential
// which browsers add by themselves, and that another site's page may have sent.
// A request with a bearer token alone is not affected: no browser adds one.
var crossSite = Control{
	Meta: check.Meta{
		ID:    "app/cross-site",
		Most:  4,
		Title: "Other sites cannot act with a visitor's cookies",
		Why:   "A page of another site can post a form to this one, and the browser adds the visitor's cookies (CSRF).",
		Ref:   "Fetch Metadata; RFC 6454, 7; ASVS 5.0 V3.5.1; CWE-352; blueprint A2, T10",
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		rules, err := compileCORS(p)
		if err != nil {
			return nil, err
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if err := rules.checkCrossSite(x); err != nil {
					x.Deny(Denied{Control: "app/cross-site", Kind: audit.CrossSiteRefused, Status: http.StatusForbidden,
						Detail: "This request came from another site.", Err: err})
					return
				}
				next(x)
			}
		}, nil
	},
	Value: func(*policy.Policy, *Route) string {
		return "POST, PUT, PATCH and DELETE with cookies: from this site and listed origins only"
	},
	Verify: verifyCrossSite,
}

var (
	errCrossSite     = errors.New("Sec-Fetch-Site says that another site sent it")
	errForeignSender = errors.New("Origin is neither the site nor trusted with credentials")
)

// checkCrossSite returns why the request may be another site's, or nil. It goes
// beyond net/http's CrossOriginProtection: Origin must be a well-formed origin,
// of the same scheme too, and both headers must agree.
func (c *corsRules) checkCrossSite(x *Exchange) error {
	switch x.R.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		// Safe methods change nothing (RFC 9110, 9.2.1). A handler that does change
		// something on GET is not protected.
		return nil
	}
	if !ambientCredential(x.R) {
		// Nothing that a browser adds: another site gains nothing by sending it.
		return nil
	}
	sender := senderOf(x, c.site, c.origins)
	switch fetched := x.fetched; {
	case sender == senderListed && c.credentials != nil:
		// Trusted with the visitor's credentials, as app.cors.credentials says.
		return nil
	case len(fetched) == 0:
		// Sent by no browser, or one from before 2023; those name the origin of a
		// cross-origin POST. Then Origin decides, below.
	case len(fetched) > 1 || fetched[0] != "same-origin" && fetched[0] != "none":
		// same-site too: a sibling domain is another site to us.
		return errCrossSite
	}
	if sender == senderForeign || sender == senderListed {
		return errForeignSender
	}
	// Left are the site's own origin, and no Origin with Sec-Fetch-Site
	// same-origin or none (none: the user did it, not a page), or with neither
	// header. With neither we fail open: every browser since 2020 sends one of
	// them with such a request, so this is a program that was given the cookie.
	return nil
}

// ambientCredential reports whether the request carries what a browser adds by
// itself: a cookie, a password or ticket it remembers (Authorization other than
// Bearer), or a client certificate.
func ambientCredential(r *http.Request) bool {
	if len(r.Header["Cookie"]) > 0 || r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return true
	}
	for _, v := range r.Header["Authorization"] {
		if scheme, _, _ := strings.Cut(v, " "); !strings.EqualFold(scheme, "Bearer") {
			return true
		}
	}
	return false
}

// verifyCrossSite posts with a cookie that means nothing, once as another
// site's form and once as the site's own. The first has no Origin, so that it
// is not app/cors that refuses it.
func verifyCrossSite(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
	var status [3]int
	for i, from := range []string{"cross-site", "same-site", "same-origin"} {
		res, err := c.Do(ctx, probe.Request{Method: http.MethodPost, Target: "/", Headers: [][2]string{
			{"Cookie", "ringwall-check=1"}, {"Sec-Fetch-Site", from}, {"Content-Length", "0"},
		}})
		if err != nil {
			return check.Unseen("no answer to POST / with Sec-Fetch-Site: %s: %v", from, err)
		}
		if status[i] = res.Status; from != "same-origin" && res.Status != http.StatusForbidden {
			return check.Failed("POST / with a cookie and Sec-Fetch-Site: "+from+" was answered "+res.Line(), "403",
				"put the app ring in front of the API, or refuse such requests by Sec-Fetch-Site and Origin")
		}
	}
	if status[2] == http.StatusForbidden {
		return check.Unseen("POST / from the site itself is answered 403 too, so a refusal proves nothing")
	}
	return check.Passed("POST / with a cookie: from other sites 403, from the site itself %d", status[2])
}
