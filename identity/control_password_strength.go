package identity

import (
	"context"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// passwordStrength: a password that is in every guesser's list is none.
var passwordStrength = Control{
	Meta: check.Meta{
		ID:    "identity/password-strength",
		Most:  2,
		Title: "Common passwords are refused",
		Why:   "Credential stuffing begins with the passwords that most people use.",
		Ref:   "NIST SP 800-63B, 3.1.1.2; ASVS 5.0 V6.2; OWASP API2 2023; blueprint A3, T1, T3",
	},
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		const common, fix = "password123", "serve accounts with Ringwall, or hold new passwords against a list of common ones"
		path, token := "/api/auth/register", ""
		body := map[string]string{"name": "Check", "email": unknownAddress(), "password": common}
		if p.Identity.Registration != "open" {
			s, finding := probeSignIn(ctx, c)
			if s == nil {
				return finding
			}
			defer s.signOut(ctx, c)
			a, _ := c.Account()
			path, token = "/api/auth/password", s.AccessToken
			body = map[string]string{"password": a.Password, "new_password": common}
		}
		res, err := probePost(ctx, c, path, token, body)
		if err != nil {
			return check.Unseen("no answer to POST %s: %v", path, err)
		}
		switch {
		case res.Status == http.StatusTooManyRequests:
			return check.Unseen("POST %s was answered 429: wait %s s and check again", path, retryAfter(res))
		case res.Status != http.StatusBadRequest:
			return check.Failed("POST "+path+" with the password "+common+" was answered "+res.Line(), "400", fix)
		case strings.Contains(string(res.Body), common):
			return check.Failed("the answer repeats the password", "never", fix)
		}
		return check.Passed("POST %s with the password %s was answered 400", path, common)
	},
}
