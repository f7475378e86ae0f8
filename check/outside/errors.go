package outside

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// malformed sends what does not parse, or is not of the type that anybody
// expects, and looks at how that is answered: never 5xx, and without a trace of
// the inside.
var malformed = Check{
	Meta: check.Meta{
		ID:     "outside/errors",
		Most:   27,
		Points: 16,
		Title:  "Malformed requests are refused as such, and errors tell nothing of the inside",
		Why:    "A 500 shows an attacker which input breaks what; a stack trace, a query or a path shows how.",
		Ref:    "RFC 9110, 15.5.1; ASVS 5.0 V2.2.1, V13.4.2, V16.5.1; OWASP API8 2023; CWE-209; blueprint A5, A8, T4, T7, checklist 5",
		Layer:  "app",
	},
	Manner: Active,
	NoRing: true,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const want = "4xx with a text of its own, the same on every server"
		const fix = "check input against a schema before it is used, end Express with an error handler that answers {\"error\": ...}, and set NODE_ENV=production"
		json := [][2]string{{"Content-Type", "application/json"}}
		paths := []string{t.base()}
		if e, _, err := t.signIn(ctx); err != nil {
			return check.Unseen("%v", err)
		} else if e != nil {
			paths = append(paths, e.path)
		}
		base := strings.SplitN(t.base(), "?", 2)[0]
		tries := []struct {
			what string
			req  probe.Request
		}{
			{"a path that is no UTF-8", probe.Request{Target: "/%c0%ae%e0%a4%a"}},
			{"a percent sign alone", probe.Request{Target: "/%"}},
			{"an operator in the query", probe.Request{Target: base + "?id[$gt]=&limit[$ne]=1"}},
			{"a quote in the query", probe.Request{Target: base + "?id=1%27%20OR%20%271%27=%271&q=%27%22%3B--"}},
			{"a number that is none", probe.Request{Target: base + "?limit=-1&page=1e309&offset=NaN"}},
			{"a null byte in the query", probe.Request{Target: base + "?q=%00"}},
		}
		for _, p := range paths {
			for _, b := range []struct{ what, body string }{
				{"half a JSON object", `{"email":`},
				{"JSON of another type", `[1,2,3]`},
				{"null", `null`},
				{"an operator in the place of a text", `{"email":{"$gt":""},"password":{"$gt":""}}`},
				{"a __proto__ member", `{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}`},
				{"JSON 2,000 deep", strings.Repeat("[", 2000) + strings.Repeat("]", 2000)},
			} {
				tries = append(tries, struct {
					what string
					req  probe.Request
				}{b.what + " for " + p, probe.Request{Method: http.MethodPost, Target: p, Headers: json, Body: b.body}})
			}
		}
		answered, refused := map[int]int{}, 0
		version := "" // is told when there is nothing worse
		for _, try := range tries {
			res, err := t.Client.Do(ctx, try.req)
			if err != nil {
				if ctx.Err() != nil {
					return unanswered(try.what, err)
				}
				refused++
				continue // closed without an answer: nothing is told
			}
			answered[res.Status]++
			if try.req.Method == http.MethodPost && res.Status >= 400 { // who reads no query refuses none
				refused++
			}
			if what := inside(string(res.Body)); what != "" {
				return check.Shown(fmt.Sprintf("%s is answered %s with %s", try.what, res.Line(), what), want, fix)
			}
			if m := bodyVersion.Find(res.Body); m != nil && version == "" {
				version = fmt.Sprintf("%s is answered %s with a version: %q", try.what, res.Line(), m)
			}
			if res.Status >= 500 && res.Status != http.StatusNotImplemented && res.Status != http.StatusServiceUnavailable {
				own, err := t.Client.Do(ctx, probe.Request{Target: t.base()})
				if err != nil {
					return unanswered("GET "+t.base(), err)
				}
				if own.Status >= 500 {
					return check.Unseen("%s is answered %s, and GET %s, which is well-formed, %s", try.what, res.Line(), t.base(), own.Line())
				}
				return check.Failed(try.what+" is answered "+res.Line(), want, fix)
			}
		}
		if version != "" {
			return check.Shown(version, want, "in nginx: server_tokens off")
		}
		if len(answered) == 0 {
			return check.Unseen("%d malformed requests were not answered", len(tries))
		}
		if only := answered[http.StatusTooManyRequests] + answered[http.StatusServiceUnavailable]; only > len(tries)/2 {
			return check.Unseen("%d of %d malformed requests met a rate limit first", only, len(tries))
		}
		if refused == 0 {
			return check.Unseen("none of %d malformed requests was refused: what answers here does not read them; name a path in the URL that takes input", len(tries))
		}
		return check.Passed("%d malformed requests: no 5xx, no stack, query, path or version in the answers", len(tries))
	},
}

// insides are what errors tell of the inside.
var insides = []struct {
	what string
	form *regexp.Regexp
}{
	{"a stack trace", regexp.MustCompile(`(?m)^\s*at [\w.<>$ ]+\(?[^\s()]+:\d+:\d+\)?|&nbsp; ?&nbsp;at |<br> *(&nbsp;)* *at |Traceback \(most recent call last\)|goroutine \d+ \[|\n\s+at [\w.$]+\([\w.]+\.java:\d+\)|Exception in thread|in /[\w./-]+\.php(:| on line )|Whoops! There was an error|\.rb:\d+:in `)},
	{"a path of the server", regexp.MustCompile(`/(?:home|root|srv|opt|usr/src|var/www|app)/[\w.-]+/[\w./-]*\.(?:js|ts|mjs|py|rb|php|go|java)|node_modules/`)},
	{"a database's error", regexp.MustCompile(`SQLSTATE\[|SQLITE_ERROR|syntax error at or near|You have an error in your SQL syntax|ORA-\d{5}|MongoServerError|BSONTypeError|CastError|SequelizeDatabaseError|PrismaClient|pq: |psycopg2\.|ECONNREFUSED`)},
}

func inside(body string) string {
	for _, i := range insides {
		if m := i.form.FindString(body); m != "" {
			return fmt.Sprintf("%s: %.80q", i.what, strings.TrimSpace(m))
		}
	}
	return ""
}
