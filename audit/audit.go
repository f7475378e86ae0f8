// Package audit defines the typed security events of every ring and where they
// go. It imports nothing of Ringwall's.
//
// An event never holds a password, a token, a cookie, a query value or a body:
// its fields are the ones below and no others.
package audit

import (
	"net/netip"
	"time"
)

// A Kind names what happened, as "noun.participle".
type Kind string

const (
	AuthFailed       Kind = "auth.failed"        // a credential that does not verify
	AuthExpired      Kind = "auth.expired"       // a good credential past its time; no sign of an attack
	AccessDenied     Kind = "access.denied"      // a known caller without the role or permission
	RateBlocked      Kind = "rate.blocked"       // a client over a rate class
	OriginRefused    Kind = "origin.refused"     // CORS: an origin that is not on the list
	CrossSiteRefused Kind = "cross_site.refused" // CSRF: a cookie-carrying request from elsewhere
	InputRefused     Kind = "input.refused"      // a body, parameter or content type that is not allowed
	ProtocolRefused  Kind = "protocol.refused"   // host, path, method or header that is ambiguous or unknown
	HeaderForged     Kind = "header.forged"      // a client sent a header that only Ringwall writes
	HandlerPanicked  Kind = "handler.panicked"   // the handler or the upstream's proxy panicked
	RequestTimedOut  Kind = "request.timed_out"  // no answer began within the route's timeout
	UpstreamFailed   Kind = "upstream.failed"    // the upstream could not be reached or broke off
	PolicyLoaded     Kind = "policy.loaded"      // a policy came into force
	PolicyKept       Kind = "policy.kept"        // a reload failed; the old policy stays in force
	ServerStarted    Kind = "server.started"
	ServerStopped    Kind = "server.stopped"
)

// An Outcome says whether the subject of the event got what it asked for.
type Outcome string

const (
	Success Outcome = "success"
	Failure Outcome = "failure"
)

// An Event is one security decision: who, what, from where, outcome.
// Empty fields are left out of every output.
type Event struct {
	Time      time.Time
	Kind      Kind
	Outcome   Outcome
	Control   string     // ID of the control that decided, such as "app/rate"
	Client    netip.Addr // the client's address, zero when there is none
	Subject   string     // the caller's id, when known
	Session   string     // the caller's session, when known
	RequestID string
	Method    string
	Path      string // canonical path, without the query; empty when it was refused
	Route     string // the policy's pattern
	Status    int    // HTTP status, 0 when there is none
	Detail    string // for the operator; may hold attacker's bytes, so sinks must encode it
}

// A Sink takes events. Record must not block for long, must be safe for
// concurrent use and never fails its caller: a sink that cannot write says so
// in its own way.
type Sink interface {
	Record(Event)
}

// Discard is a Sink that drops everything.
var Discard Sink = discard{}

type discard struct{}

func (discard) Record(Event) {}
