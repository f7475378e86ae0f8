package edge

import (
	"context"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// A Control is one thing that the edge enforces: how it is applied and how the
// wire proves it. The list of all is below.
type Control struct {
	check.Meta

	// Conn builds what is asked of every connection as it is accepted, before
	// TLS. It decides all that the policy decides. Nil: nothing to do there.
	Conn func(*policy.Policy, *State) (Admit, error)

	// Gate builds what is asked of every request once the client's address is
	// known, before the app ring looks at anything else. Nil: nothing to do there.
	Gate func(*policy.Policy, *State) (Judge, error)

	// Value says in one line what is in force, for `policy explain`. Nil: the title
	// says all.
	Value func(*policy.Policy) string

	// Verify proves the control from outside: it sends what must be stopped
	// and what must pass. It answers Unknown when it could not see.
	Verify func(context.Context, *policy.Policy, *probe.Client) check.Finding

	// Size says how many requests Verify sends at most, and how many points they
	// earn, where that depends on the policy. Nil: as Meta says.
	Size func(*policy.Policy, *probe.Client) (requests, points int)

	// Here reports whether Verify can be tried from where it is run: some need what
	// root sees on the server itself. Nil: from anywhere.
	Here func(*policy.Policy, *probe.Client) bool

	// Inside says how to see the control on the server, where no answer can show
	// it: there is no Verify, or it is not Here.
	Inside string
}

// Admit judges a peer that has connected. A connection that is not ok is closed
// at once. release is called when an admitted one ends; it may be nil.
type Admit func(peer netip.Addr) (release func(), ok bool)

// Judge judges a request; nil lets it pass. It must be quick, must not block
// and must not write or keep the visit.
type Judge func(*Visit) *Refusal

// A Visit is a request at the gate.
type Visit struct {
	Request *http.Request
	Client  netip.Addr // v4-mapped folded; the zero one when it is not known
	Now     time.Time

	// Documented reports whether the API's OpenAPI document describes a
	// canonical path. Nil: there is no document.
	Documented func(path string) bool
}

// A Refusal ends a visit.
type Refusal struct {
	Control    string        // filled in by the Guard
	Hangup     bool          // the connection is closed, or the stream reset, without a byte of an answer
	Status     int           // of the answer otherwise
	Detail     string        // one plain sentence for the client, without anything of the request
	Err        error         // for the operator; nil: Detail says it
	RetryAfter time.Duration // 0: none is said
	Kind       audit.Kind    // "": no event
}

// Controls is the edge, in the order in which a connection and its requests
// meet them. A new control is one new file in this package and one line here.
func Controls() []Control { return slices.Clone(controls) }

var controls = []Control{
	behind,
	bans,
	connections,
	allConnections,
	slowClients,
	strictFraming,
	siteTLS,
	keyExchange,
	siteCertificate,
	plainRedirect,
	scanners,
	requestRate,
	securityTxt,
	forwarded,
	upstreamTimeouts,
}
