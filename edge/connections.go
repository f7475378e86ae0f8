package edge

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// connections holds each client to edge.connections open connections at once.
// The client is its IPv4 address or its IPv6 /64. A connection beyond them is
// closed as it is accepted, before TLS and without an answer.
//
// Only open connections are counted, so that the counts are exact and nothing
// is ever forgotten: they take memory for as many addresses as there are
// connections, which edge.max_connections bounds. Connections of before a
// reload count on.
//
// An address's refusals raise one event a second at most.
var connections = Control{
	Meta: check.Meta{
		ID:     "edge/connections",
		Title:  "No client holds more connections than the edge allows",
		Why:    "Connections that do nothing cost a client nothing, and the server memory and files until nobody else gets in.",
		Ref:    "CWE-770; ASVS 5.0 V2.4.1; OWASP API4 2023; blueprint E3, T7, checklist 6",
		Spends: true,
	},
	Value: func(p *policy.Policy) string { return fmt.Sprintf("%d at once from one address", p.Edge.Connections) },
	Conn: func(p *policy.Policy, st *State) (Admit, error) {
		most := p.Edge.Connections
		if most < 1 {
			return nil, p.Errorf("edge.connections", "20 suits browsers and most clients", "%d connections let nobody in", most)
		}
		return func(peer netip.Addr) (func(), bool) {
			release, say := st.connections.take(peer, most, st.now)
			if say {
				st.record(audit.Event{Time: st.now(), Kind: audit.ConnectionRefused, Outcome: audit.Failure, Control: "edge/connections",
					Client: peer, Detail: fmt.Sprintf("more than %d connections at once", most)})
			}
			return release, release != nil
		}, nil
	},
	Size: func(p *policy.Policy, _ *probe.Client) (requests, points int) {
		return p.Edge.Connections + 6, 0 // those of one client and one more, of another, and where no path waits for a body
	},
	Verify: verifyConnections,
}

// connectionCounts counts the open connections of each client. Its zero value
// is ready.
type connectionCounts [16]struct {
	mu   sync.Mutex
	open map[limit.Key]*connectionCount
}

type connectionCount struct {
	n       int
	said    time.Time // when the last event was raised
	release func()    // one for all connections of the client
}

var connectionSeed = maphash.MakeSeed()

// take counts one more connection of peer. Over most it does not, and release
// is nil; say then tells whether to raise an event.
func (c *connectionCounts) take(peer netip.Addr, most int, now func() time.Time) (release func(), say bool) {
	key := limit.Addr(peer)
	s := &c[maphash.Comparable(connectionSeed, key)%uint64(len(c))]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.open[key]
	if e == nil {
		e = &connectionCount{}
		e.release = func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if e.n--; e.n == 0 {
				delete(s.open, key)
			}
		}
		if s.open == nil {
			s.open = map[limit.Key]*connectionCount{}
		}
		s.open[key] = e
	}
	if e.n >= most {
		if t := now(); t.Sub(e.said) >= time.Second {
			e.said, say = t, true
		}
		return nil, say
	}
	e.n++
	return e.release, false
}

// verifyConnections opens as many connections as the edge allows one address,
// and one more. A proxy may count those alone on which a request is under way:
// so when all were taken, each sends one that is not finished.
func verifyConnections(ctx context.Context, p *policy.Policy, c *probe.Client) check.Finding {
	const fix = "put Ringwall's edge in front of the API with edge.connections as it is in the policy, or limit connections in the proxy"
	most := p.Edge.Connections
	if most < 1 || most > 200 {
		return check.Unseen("edge.connections is %d, and more than 200 would be an attack", most)
	}
	want := fmt.Sprintf("connection %d closed, or its request refused", most+1)
	client, fresh := c.Fresh()
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	var refused error
	for range most + 1 {
		conn, err := client.Dial(ctx)
		if errors.Is(err, probe.ErrNoRequests) {
			return check.Unseen("%d connections were opened, then %v", len(open), err)
		}
		if err == nil && client.Base().Scheme == "http" { // no handshake has shown it
			err = closedAtOnce(conn, 200*time.Millisecond)
		}
		if err != nil {
			refused = err
			break
		}
		open = append(open, conn)
	}
	got := fmt.Sprintf("%d connections from one address at once, then closed", len(open))
	if len(open) == 0 {
		return check.Unseen("no connection: %v", refused)
	}
	allowed := len(open)
	if refused == nil {
		var why string
		if allowed, why = requestsHeld(ctx, p, client, open); why != "" {
			return check.Unseen("%d connections from one address were taken, and %s", len(open), why)
		}
		if allowed > most {
			return check.Shown(fmt.Sprintf("%d connections from one address at once were all taken, and a request on each", len(open)), want, fix)
		}
		got = fmt.Sprintf("%d requests under way from one address at once, then refused", allowed)
	}
	other, another := c.Fresh()
	if !another { // its own address is full; others cannot be asked
		return check.Passed("%s", got)
	}
	conn, err := other.Dial(ctx)
	if err != nil {
		return check.Unseen("%s (%v); and a second client's: %v", got, refused, err)
	}
	conn.Close()
	if fresh && allowed < most {
		if probe.IsTimeout(refused) { // whoever is that slow may have been busy
			return check.Unseen("%d connections from one address at once, then %v", allowed, refused)
		}
		return check.Failed(got, want, "load the policy that is checked against: ringwall policy reload")
	}
	return check.Passed("%s; a second client got in", got)
}

// requestsHeld has a request under way on each connection, one after the other,
// and returns how many were held before one was refused. why says that nothing
// can be learned: somewhere no body is waited for.
func requestsHeld(ctx context.Context, p *policy.Policy, c *probe.Client, open []net.Conn) (held int, why string) {
	paths := bodyPaths(p)
	patience := min(200*time.Millisecond, 8*time.Second/time.Duration(len(open))) // a header is not waited for much longer
	for i := 0; i < len(open); {
		_, err := io.WriteString(open[i], halfBody(c, paths[0]))
		if err == nil {
			err = closedAtOnce(open[i], patience)
		}
		switch {
		case ctx.Err() != nil:
			return 0, ctx.Err().Error()
		case err == nil:
			if i++; p.Edge.Rate.Requests > 0 && i > p.Edge.Rate.Burst/2 { // within the rate
				time.Sleep(p.Edge.Rate.Per / time.Duration(p.Edge.Rate.Requests))
			}
		case probe.IsTimeout(err):
			return 0, fmt.Sprintf("then the time of a connection was over, with %d requests under way", i)
		case i > 0:
			return i, ""
		case len(paths) == 1:
			return 0, fmt.Sprintf("no request could be held to see whether those count (%v)", err)
		default: // answered at once: this path waits for no body
			paths = paths[1:]
			open[i].Close()
			if open[i], err = c.Dial(ctx); err != nil {
				open[i] = open[len(open)-1] // for who closes them
				return 0, err.Error()
			}
		}
	}
	return len(open), ""
}

// closedAtOnce tells a connection that its target closes from one that waits
// for a request.
func closedAtOnce(conn net.Conn, patience time.Duration) error {
	conn.SetReadDeadline(time.Now().Add(patience))
	n, err := conn.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("it was answered")
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	}
	return err
}
