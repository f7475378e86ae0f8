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
	TokenForged      Kind = "token.forged"       // a token in the form of a signed one that does not verify
	AuthExpired      Kind = "auth.expired"       // a good credential past its time, or its session's; no sign of an attack
	AccessDenied     Kind = "access.denied"      // a known caller without the role or permission
	RateBlocked      Kind = "rate.blocked"       // a client over a rate class
	ScannerRefused   Kind = "scanner.refused"    // a path that only scanners ask for
	OriginRefused    Kind = "origin.refused"     // CORS: an origin that is not on the list
	CrossSiteRefused Kind = "cross_site.refused" // CSRF: a cookie-carrying request from elsewhere
	InputRefused     Kind = "input.refused"      // a body, parameter, content type or length that is not allowed
	ProtocolRefused  Kind = "protocol.refused"   // host, path, method or header that is ambiguous or unknown
	HeaderForged     Kind = "header.forged"      // a client sent a header that only Ringwall writes
	HandlerPanicked  Kind = "handler.panicked"   // the handler or the upstream's proxy panicked
	RequestTimedOut  Kind = "request.timed_out"  // no answer began within the route's timeout
	UpstreamFailed   Kind = "upstream.failed"    // the upstream could not be reached or broke off
	UpstreamDown     Kind = "upstream.down"      // an upstream gets no requests while another is up
	UpstreamUp       Kind = "upstream.up"        // it gets them again
	PolicyLoaded     Kind = "policy.loaded"      // a policy came into force
	PolicyKept       Kind = "policy.kept"        // a reload failed; the old policy stays in force
	AccountCreated   Kind = "account.created"
	AccountVerified  Kind = "account.verified" // its address was proved
	AccountDeleted   Kind = "account.deleted"
	AccountLocked    Kind = "account.locked" // by an operator
	AccountUnlocked  Kind = "account.unlocked"
	RolesChanged     Kind = "roles.changed"
	InviteCreated    Kind = "invite.created"
	InviteWithdrawn  Kind = "invite.withdrawn"
	PasswordChanged  Kind = "password.changed" // by its owner, who knew the old one
	PasswordReset    Kind = "password.reset"   // with a mailed secret, or by an operator
	ResetRequested   Kind = "reset.requested"
	SignedIn         Kind = "session.started"
	SignedOut        Kind = "session.ended"
	TokenRefreshed   Kind = "token.refreshed"
	TokenReused      Kind = "token.reused"    // a refresh token used again: theft; the session was ended
	AttemptDelayed   Kind = "attempt.delayed" // a secret was not looked at: too many failures before
	KeyRotated       Kind = "key.rotated"
	KeyRevoked       Kind = "key.revoked"
	StoreFailed      Kind = "store.failed"   // the store could not be read or written
	StoreRestored    Kind = "store.restored" // from a backup; what happened in between is lost
	StoreMoved       Kind = "store.moved"    // to another database, with all that was in it
	MailFailed       Kind = "mail.failed"
	ServerStarted    Kind = "server.started"
	ServerStopped    Kind = "server.stopped"

	CertificateLoaded   Kind = "certificate.loaded"   // from files, at the start or since they changed
	CertificateKept     Kind = "certificate.kept"     // the new files do not load; the old certificate stays
	CertificateObtained Kind = "certificate.obtained" // from the authority
	CertificateFailed   Kind = "certificate.failed"   // the authority did not issue; an old certificate stays
	CertificateExpiring Kind = "certificate.expiring" // soon, and nobody has renewed it

	// What ends a connection, whatever was asked for on it.
	ConnectionRefused Kind = "connection.refused" // one too many of a client, or in all
	ConnectionSlow    Kind = "connection.slow"    // a client that sends or reads too slowly to be waited for

	BanAdded   Kind = "ban.added"   // an address is refused for a while
	BanEnded   Kind = "ban.ended"   // by itself, in time
	BanRemoved Kind = "ban.removed" // by an operator
	BanSpared  Kind = "ban.spared"  // by an operator: an address is not banned for a short time
	BanFailed  Kind = "ban.failed"  // bans could not be read or kept, or the firewall did not take one; the edge holds them all the same

	// What package watch sees and does.
	TrafficSpiked Kind = "traffic.spiked" // requests, or answers of one status, far above what is usual
	TrafficCalmed Kind = "traffic.calmed" // the end of a spike
	CheckDrifted  Kind = "check.drifted"  // ringwall check does not see a control in force any more that it saw before
	NoticeFailed  Kind = "notice.failed"  // nobody could be told of events by one of the ways of the policy

	// What audit/chain says about itself.
	AuditSummarised Kind = "audit.summarised" // events of one kind, counted instead of stored one by one
	AuditLost       Kind = "audit.lost"       // events that could not be stored
	AuditAnchored   Kind = "audit.anchored"   // the chain's last entry, told to the log
	AuditPruned     Kind = "audit.pruned"     // entries older than the policy keeps them were removed; the detail names the last of them
	AuditBroken     Kind = "audit.broken"     // the chain does not hold what was written
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
	Elsewhere bool   // by its own headers, a browser sent the request for a page of another site; not kept in the chain
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
