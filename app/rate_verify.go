package app

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// maxExhausted is the largest class that the proof uses up.
const maxExhausted = 100

// verifyRate uses up the smallest class from one address, under a forged
// X-Forwarded-For that changes with each request, sees the next one refused,
// and sees that a second client is not.
func verifyRate(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	name, path := smallestClass(p)
	l := p.App.Limits[name]
	want := fmt.Sprintf("429 once the %d requests of %s are spent", l.Requests, name)
	fix := "put the app ring in front of the API, with app.limits." + name + " and its paths as they are there"
	if l.Requests < 1 || l.Per < time.Second {
		return check.Unseen("the policy has no rate class that could be tried")
	}
	client, _ := c.Fresh()
	start := time.Now()
	var first, last *probe.Response
	passed := 0
	for {
		// The last address stays the same, so that the bucket must too, also
		// where the probe itself comes from a trusted proxy.
		forged := fmt.Sprintf("203.0.113.%d, 192.0.2.77", passed%256)
		res, err := client.Do(ctx, probe.Request{Target: path, Headers: [][2]string{{"X-Forwarded-For", forged}}})
		if err != nil {
			return check.Unseen("no answer to GET %s: %v", path, err)
		}
		if last = res; first == nil {
			first = res
		}
		if res.Status == http.StatusTooManyRequests {
			break
		}
		switch res.Status {
		case http.StatusMisdirectedRequest, http.StatusBadRequest, http.StatusMethodNotAllowed:
			return check.Unseen("GET %s was answered %s, before any limit", path, res.Line())
		}
		passed++
		if passed == 4 && l.Requests > maxExhausted {
			if f, bad := rateHeaders(first, last, p, name, passed); bad {
				return f
			}
			return check.Unseen("the smallest class, %s, has %d requests: too many to use them up", name, l.Requests)
		}
		if refilled := int(time.Since(start) / (l.Per / time.Duration(l.Requests))); passed > l.Requests+refilled {
			if len(p.App.Routes) == 0 && res.Status == http.StatusNotFound {
				return check.Unseen("GET %s is answered 404: a policy with app.limits names the paths of this API", path)
			}
			return check.Failed(fmt.Sprintf("%d requests to %s, X-Forwarded-For changing: none was answered 429", passed, path), want, fix)
		}
		if passed > 2*maxExhausted || len(p.App.Routes) == 0 && passed > l.Requests+8 {
			return check.Unseen("%d requests to %s passed, but %s refills faster than the probe asks", passed, path, name)
		}
	}
	if passed == 0 {
		return check.Unseen("this address has used up its requests to %s already; try again in %s s", path, last.Header.Get("Retry-After"))
	}
	if f, bad := rateHeaders(first, last, p, name, passed); bad {
		return f
	}
	got := fmt.Sprintf("%d requests to %s passed, X-Forwarded-For changing, then 429 with Retry-After %s", passed, path, last.Header.Get("Retry-After"))
	other, fresh := c.Fresh()
	if !fresh {
		return check.Passed("%s; a second client could not be had", got)
	}
	res, err := other.Do(ctx, probe.Request{Target: path})
	if err != nil {
		return check.Unseen("no answer to a second client's GET %s: %v", path, err)
	}
	if res.Status == http.StatusTooManyRequests {
		return check.Failed("a second client was refused for the first one's requests", "a bucket for each client",
			"put the app ring where it sees clients' addresses, or name the proxy in edge.trusted_proxies")
	}
	return check.Passed("%s; a second client passed", got)
}

