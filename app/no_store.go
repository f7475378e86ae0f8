package app

import (
	"context"
	"net/http"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// noStore keeps answers that belong to one caller out of every cache, whatever
// the handler says: answers to a signed-in caller, to a request with
// credentials, those that set a cookie and those on sign-in paths (the rate
// class auth), which may hold a token. Other answers keep the handler's
// Cache-Control. The ETag stays: it serves If-Match, not only caches.
var noStore = Control{
	Meta: check.Meta{
		ID:     "app/no-store",
		Most:   5,
		Points: 1,
		Title:  "Answers for a signed-in caller are not stored",
		Why:    "A cache on the way, or the next user of a shared computer, gets what one caller was told.",
		Ref:    "RFC 9111, 3.5 and 5.2.2.5; RFC 9213; ASVS 5.0 V14.3.2; blueprint A3, T6",
	},
	Finish: func(x *Exchange, h http.Header) {
		if x.Answer.replaced {
			return // the ring's own answer: it says no-store by itself
		}
		if x.Caller == nil && len(h["Set-Cookie"]) == 0 && !x.bears && (x.classes == 0 || !x.inClass("auth")) {
			return
		}
		h["Cache-Control"] = noStoreValue
		for _, name := range otherCaching {
			delete(h, name)
		}
	},
	Value: func(_ *policy.Policy, r *Route) string {
		if r.Public {
			return "answers with a cookie, to credentials and on sign-in paths; others keep the handler's Cache-Control"
		}
		return "every answer"
	},
	Verify: verifyNoStore,
}

// otherCaching are the headers that could still allow a cache to keep the
// answer: old ones, and those by which single caches are told something else
// than Cache-Control (RFC 9213 and its forerunners).
var otherCaching = []string{"Expires", "Pragma", "Cdn-Cache-Control", "Surrogate-Control", "X-Accel-Expires"}

// verifyNoStore looks at an answer of the API to a signed-in caller. Problem
// answers do not count: they carry no-store of their own.
func verifyNoStore(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	token := c.Token("")
	if token == "" {
		return check.Unseen("no access token was given, so no signed-in caller's answer could be seen")
	}
	for _, t := range admittedTargets(p, c) {
		target := t.path
		if t.token != "" { // of a role, which the route asks for
			token = t.token
		}
		res, err := c.Do(ctx, probe.Request{Target: target, Token: token})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", target, err)
		}
		if isProblem(res) {
			continue
		}
		if !containsList(res.Header.Values("Cache-Control"), "no-store") {
			got := res.Header.Get("Cache-Control")
			return check.Failed("GET "+target+" with a token has Cache-Control: "+got, "no-store",
				"put the app ring in front of the API, or send Cache-Control: no-store to signed-in callers")
		}
		return check.Passed("GET %s with a token was answered %d with no-store", target, res.Status)
	}
	return check.Unseen("the API answered no GET of a signed-in caller")
}
