package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// allConnections is applied by State.Accept. It always holds: a waiver only takes
// it out of reports.
var allConnections = Control{
	Meta: check.Meta{
		ID:     "edge/max-connections",
		Title:  "All clients together hold no more connections than there is room for",
		Why:    "A flood from many addresses stays below every limit of one address, and would use up the files and the memory of the server.",
		Ref:    "CWE-770; blueprint E3, T2",
		Spends: true,
	},
	Inside: "a check would have to be the flood, and is one of at most 1,000 connections: on the server, with --intrusive and edge.max_connections in the policy. `ringwall policy show` has it, 0 being a third of the files of LimitNOFILE= in the unit; the log tells of each second in which one was refused (connection.refused)",
	Size: func(p *policy.Policy, _ *probe.Client) (requests, points int) {
		return p.Edge.MaxConnections + 2 + int(roomWait/roomPause) + 1, 0
	},
	Verify: verifyMaxConnections,
	Here: func(p *policy.Policy, c *probe.Client) bool {
		if !c.Intrusive() || p.Edge.Connections < 1 || p.Edge.MaxConnections < 1 || p.Edge.MaxConnections > floodMost {
			return false
		}
		_, fresh := c.Fresh()
		return fresh
	},
}

const (
	floodMost = 1000 // connections of the largest flood that a proof makes

	// How long it is tried, and how often, whether there is room again after it.
	roomWait, roomPause = 3 * time.Second, 200 * time.Millisecond
)

// verifyMaxConnections opens connections from ever new addresses, each as many as
// one may have, until one is refused. That it was the total is seen by another
// address, which must be refused as well, and let in once the others are gone.
func verifyMaxConnections(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	most := p.Edge.MaxConnections
	const fix = "put Ringwall's edge in front of the API with edge.max_connections as it is in the policy, or bound them in the proxy (nginx: worker_connections)"
	var open []net.Conn
	release := func() {
		for _, conn := range open {
			conn.Close()
		}
		open = nil
	}
	defer release()
	another := func() error {
		client, _ := c.Fresh()
		conn, err := client.Dial(ctx)
		if err == nil {
			open = append(open, conn)
		}
		return err
	}
	full := error(nil)
	for full == nil && len(open) <= most {
		client, _ := c.Fresh()
		for range min(p.Edge.Connections, most+1-len(open)) {
			conn, err := client.Dial(ctx)
			if err != nil {
				full = err
				break
			}
			open = append(open, conn)
		}
	}
	held := len(open)
	addresses := (held-1)/p.Edge.Connections + 1
	if full != nil && held > 0 && another() == nil {
		return check.Unseen("after %d connections one was closed (%v), and one from another address was not: something else than the total bounds them", held, full)
	}
	switch {
	case full == nil:
		return check.Failed(fmt.Sprintf("%d connections at once were all taken", held), fmt.Sprintf("connection %d closed, whoever opens it", most+1), fix)
	case errors.Is(full, probe.ErrNoRequests):
		return check.Unseen("%d connections were opened, then %v: --max-requests %d lets the check open them all", held, full, most+int(c.Sent())+100)
	case ctx.Err() != nil:
		return check.Unseen("%d connections were opened, then %v", held, ctx.Err())
	case held == 0:
		return check.Unseen("no connection: %v", full)
	}
	release()
	for end := time.Now().Add(roomWait); ; time.Sleep(roomPause) {
		err := another()
		if err == nil {
			break
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return check.Unseen("after %d connections none was taken any more, nor when these were closed again (%v): is the server well?", held, err)
		}
	}
	return check.Passed("%d connections from %d addresses at once; the next was closed, and taken when they had gone", held, addresses)
}
