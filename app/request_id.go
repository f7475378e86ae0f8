package app

import (
	"context"
	"math/rand/v2"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// requestID names each request for the log, the answer and the upstream. An id
// that came with the request is replaced, whoever sent it: log lines joined on
// an id that a client chose could be made to point at somebody else's request.
// W3C traceparent, which is for joining traces of several parties, passes
// through untouched.
var requestID = Control{
	Meta: check.Meta{
		ID:    "app/request-id",
		Most:  3,
		Title: "Every request has an id that clients cannot choose",
		Why:   "An id that a client chooses lets it forge or hide lines of the log.",
		Ref:   "OWASP Logging Cheat Sheet, event attributes; ASVS 5.0 V16.2.1; blueprint A8, checklist 10",
	},
	Owns: []string{"X-Request-Id"},
	Wrap: func(*policy.Policy, Deps) (Middleware, error) {
		return func(next Handler) Handler {
			return func(x *Exchange) {
				x.ID = newRequestID()
				x.id = [2]string{x.ID, x.ID}
				x.R.Header["X-Request-Id"] = x.id[0:1:1]
				x.Answer.Set("X-Request-Id", x.id[1:2:2])
				next(x)
			}
		}, nil
	},
	Value: func(*policy.Policy, *Route) string { return "a new one of 128 random bits, in X-Request-Id" },
	Verify: func(ctx context.Context, _ *policy.Policy, c *probe.Client) check.Finding {
		const chosen = "c0ffee00c0ffee00c0ffee00c0ffee00"
		fix := "have the app ring, or the proxy, replace X-Request-Id on every request"
		var ids [2]string
		for i := range ids {
			res, err := c.Do(ctx, probe.Request{Target: "/", Headers: [][2]string{{"X-Request-Id", chosen}}})
			if err != nil {
				return check.Unseen("no answer to GET /: %v", err)
			}
			got := res.Header.Values("X-Request-Id")
			if len(got) != 1 || got[0] == "" {
				return check.Shown("GET / was answered without an X-Request-Id", "one X-Request-Id on every answer", fix)
			}
			if got[0] == chosen {
				return check.Failed("the id that the client sent was taken", "an id of the server's own", fix)
			}
			ids[i] = got[0]
		}
		if ids[0] == ids[1] {
			return check.Failed("two requests have the same id", "an id for each request", fix)
		}
		return check.Passed("two answers carry two ids, neither of them the one that was sent")
	},
}

// newRequestID gives 128 random bits as 32 lower-case hex digits, the form of
// a W3C trace-id. They come from the runtime's own ChaCha8 generator, without a
// system call: an id need only be unlike all others, it is no secret.
func newRequestID() string {
	const digits = "0123456789abcdef"
	var id [32]byte
	for half := range 2 {
		bits := rand.Uint64()
		for i := range 16 {
			id[half*16+i] = digits[bits&15]
			bits >>= 4
		}
	}
	return string(id[:])
}
