package identity

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// unknownAccount: the answer to a wrong password is the answer to an unknown
// address, in text and in time.
var unknownAccount = Control{
	Meta: check.Meta{
		ID:     "identity/unknown-account",
		Most:   10,
		Points: 32,
		Title:  "An unknown account and a wrong password are answered alike",
		Why:    "What tells the two apart tells a stranger who has an account here.",
		Ref:    "ASVS 5.0 V6.3.8; CWE-204, CWE-208; OWASP API2 2023; blueprint A3, T3",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const path, fix = "/api/auth/login", "serve accounts with Ringwall, or answer alike and do the same work"
		a, ok := c.Account()
		if !ok {
			return check.Unseen("no account was given to try a wrong password of: --account EMAIL=@FILE")
		}
		wrong := rand.Text()
		try := func(email string) (*probe.Response, time.Duration, error) {
			res, err := probePost(ctx, c, path, "", map[string]string{"email": email, "password": wrong})
			if err != nil {
				return nil, 0, err
			}
			return res, res.Took, nil
		}
		// What a request costs that hashes nothing.
		way := time.Hour
		for range 2 {
			res, err := c.Do(ctx, probe.Request{Target: "/.well-known/jwks.json"})
			if err != nil {
				return check.Unseen("no answer to GET /.well-known/jwks.json: %v", err)
			}
			way = min(way, res.Took)
		}
		// The quicker of two each; while they differ of four, after which the account
		// would be delayed: other load slows single requests.
		known, unknown, apart := time.Hour, time.Hour, true
		var knownMost, unknownMost time.Duration
		for i := 0; i < 2 || i < 4 && apart; i++ {
			k, took, err := try(a.Email)
			if err != nil {
				return check.Unseen("no answer to POST %s: %v", path, err)
			}
			known, knownMost = min(known, took), max(knownMost, took)
			u, took, err := try(unknownAddress())
			if err != nil {
				return check.Unseen("no answer to POST %s: %v", path, err)
			}
			unknown, unknownMost = min(unknown, took), max(unknownMost, took)
			if k.Status == http.StatusTooManyRequests || u.Status == http.StatusTooManyRequests {
				return check.Unseen("POST %s was answered 429: wait %s s and check again", path, retryAfter(k))
			}
			if k.Status != http.StatusUnauthorized {
				return check.Failed("a wrong password was answered "+k.Line(), "401", fix)
			}
			if what := differ(k, u); what != "" {
				return check.Failed("the two are told apart by the "+what, "the same answer", fix)
			}
			// A hash that is not made shows as a multiple, each time: where the slowest
			// of the one is as slow as the quickest of the other, nobody can tell.
			less, more := min(known, unknown)-way, max(known, unknown)-way
			apart = more > 4*less && more-less > 15*time.Millisecond &&
				(knownMost < unknown || unknownMost < known)
		}
		times := fmt.Sprintf("%v and %v", known.Round(time.Millisecond), unknown.Round(time.Millisecond))
		if apart {
			return check.Failed("a wrong password and an unknown account took "+times, "about the same time", fix)
		}
		return check.Passed("both 401 with the same text, in %s", times)
	},
}

// differ names what two answers differ in; "" when they are alike. The request's
// id, the date and what counts requests differ always.
func differ(a, b *probe.Response) string {
	if a.Status != b.Status {
		return fmt.Sprintf("status: %d and %d", a.Status, b.Status)
	}
	var bodies [2]map[string]any
	for i, r := range []*probe.Response{a, b} {
		if json.Unmarshal(r.Body, &bodies[i]) != nil {
			return "body, which is no JSON"
		}
		delete(bodies[i], "request_id")
	}
	if !reflect.DeepEqual(bodies[0], bodies[1]) {
		return "body"
	}
	for _, pair := range [][2]http.Header{{a.Header, b.Header}, {b.Header, a.Header}} {
		for name, values := range pair[0] {
			switch name {
			case "Date", "X-Request-Id", "Ratelimit", "Content-Length":
				continue
			}
			if !slices.Equal(values, pair[1][name]) {
				return "header " + name
			}
		}
	}
	return ""
}
