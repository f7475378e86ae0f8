package edge

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/loopback"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// upstreamTimeouts are edge.timeouts, in the transports. They always hold: a waiver
// only takes them out of reports.
var upstreamTimeouts = Control{
	Meta: check.Meta{
		ID:    "edge/upstream-timeouts",
		Title: "An API that hangs is given up, and its client told",
		Why:   "Each request to an API that does not answer holds a connection on both sides, until there is none left for the others.",
		Ref:   "RFC 9110, 15.6.5; CWE-400; blueprint E5, T2",
		Waits: true,
	},
	Inside: "check --intrusive as root on the server, or stop the API for a moment (kill -STOP PID) and ask for one of its pages: 504 after edge.timeouts.read, or 503 after app.timeout where that is shorter; then kill -CONT PID",
	Size:   func(p *policy.Policy, c *probe.Client) (requests, points int) { return reachRequests(p, c) + 1, 0 },
	Verify: verifyUpstreamTimeouts,
	Here:   func(p *policy.Policy, c *probe.Client) bool { return c.Intrusive() && upstreamHere(p, c) },
}

// longestStop is how long a proof keeps an API from answering at most.
const longestStop = 40 * time.Second

// verifyUpstreamTimeouts stops the API, asks for one of its pages, and has it go
// on as soon as that is answered.
func verifyUpstreamTimeouts(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	port, _ := loopback.Port(p.Behind()[0])
	limit := p.Edge.Timeouts.Read
	most := limit + limit/4 + time.Second
	if most > longestStop {
		return check.Unseen("edge.timeouts.read is %v, and a proof stops the API for %v at most", limit, longestStop)
	}
	tap, err := loopback.NewTap(port)
	if err != nil {
		return check.Unseen("%v", err)
	}
	path, token, _, err := reachesAPI(ctx, p, c, tap)
	tap.Close()
	if err != nil {
		return check.Unseen("%v", err)
	}
	api, err := loopback.Holders(port)
	if err != nil {
		return check.Unseen("%v", err)
	}
	if slices.Contains(api, os.Getpid()) {
		return check.Unseen("the API is the program that checks")
	}
	_, own, _ := net.SplitHostPort(c.Host())
	at, _ := strconv.Atoi(own)
	if front, err := loopback.Holders(at); err == nil && slices.ContainsFunc(front, func(pid int) bool { return slices.Contains(api, pid) }) {
		return check.Unseen("one process is both the edge and the API")
	}
	conn, err := c.Dial(ctx)
	if err != nil {
		return check.Unseen("connect: %v", err)
	}
	defer conn.Close()
	resume, err := loopback.Pause(api, most)
	if err != nil {
		return check.Unseen("stop the API: %v", err)
	}
	defer resume()
	began := time.Now()
	conn.SetDeadline(began.Add(most))
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	what := fmt.Sprintf("GET %s of an API that was stopped (processes %v)", path, api)
	_, err = io.WriteString(conn, get(c, path, token, "ringwall-check", "Connection: close\r\n"))
	var res *http.Response
	if err == nil {
		res, err = http.ReadResponse(bufio.NewReader(conn), nil)
	}
	took := time.Since(began).Round(10 * time.Millisecond)
	const fix = "put Ringwall's edge in front of the API, or set the proxy's read timeout"
	want := fmt.Sprintf("504 or 503 within %v", limit)
	switch {
	case err != nil && ctx.Err() == nil && took >= most-time.Second:
		return check.Failed(fmt.Sprintf("%s was not answered within %v", what, most.Round(time.Second)), want, fix)
	case err != nil:
		return check.Unseen("%s: %v", what, err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusGatewayTimeout && res.StatusCode != http.StatusServiceUnavailable {
		return check.Unseen("%s was answered %d after %v: was it the API's answer?", what, res.StatusCode, took)
	}
	return check.Passed("%s was answered %d after %v", what, res.StatusCode, took)
}
