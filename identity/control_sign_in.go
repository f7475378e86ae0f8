package identity

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// signIn: what a page's script can read ends soon; what lasts it cannot read.
var signIn = Control{
	Meta: check.Meta{
		ID:    "identity/sign-in",
		Most:  3,
		Title: "Signing in gives a short-lived token, and the lasting one in a cookie that no script reads",
		Why:   "A script that gets into a page takes what it can read; a token that lasts is an account.",
		Ref:   "RFC 6265bis, 4.1.3.2; RFC 9068; ASVS 5.0 V7.2, V10.4; OWASP API2 2023; blueprint A3, A10, T6, T11",
	},
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		s, finding := probeSignIn(ctx, c)
		if s == nil {
			return finding
		}
		defer s.signOut(ctx, c)
		const fix = "serve accounts with Ringwall, or keep to these lifetimes and attributes"
		most := p.Identity.AccessToken
		if life := time.Duration(s.ExpiresIn) * time.Second; life <= 0 || life > most {
			return check.Failed("the access token lasts "+life.String(), "at most "+most.String(), fix)
		}
		if s.RefreshToken != "" {
			return check.Failed("the refresh token is in the body, where nobody asked for it", "in the cookie alone", fix)
		}
		k := s.cookie
		switch {
		case k == nil:
			return check.Failed("there is no cookie "+refreshCookie, "the refresh token in it", fix)
		case !k.HttpOnly || !k.Secure || k.SameSite != http.SameSiteStrictMode || k.Path != "/" || k.Domain != "":
			return check.Failed("the cookie lacks one of HttpOnly, Secure, SameSite=Strict, Path=/, or has a Domain", "all of them, and no Domain", fix)
		case time.Duration(k.MaxAge)*time.Second > p.Identity.RefreshToken:
			return check.Failed(fmt.Sprintf("the cookie lasts %d s", k.MaxAge), "at most "+p.Identity.RefreshToken.String(), fix)
		}
		if s.noStore {
			return check.Passed("a token of %d s, and %s with HttpOnly, Secure, SameSite=Strict", s.ExpiresIn, k.Name)
		}
		return check.Failed("the answer may be stored by caches", "Cache-Control: no-store", fix)
	},
}
