package identity

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// accountErrors: wrong input is told by its place, never by its value.
var accountErrors = Control{
	Meta: check.Meta{
		ID:    "identity/errors",
		Most:  2,
		Title: "Wrong account data is refused by field, and nothing of it is repeated",
		Why:   "What is repeated in an answer or a log runs in a page, or shows a password.",
		Ref:   "RFC 9457; ASVS 5.0 V2.2, V16.5; blueprint A5, A6, A8, T4, checklist 5",
	},
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const path, fix = "/api/auth/login", "serve accounts with Ringwall, or name the fields that are wrong and not their values"
		canary := "canary" + rand.Text()
		res, err := c.Do(ctx, probe.Request{Method: http.MethodPost, Target: path, Headers: [][2]string{{"Content-Type", "application/json"}},
			Body: `{"email":{"$gt":"` + canary + `"},"password":["` + canary + `"],"` + canary + `":1}`})
		if err != nil {
			return check.Unseen("no answer to POST %s: %v", path, err)
		}
		if res.Status == http.StatusTooManyRequests {
			return check.Unseen("POST %s was answered 429: wait %s s and check again", path, retryAfter(res))
		}
		var problem struct{ Errors []struct{ Path, Code string } }
		if res.Status != http.StatusBadRequest || json.Unmarshal(res.Body, &problem) != nil || len(problem.Errors) == 0 {
			return check.Failed("an address that is an object was answered "+res.Line()+" without a list of errors", "400 with the list", fix)
		}
		if strings.Contains(string(res.Body), canary) {
			return check.Failed("the answer repeats what was sent", "no value and no unknown name of the request", fix)
		}
		return check.Passed("400 with %d errors, and nothing of the request in the answer", len(problem.Errors))
	},
}