// rateHeaders judges the fields of the first answer and of the last of a series
// in which passed requests were let through. bad: f says what is wrong.
func rateHeaders(first, last *probe.Response, p *policy.Policy, name string, passed int) (f check.Finding, bad bool) {
	l := p.App.Limits[name]
	const fix = "let the app ring write these headers: nothing between it and the client may drop or rewrite them"
	blocked := last.Status == http.StatusTooManyRequests
	before, ok1 := rateParam(first.Header["Ratelimit"], name, "r")
	after, ok2 := rateParam(last.Header["Ratelimit"], name, "r")
	if !ok1 || !ok2 {
		which := first
		if ok1 {
			which = last
		}
		return check.Failed(fmt.Sprintf("%s after %d requests, without RateLimit for %s", which.Line(), passed, name), `RateLimit: "`+name+`";r=...;t=...`, fix), true
	}
	if blocked && after > 0 {
		return check.Unseen("%d requests passed, then another limit answered 429: %s had %d left", passed, name, after), true
	}
	if before <= after && passed > 1 {
		return check.Failed(fmt.Sprintf("requests left went from %d to %d", before, after), "fewer with each request", fix), true
	}
	q, _ := rateParam(last.Header["Ratelimit-Policy"], name, "q")
	w, _ := rateParam(last.Header["Ratelimit-Policy"], name, "w")
	if q != l.Requests || w != wholeSeconds(l.Per) {
		return check.Failed(fmt.Sprintf("RateLimit-Policy gives %d in %d s for %s", q, w, name), rateLine(name, l), "load the policy that is checked against: ringwall policy reload"), true
	}
	// What every request counts in is announced, too, and is as the policy has it;
	// using it up would take the whole of it.
	for _, other := range slices.Sorted(maps.Keys(p.App.Limits)) {
		every := p.App.Limits[other]
		if other == name || len(every.Paths) > 0 {
			continue
		}
		q, _ := rateParam(first.Header["Ratelimit-Policy"], other, "q")
		w, _ := rateParam(first.Header["Ratelimit-Policy"], other, "w")
		if q != every.Requests || w != wholeSeconds(every.Per) {
			return check.Failed(fmt.Sprintf("RateLimit-Policy gives %d in %d s for %s", q, w, other), rateLine(other, every), "load the policy that is checked against: ringwall policy reload"), true
		}
	}
	for _, field := range legacyRateFields {
		for _, res := range []*probe.Response{first, last} {
			if res.Header.Get(field) != "" {
				return check.Failed("an answer has "+field, "RateLimit and RateLimit-Policy alone", fix), true
			}
		}
	}
	if !blocked {
		return check.Finding{}, false
	}
	if n, err := strconv.Atoi(last.Header.Get("Retry-After")); err != nil || n < 1 {
		return check.Failed("429 without Retry-After in seconds", "Retry-After: 1 or more", fix), true
	}
	if media := last.Header.Get("Content-Type"); media != "application/problem+json" {
		return check.Failed("429 with a body that is not problem+json", "application/problem+json", fix), true
	}
	return check.Finding{}, false
}

// rateParam reads a whole number from the item of a class (the draft, sections
// 3 and 4). It is strict about what the ring writes and blind to the rest.
func rateParam(lines []string, class, param string) (int, bool) {
	for item := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		rest, ok := strings.CutPrefix(strings.TrimSpace(item), `"`+class+`"`)
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(rest, ";") {
			if v, ok := strings.CutPrefix(strings.TrimSpace(pair), param+"="); ok {
				n, err := strconv.Atoi(v)
				return n, err == nil && n >= 0
			}
		}
	}
	return 0, false
}

// smallestClass is the class with the fewest requests, and a path that it counts.
func smallestClass(p *policy.Policy) (name, path string) {
	for n, l := range p.App.Limits {
		least := p.App.Limits[name].Requests
		if name == "" || l.Requests < least || l.Requests == least && n < name {
			name = n
		}
	}
	path = "/"
	if paths := classPaths(p, name); len(paths) > 0 {
		path = paths[0]
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		if strings.HasPrefix(s, "{") || i > 0 && s == "" {
			segments[i] = "ringwall-check"
		}
	}
	return name, strings.Join(segments, "/")
}
