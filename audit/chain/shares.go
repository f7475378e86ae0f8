package chain

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// A share is how much of one kind is stored event by event. What is above it is
// counted, and the count is stored once a minute: a flood grows a number, not
// the table, and takes nothing from the other kinds.
type share struct {
	each   int // events of one caller in a minute; 0: all
	burst  int // of all callers at once; 0: all
	refill int // and then in a minute
	room   int // bytes that may wait while the store is out
}

var (
	// strangers cause these without a credential, as many as they like. 5 a minute
	// from one address and 10 from all keeps one address from using up the share
	// of the others. Each kind adds at most 14,700 rows on a day.
	strangers = share{each: 5, burst: 300, refill: 10, room: 128 << 10}
	// callers cause these with an account that is good.
	callers = share{each: 30, room: 1 << 20}
	// few are the acts of operators and of the server, and what uses up an account,
	// a session or a mailed secret. All of them are stored.
	few = share{room: 1 << 20}
)

// shares places every kind; one that is not here is treated as callers are.
var shares = map[audit.Kind]share{
	audit.AuthFailed:        strangers,
	audit.TokenForged:       strangers,
	audit.AuthExpired:       strangers,
	audit.AccessDenied:      strangers,
	audit.RateBlocked:       strangers,
	audit.ScannerRefused:    strangers,
	audit.ConnectionRefused: strangers,
	audit.ConnectionSlow:    strangers,
	audit.OriginRefused:     strangers,
	audit.CrossSiteRefused:  strangers,
	audit.InputRefused:      strangers,
	audit.ProtocolRefused:   strangers,
	audit.HeaderForged:      strangers,
	audit.HandlerPanicked:   strangers,
	audit.RequestTimedOut:   strangers,
	audit.UpstreamFailed:    strangers,
	audit.ResetRequested:    strangers,
	audit.AttemptDelayed:    strangers,
	audit.StoreFailed:       strangers,
	audit.MailFailed:        strangers,

	audit.PasswordChanged: callers,
	audit.SignedIn:        callers,
	audit.SignedOut:       callers,
	audit.TokenRefreshed:  callers,

	audit.UpstreamDown:    few,
	audit.UpstreamUp:      few,
	audit.PolicyLoaded:    few,
	audit.PolicyKept:      few,
	audit.AccountCreated:  few,
	audit.AccountVerified: few,
	audit.AccountDeleted:  few,
	audit.AccountLocked:   few,
	audit.AccountUnlocked: few,
	audit.RolesChanged:    few,
	audit.InviteCreated:   few,
	audit.InviteWithdrawn: few,
	audit.PasswordReset:   few,
	audit.TokenReused:     few,
	audit.KeyRotated:      few,
	audit.KeyRevoked:      few,
	audit.StoreRestored:   few,
	audit.StoreMoved:      few,
	audit.ServerStarted:   few,
	audit.ServerStopped:   few,

	audit.CertificateLoaded:   few,
	audit.CertificateKept:     few,
	audit.CertificateObtained: few,
	audit.CertificateFailed:   few,
	audit.CertificateExpiring: few,

	audit.BanAdded:   strangers,
	audit.BanEnded:   strangers,
	audit.BanFailed:  strangers,
	audit.BanRemoved: few,
	audit.BanSpared:  few,

	audit.TrafficSpiked: few,
	audit.TrafficCalmed: few,
	audit.NoticeFailed:  few,
	audit.CheckDrifted:  few,

	audit.AuditSummarised: few,
	audit.AuditLost:       few,
	audit.AuditAnchored:   few,
	audit.AuditPruned:     few,
	audit.AuditBroken:     few,
}

func shareOf(k audit.Kind) share {
	if s, ok := shares[k]; ok {
		return s
	}
	return callers
}

// maxActors bounds whom a kind keeps count of in a minute; those beyond are
// treated as over their share.
const maxActors = 1 << 16

// A meter is the state of one kind's share.
type meter struct {
	kind audit.Kind
	share
	waiting int // bytes of this kind in the queue

	tokens float64 // of burst
	filled time.Time
	began  time.Time // of the minute that actors counts
	actors map[actor]int

	above, lost tally
}

func newMeter(k audit.Kind, now time.Time) *meter {
	s := shareOf(k)
	return &meter{kind: k, share: s, tokens: float64(s.burst), filled: now, began: now, actors: map[actor]int{}}
}

// An actor is who is held to share.each.
type actor struct {
	subject string
	client  netip.Addr
}

// actor is the account for what callers do. For what strangers do it is the
// address, in IPv6 the /64 network, as they choose which account they name.
func (m *meter) actor(e audit.Event) actor {
	client := e.Client
	if client.Is6() && !client.Is4In6() {
		if p, err := client.Prefix(64); err == nil {
			client = p.Addr()
		}
	}
	if m.burst > 0 && client.IsValid() || e.Subject == "" {
		return actor{client: client}
	}
	return actor{subject: e.Subject[:min(len(e.Subject), 64)]}
}

// within takes e out of the share, and reports false when it is used up.
func (m *meter) within(e audit.Event, now time.Time) bool {
	a := m.actor(e)
	if m.each == 0 || m.burst == 0 && a == (actor{}) { // no caller: an operator, on the server
		return true
	}
	if now.Sub(m.began) >= time.Minute {
		m.began = now
		clear(m.actors)
	}
	n, known := m.actors[a]
	if n >= m.each || !known && len(m.actors) >= maxActors {
		return false
	}
	if m.burst > 0 {
		m.tokens = min(float64(m.burst), m.tokens+now.Sub(m.filled).Minutes()*float64(m.refill))
		m.filled = now
		if m.tokens < 1 {
			return false
		}
		m.tokens--
	}
	a.subject = strings.Clone(a.subject) // it may be a part of something large
	m.actors[a] = n + 1
	return true
}

// A tally counts events that are not stored one by one.
type tally struct {
	count        int64
	since, until time.Time
	outcome      audit.Outcome // of all, "" when they differ
	clients      []netip.Addr  // the first different ones, at most maxClients
	others       bool
}

const maxClients = 8

func (t *tally) add(e audit.Event) {
	at := stamp(e.Time)
	if t.count == 0 {
		t.outcome = e.Outcome
	} else if t.outcome != e.Outcome {
		t.outcome = ""
	}
	if t.count == 0 || at.Before(t.since) {
		t.since = at
	}
	if at.After(t.until) {
		t.until = at
	}
	t.count++
	if t.others || !e.Client.IsValid() {
		return
	}
	if slices.Contains(t.clients, e.Client) {
		return
	}
	if t.others = len(t.clients) == maxClients; !t.others {
		t.clients = append(t.clients, e.Client)
	}
}

// item is what the chain says of t.
func (t *tally) item(kind, of audit.Kind) item {
	text := make([]byte, 0, 256)
	for i, c := range t.clients {
		if i == 0 {
			text = append(text, "from "...)
		} else {
			text = append(text, ", "...)
		}
		text = c.AppendTo(text)
	}
	if t.others {
		text = append(text, " and others"...)
	}
	return item{t.until, document(Record{Event: audit.Event{Kind: kind, Outcome: t.outcome, Detail: string(text)}, Of: of, Count: t.count, Since: t.since})}
}
