package identity

import (
	"context"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// registration: who may make an account, and that nobody learns who has one.
var registration = Control{
	Meta: check.Meta{
		ID:    "identity/registration",
		Most:  3,
		Title: "Accounts are made only as the policy says, and nobody learns who has one",
		Why:   "A list of those who have an account is where stuffing and phishing begin.",
		Ref:   "ASVS 5.0 V6.3.8; CWE-204; OWASP API2 2023; blueprint A3, T3",
	},
	Verify: func(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
		const path, fix = "/api/auth/register", "serve accounts with Ringwall, or answer a taken address as a new one"
		const password = "seven grey herons wade at dusk"
		register := func(email string) (*probe.Response, error) {
			return probePost(ctx, c, path, "", map[string]string{"name": "Check", "email": email, "password": password})
		}
		if p.Identity.Registration != "open" {
			res, err := register(unknownAddress())
			switch {
			case err != nil:
				return check.Unseen("no answer to POST %s: %v", path, err)
			case res.Status == http.StatusTooManyRequests:
				return check.Unseen("POST %s was answered 429: wait %s s and check again", path, retryAfter(res))
			case res.Status != http.StatusForbidden && (p.Identity.Registration != "invite" || res.Status != http.StatusBadRequest):
				return check.Failed("POST "+path+" by a stranger was answered "+res.Line(), "403, or 400 for want of an invitation", fix)
			}
			return check.Passed("POST %s by a stranger was answered %d", path, res.Status)
		}
		a, ok := c.Account()
		if !ok {
			return check.Unseen("no account was given, so no taken address could be tried: --account EMAIL=@FILE")
		}
		if !c.Loopback() {
			return check.Unseen("registration is open: trying it would make an account; check a copy on loopback")
		}
		taken, err := register(a.Email)
		if err != nil {
			return check.Unseen("no answer to POST %s: %v", path, err)
		}
		fresh, err := register(unknownAddress())
		if err != nil {
			return check.Unseen("no answer to POST %s: %v", path, err)
		}
		if fresh.Status != http.StatusCreated {
			return check.Failed("POST "+path+" with a new address was answered "+fresh.Line(), "201", fix)
		}
		if what := differ(taken, fresh); what != "" {
			return check.Failed("a taken and a new address are told apart by the "+what, "the same answer", fix)
		}
		return check.Passed("a new address and a taken one get the same 201")
	},
}
