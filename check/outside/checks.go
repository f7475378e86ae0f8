package outside

import (
	"context"
	"slices"

	"github.com/ringwall/ringwall/check"
)

// A Check is one thing that any server can be held to.
type Check struct {
	check.Meta

	// Manner is what the check does to its target.
	Manner Manner

	// NoRing marks what no control of the rings is about. It is checked with a
	// policy, too.
	NoRing bool

	// Afar marks what cannot be seen of a server from itself: everything is
	// reachable on loopback. See says where to look instead.
	Afar bool
	See  string

	// Verify looks. It answers Unknown when it could not see.
	Verify func(context.Context, *Target) check.Finding
}

// Manner is how much a check asks of its target.
type Manner int

const (
	// Passive checks send what browsers send: a few GETs, preflights, handshakes.
	Passive Manner = iota
	// Active ones send what must be refused. They leave traces in logs, and may
	// earn their user a ban. They are for one's own servers.
	Active
	// Intrusive ones may slow a weak server down for others.
	Intrusive
)

// Checks lists all, in the order in which they are made: what any visitor does
// comes first, what uses up limits last.
func Checks() []Check { return slices.Clone(checks) }

var checks = []Check{
	certificate,
	tlsVersions,
	redirect,
	hsts,
	disclosure,
	nosniff,
	frames,
	contentPolicy,
	referrer,
	permissions,
	corsOrigins,
	cookies,
	http2,

	names,
	methods,
	malformed,
	bodySize,
	framing,
	forwarded,
	identityHeaders,
	tokens,
	crossSite,
	paths,
	secretFiles,
	ports,
	sshKeys,

	clientAddress,
	appRate,
	edgeRate,
	scanners,
	slowClients,
}
