package edge

import "github.com/ringwall/ringwall/policy"

// What edge.max_connections is when the policy does not say. A connection may
// need one to the upstream besides, and what the program has open comes on top:
// so a third of the files that may be open. A connection with TLS takes some
// 50 kB, so that the most take 1 GB.
const (
	fewFiles  = 1024 // where the limit is not known
	mostByUs  = 20_000
	leastByUs = 64
)

func maxConnections(p *policy.Policy) int {
	if n := p.Edge.MaxConnections; n > 0 {
		return n
	}
	return max(min(openFiles()/3, mostByUs), leastByUs)
}
