package edge

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// requestRate holds each client to edge.rate, before anything is done for its
// request. The client is its IPv4 address or its IPv6 /64; clients whose address
// is not known share one bucket. As with nginx's limit_req and nodelay, burst
// requests beyond the one that the rate allows may come at once; none is
// delayed; a refused one is answered 429 with Retry-After and costs nothing.
//
// The buckets have 10 MB of their own, room for half a million clients, and
// outlive reloads. What is forgotten when they are full is said at
// limit.Memory: full buckets first, then those least used up.
//
// A client's refusals raise one event a second at most.
var requestRate = Control{
	Meta: check.Meta{
		ID:     "edge/rate",
		Most:   3,
		Points: 3,
		Title:  "No client asks faster than the edge allows",
		Why:    "A burst from one address would take the processor time and the upstream's connections that all others need.",
		Ref:    "RFC 6585, 4; ASVS 5.0 V2.4.1; OWASP API4 2023; blueprint E3, T2, T7, checklist 6",
		Spends: true,
	},
	Value: func(p *policy.Policy) string {
		r := p.Edge.Rate
		return fmt.Sprintf("%d per %s from one address, and %d more at once", r.Requests, r.Per, r.Burst)
	},
	Gate: func(p *policy.Policy, st *State) (Judge, error) {
		c := p.Edge.Rate
		rate, err := limit.NewRate("edge", c.Requests, c.Per, c.Burst+1)
		if err != nil {
			return nil, p.Errorf("edge.rate", "", "%w", err)
		}
		event, err := limit.NewRate("edge.event", 1, time.Second, 1)
		if err != nil {
			return nil, err
		}
		rates, events := []limit.Rate{rate}, []limit.Rate{event}
		buckets := st.rates.memory()
		over := fmt.Errorf("over %d in %v with %d at once", c.Requests, c.Per, c.Burst+1)
		return func(v *Visit) *Refusal {
			var state [1]limit.Decision
			key := limit.Addr(v.Client)
			if ok, _ := buckets.Take(key, rates, v.Now, state[:]); ok { // a Memory never errs on made rates
				return nil
			}
			r := &Refusal{Status: http.StatusTooManyRequests, Detail: "Too many requests at once. Try again in a moment.",
				Err: over, RetryAfter: state[0].Next}
			if first, _ := buckets.Take(key, events, v.Now, state[:]); first {
				r.Kind = audit.RateBlocked
			}
			return r
		}, nil
	},
	Verify: verifyRate,
}

// rateMemory is the hard cap of the buckets.
const rateMemory = 10_000_000

type rateState struct {
	once    sync.Once
	buckets *limit.Memory
}

func (s *rateState) memory() *limit.Memory {
	s.once.Do(func() { s.buckets = limit.NewMemory(rateMemory) })
	return s.buckets
}

// verifyRate sends more requests at once than the rate allows, on one
// connection, and looks at which were served.
func verifyRate(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API with edge.rate as it is in the policy, or limit requests in the proxy"
	const most = 2000
	rate := p.Edge.Rate
	burst := rate.Burst + 1
	if rate.Requests < 1 || burst > most {
		return check.Unseen("the policy has no rate that could be tried: %d requests would have to be sent at once", burst)
	}
	want := fmt.Sprintf("429 from request %d on", burst+1)
	client, fresh := c.Fresh()
	began := time.Now()
	answers, err := pipeline(ctx, client, burst+20)
	took := time.Since(began)
	passed, refused := 0, 0
	var last *http.Response
	for _, res := range answers {
		switch {
		case res.StatusCode != http.StatusTooManyRequests:
			passed++
		case res.Header.Get("RateLimit") != "":
			return check.Unseen("after %d requests another limit answered 429: the one over minutes", passed)
		default:
			refused++
			last = res
		}
	}
	// What refilled while the requests were under way passes as well.
	allowed := burst + 1 + int(took*time.Duration(rate.Requests)/rate.Per)
	got := fmt.Sprintf("%d requests at once: %d served, %d answered 429", len(answers), passed, refused)
	switch {
	case refused == 0 && passed > allowed:
		return check.Failed(got, want, fix)
	case refused == 0 && err != nil:
		return check.Unseen("%s, then %v", got, err)
	case refused == 0:
		return check.Unseen("%s in %v, while the rate refilled", got, took.Round(time.Millisecond))
	case passed == 0:
		return check.Unseen("this address has used up its rate already; try again in a moment")
	case passed > allowed || fresh && passed < burst:
		return check.Failed(got, want, "load the policy that is checked against: ringwall policy reload")
	}
	wait := last.Header.Get("Retry-After")
	if n, err := strconv.Atoi(wait); err != nil || n < 1 {
		return check.Failed("429 without Retry-After in seconds", "Retry-After: 1 or more", fix)
	}
	got += " with Retry-After " + wait
	other, fresh := c.Fresh()
	if !fresh {
		return check.Passed("%s; a second client could not be had", got)
	}
	res, err := other.Do(ctx, probe.Request{Target: "/"})
	if err != nil {
		return check.Unseen("no answer to a second client's GET /: %v", err)
	}
	if res.Status == http.StatusTooManyRequests {
		return check.Failed("a second client was refused for the first one's requests", "a bucket for each client",
			"name the proxy in front in edge.trusted_proxies")
	}
	return check.Passed("%s; a second client was served", got)
}

// pipeline sends n requests on one connection without waiting, and reads the
// answers, as many as come.
func pipeline(ctx context.Context, c *probe.Client, n int) ([]*http.Response, error) {
	conn, err := c.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request := "GET / HTTP/1.1\r\nHost: " + c.Base().Host + "\r\nUser-Agent: ringwall-check\r\n\r\n"
	go func() { _, _ = io.WriteString(conn, strings.Repeat(request, n)) }() // a failure shows in the answers
	r := bufio.NewReader(io.LimitReader(conn, 32<<20))
	answers := make([]*http.Response, 0, n)
	for range n {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			return answers, err
		}
		probe.Answered(ctx, res.StatusCode)
		answers = append(answers, res)
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return answers, err
		}
		if res.Close {
			return answers, errors.New("the connection was closed")
		}
	}
	return answers, nil
}
