package identity

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strconv"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// signInDelay: guessing at one account slows down, whether it is there or not,
// and others sign in all the while.
var signInDelay = Control{
	Meta: check.Meta{
		ID:     "identity/sign-in-delay",
		Most:   11,
		Points: 46,
		Title:  "Guessing at an account is slowed down",
		Why:    "Without a delay a bot tries passwords as fast as the server hashes them.",
		Ref:    "ASVS 5.0 V6.3.1; OWASP API2 2023; CWE-307; blueprint A6, T1, T3, checklist 6",
		Spends: true,
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const path, most, fix = "/api/auth/login", 10, "serve accounts with Ringwall, or delay after failures"
		target, wrong := unknownAddress(), rand.Text()
		// The delay doubles with each failure: that of the last is longer than any
		// server takes to look at a password.
		for n := 1; n <= most; n++ {
			res, err := probePost(ctx, c, path, "", map[string]string{"email": target, "password": wrong})
			if err != nil {
				return check.Unseen("no answer to POST %s: %v", path, err)
			}
			if res.Status == http.StatusUnauthorized {
				continue
			}
			if res.Status != http.StatusTooManyRequests {
				return check.Failed(fmt.Sprintf("failure %d was answered %s", n, res.Line()), "401, then 429 with Retry-After", fix)
			}
			if seconds, err := strconv.Atoi(res.Header.Get("Retry-After")); err != nil || seconds < 1 {
				return check.Failed(fmt.Sprintf("failure %d was answered 429 without a Retry-After", n), "a Retry-After in seconds", fix)
			}
			other, err := probePost(ctx, c, path, "", map[string]string{"email": unknownAddress(), "password": wrong})
			if err != nil {
				return check.Unseen("no answer to POST %s: %v", path, err)
			}
			if other.Status == http.StatusTooManyRequests {
				return check.Unseen("the limit of this address came first: wait %s s and check again", retryAfter(other))
			}
			return check.Passed("after %d failures 429 with Retry-After: %s; another account was still looked at", n-1, res.Header.Get("Retry-After"))
		}
		return check.Failed(fmt.Sprintf("%d wrong passwords of one account were all looked at", most), "429 with Retry-After after a few", fix)
	},
}
