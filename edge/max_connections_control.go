package edge

import (
	"context"
	"errors"
	"fmt"
	"net"

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
	Onsite: func(p *policy.Policy, c *probe.Client) func(context.Context) check.Finding {
		if _, fresh := c.Fresh(); !fresh || !c.Intrusive() || p.Edge.Connections < 1 || p.Edge.MaxConnections < 1 || p.Edge.MaxConnections > floodMost {
			return nil
		}
		return func(ctx context.Context) check.Finding { return verifyMaxConnections(ctx, p, c) }
	},
}

// floodMost is the largest flood that a proof makes.
const floodMost = 1000

// verifyMaxConnections opens connections from ever new addresses, each as many as
// one may have, until one is refused.
func verifyMaxConnections(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	most := p.Edge.MaxConnections
	want := fmt.Sprintf("connection %d closed, whoever opens it", most+1)
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for len(open) <= most {
		client, _ := c.Fresh()
		for range min(p.Edge.Connections, most+1-len(open)) {
			conn, err := client.Dial(ctx)
			switch {
			case errors.Is(err, probe.ErrNoRequests), err != nil && ctx.Err() != nil:
				return check.Unseen("%d connections were opened, then %v: --max-requests %d lets the check open them all", len(open), err, most+int(c.Sent())+100)
			case err != nil && len(open) == 0:
				return check.Unseen("no connection: %v", err)
			case err != nil:
				return check.Passed("%d connections from %d addresses at once, and the next was closed", len(open), (len(open)-1)/p.Edge.Connections+1)
			}
			open = append(open, conn)
		}
	}
	return check.Failed(fmt.Sprintf("%d connections at once were all taken", len(open)), want,
		"put Ringwall's edge in front of the API with edge.max_connections as it is in the policy, or bound them in the proxy (nginx: worker_connections)")
}
