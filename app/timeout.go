package app

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// timeout answers 503 when no answer has begun within the route's timeout.
//
// The time runs from here until the answer begins: reading the body counts,
// sending the answer does not, so that downloads and event streams are not cut.
//
// At the end of the time the client is answered and, with HTTP/1, told that the
// connection closes; the request's context is cancelled with
// http.ErrHandlerTimeout as its cause; reads of the body fail; what the handler
// writes later returns http.ErrHandlerTimeout. A handler that heeds none of
// this keeps its goroutine, as any goroutine of Go's does: an HTTP/2 client
// then has the whole answer, but sees its end only when the handler returns.
var timeout = Control{
	Meta: check.Meta{
		ID:    "app/timeout",
		Most:  3,
		Title: "A request that hangs is answered and ended",
		Why:   "Requests that never end hold memory, connections and database locks until nothing is left.",
		Ref:   "CWE-400; RFC 9110, 15.6.4; ASVS 5.0 V16.5.2; OWASP API4 2023; blueprint E5, T2",
		Waits: true,
	},
	Wrap: func(p *policy.Policy, _ Deps) (Middleware, error) {
		if p.App.Timeout <= 0 {
			return nil, p.Errorf("app.timeout", "30s suits most APIs", "the timeout is not positive: %v", p.App.Timeout)
		}
		return func(next Handler) Handler {
			return func(x *Exchange) {
				if !x.Answer.Begun() {
					x.Answer.armed, x.Answer.http1 = true, x.R.ProtoMajor == 1
					x.Answer.timer = time.AfterFunc(x.Route.Timeout, x.Answer.expire)
				}
				next(x)
			}
		}, nil
	},
	Value: func(_ *policy.Policy, r *Route) string {
		return "503 unless the answer begins within " + r.Timeout.String()
	},
	Verify: verifyTimeout,
}

// expire answers in the handler's place, unless its answer has begun. It runs
// in a goroutine of the timer's. It takes mu before it claims the answer, so
// that whoever finds the answer expired can wait for its end.
func (a *Answer) expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.state.expire() {
		return
	}
	x := a.x
	defer func() {
		if v := recover(); v != nil { // a panic here would end the process
			x.ring.deps.Log.LogAttrs(context.Background(), slog.LevelError, "the answer to a late request panicked",
				slog.String("exception.message", fmt.Sprint(v)), slog.String("ringwall.request_id", x.ID))
		}
	}()
	x.ctx.expire(http.ErrHandlerTimeout)
	// Before anything is written: net/http waits for a read of the body that
	// is under way when it writes the header.
	c := http.NewResponseController(a.w)
	_ = c.SetReadDeadline(time.Unix(1, 0)) // unsupported by some writers in tests: the context is cancelled all the same
	if a.http1 {
		a.set("Connection", closeConnection)
	}
	x.refuse(&Denied{Control: "app/timeout", Kind: audit.RequestTimedOut, Status: http.StatusServiceUnavailable,
		Detail: "The service did not answer in time.",
		Err:    fmt.Errorf("no answer began within %v", x.Route.Timeout)}, true)
	_ = c.Flush()
}

// longestWait bounds the proof: it has to wait for the timeout itself.
const longestWait = 35 * time.Second

// verifyTimeout sends a body that does not end, and waits for the answer.
func verifyTimeout(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	t, err := quickestRoute(p, c)
	if err != nil {
		return check.Unseen("%v", err)
	}
	quick, err := c.Do(ctx, t.request(http.MethodPost, t.media, t.body))
	if err != nil {
		return check.Unseen("no answer to POST %s: %v", t.path, err)
	}
	conn, err := c.Dial(ctx)
	if err != nil {
		return check.Unseen("connect: %v", err)
	}
	defer conn.Close()
	limit := t.route.Timeout
	patience := limit + limit/4 + time.Second
	conn.SetDeadline(time.Now().Add(patience))
	auth := ""
	if t.token != "" {
		auth = "Authorization: Bearer " + t.token + "\r\n"
	}
	// It comes, fast enough not to be cut as too slow, and does not end.
	const second = 2000
	length := min(int(patience/time.Second+1)*second, int(p.App.Body))
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: ringwall-check\r\n%sContent-Type: %s\r\nContent-Length: %d\r\n\r\n{",
		t.path, c.Base().Host, auth, t.media, length)
	if err != nil {
		return check.Unseen("send POST %s: %v", t.path, err)
	}
	drip := time.NewTicker(time.Second)
	answered := make(chan struct{})
	go func() {
		defer drip.Stop()
		for sent := second + 1; sent < length; sent += second {
			select {
			case <-drip.C:
				_, _ = io.WriteString(conn, strings.Repeat(" ", second)) // a failure shows in the answer
			case <-answered:
				return
			}
		}
	}()
	began := time.Now()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	close(answered)
	took := time.Since(began).Round(10 * time.Millisecond)
	what := "POST " + t.path + " with a body that does not end"
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		return check.Failed(fmt.Sprintf("%s was not answered within %v", what, patience.Round(time.Second)),
			fmt.Sprintf("503 after %v", limit), "put the app ring in front of the API, or set a request timeout there")
	}
	if err != nil {
		return check.Unseen("%s: %v", what, err)
	}
	res.Body.Close()
	switch {
	case took < limit/2:
		return check.Unseen("%s was answered %d after %v, before the timeout of %v", what, res.StatusCode, took, limit)
	case res.StatusCode != http.StatusServiceUnavailable:
		return check.Failed(fmt.Sprintf("%s was answered %d after %v", what, res.StatusCode, took),
			fmt.Sprintf("503 after %v", limit), "put the app ring in front of the API")
	}
	return check.Passed("%s was answered 503 after %v, one that came at once %d", what, took, quick.Status)
}

// quickestRoute picks the route to prove the timeout on: one whose handler is
// reached and has the shortest timeout.
func quickestRoute(p *policy.Policy, c *probe.Client) (t target, err error) {
	rs, err := compileRoutes(p)
	if err != nil {
		return t, fmt.Errorf("the policy's routes do not compile: %w", err)
	}
	for _, path := range probePaths(p) {
		route, _, _ := rs.match(http.MethodPost, path)
		token, admitted := tokenFor(p, c, route)
		if route.Builtin || !admitted || t.route != nil && t.route.Timeout <= route.Timeout ||
			!slices.Contains(route.ContentTypes, jsonMedia) {
			continue
		}
		t = target{path: path, token: token, route: route, media: jsonMedia, body: "{}"}
	}
	switch {
	case t.route == nil:
		return t, errors.New("no route takes JSON from a caller whose token is given: give `ringwall check` a token")
	case t.route.Timeout > longestWait:
		return t, fmt.Errorf("the shortest timeout is %v, and a check waits at most %v: give a route a shorter one", t.route.Timeout, longestWait)
	}
	return t, nil
}
