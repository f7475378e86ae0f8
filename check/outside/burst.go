package outside

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
)

// burst is what is sent at once: more than twice what the blueprint allows (10 a
// second, 20 at once).
const burst = 50

// edgeRate sends more at once than an edge lets one address send. A limit that
// tells of itself in RateLimit fields is the application's, over minutes, and
// does not count here.
var edgeRate = Check{
	Meta: check.Meta{
		ID:     "outside/burst",
		Most:   5,
		Points: 4,
		Title:  "The edge refuses a client that asks far too fast",
		Why:    "What is refused before the application costs nothing; what reaches it costs everybody.",
		Ref:    "RFC 6585, 4; ASVS 5.0 V2.4.1; OWASP API4 2023; CWE-770; blueprint E3, T2, T7, checklist 6",
		Layer:  "edge",
		Spends: true,
	},
	Manner: Active,
	Verify: func(ctx context.Context, t *Target) check.Finding {
		const fix = "in nginx: limit_req_zone $binary_remote_addr zone=api:10m rate=10r/s; limit_req zone=api burst=20 nodelay; limit_req_status 429"
		want := fmt.Sprintf("429 or 503 before request %d, 10 a second and 20 at once being the guide's", burst)
		client, _ := t.Client.Fresh()
		first, err := client.Do(ctx, probe.Request{Target: t.base()})
		if err != nil {
			return unanswered("GET "+t.base(), err)
		}
		if limited(first) {
			return check.Unseen("GET %s is answered %s already", t.base(), first.Line())
		}
		served, byApp, n := 0, 0, 0
		began := time.Now()
		// A server may close a connection after some requests: then another one.
		for range 4 {
			answers, err := pipeline(ctx, client, t.base(), burst-n)
			for _, res := range answers {
				n++
				if !limited(res) {
					served++
					continue
				}
				if said, _ := limits(res); said != "" {
					byApp++
					continue
				}
				return check.Passed("%d requests at once: %d were served, then %s%s", n, served, res.Line(), orNothing(", Retry-After: ", res.Header.Get("Retry-After")))
			}
			if ctx.Err() != nil {
				return unanswered("requests at once", err)
			}
			if n >= burst || len(answers) == 0 && err != nil {
				if n < burst && served > 0 && n > 20 { // closed without an answer: refused
					return check.Passed("%d requests at once were served, then the connection was closed: %v", served, err)
				}
				break
			}
		}
		took := time.Since(began)
		switch {
		case n < burst:
			return check.Unseen("only %d of %d requests at once were answered", n, burst)
		case byApp > 0:
			return check.Failed(fmt.Sprintf("%d requests within %v reached the application, whose own limit then answered 429", served, took.Round(time.Millisecond)), want, fix)
		case took > 4*time.Second:
			return check.Unseen("%d requests took %v: too slow to be a burst", n, took.Round(time.Millisecond))
		}
		return check.Failed(fmt.Sprintf("%d requests within %v, and all were served", served, took.Round(time.Millisecond)), want, fix)
	},
}

// pipeline sends n requests on one connection without waiting, and reads the
// answers, as many as come.
func pipeline(ctx context.Context, c *probe.Client, path string, n int) ([]*probe.Response, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	request := "GET " + path + " HTTP/1.1\r\nHost: " + c.Base().Host + "\r\nUser-Agent: ringwall-check\r\n\r\n"
	go func() { _, _ = io.WriteString(conn, strings.Repeat(request, n)) }() // a failure shows in the answers
	r := bufio.NewReader(io.LimitReader(conn, 8<<20))
	var answers []*probe.Response
	for range n {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers, err
		}
		probe.Answered(ctx, res.StatusCode)
		answers = append(answers, &probe.Response{Status: res.StatusCode, Header: res.Header})
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return answers, err
		}
		if res.Close {
			return answers, io.EOF
		}
	}
	return answers, nil
}
