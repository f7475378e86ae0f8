package edge

import (
	"net/netip"
	"time"
)

// ConnectionCounts is connectionCounts for tests.
type ConnectionCounts struct{ c connectionCounts }

func (c *ConnectionCounts) Take(peer netip.Addr, most int, now func() time.Time) (func(), bool) {
	return c.c.take(peer, most, now)
}

// Len is how many clients are known.
func (c *ConnectionCounts) Len() (n int) {
	for i := range c.c {
		n += len(c.c[i].open)
	}
	return n
}

// OpenConnections is how many connections are open.
func (s *State) OpenConnections() int { return int(s.open.n.Load()) }
