package edge

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// Bans keeps who is banned. It is an audit.Sink: each event counts its weight
// against the address that it came from, half of an address's points are
// forgotten every 5 minutes, and from edge.bans.threshold on the address is
// banned, for edge.bans.for the first time and twice as long each further time,
// to edge.bans.most. An ended ban is remembered for edge.bans.most.
//
// An address is an IPv4 address or an IPv6 /64, and all who share it are out
// with it. Never banned are those of edge.bans.allow, trusted proxies, whose
// clients are judged each for himself, those with a Reprieve, and 127.0.0.1 and ::1, from where this
// machine's own programs call. Other loopback addresses are like any address,
// so that a ban can be seen on one machine.
//
// What is held is bounded: see scores and banTable. It is safe for concurrent
// use.
type Bans struct {
	dir    state.Dir // "": not kept
	banner Banner
	clock  func() time.Time
	sink   audit.Sink

	rules  atomic.Pointer[banRules]
	scores *scores
	table  *banTable

	reprieves  atomic.Pointer[[]Reprieve] // never nil; replaced, never changed
	reprieving sync.Mutex                 // held to replace it

	retired atomic.Bool // the file is another process's
	dirty   atomic.Bool // since the last Save
	failing atomic.Bool // the last Save did
	dropped atomic.Uint64
	evicted atomic.Uint64
	orders  chan order
	again   chan struct{} // the Banner is to be told everything
}

// BansConfig is what a Bans is given; the zero value works.
type BansConfig struct {
	Dir    state.Dir        // where bans are kept, in bans.json; "": they end with the process
	Banner Banner           // is told of every ban; nil: nobody
	Now    func() time.Time // nil: time.Now
}

// NewBans has no bans; Load reads those that were kept. It bans nobody for
// events until Follow has given it a policy.
func NewBans(c BansConfig) *Bans {
	b := &Bans{dir: c.Dir, banner: c.Banner, clock: c.Now, sink: audit.Discard, table: newBanTable()}
	if b.clock == nil {
		b.clock = time.Now
	}
	if b.banner != nil {
		b.orders, b.again = make(chan order, maxOrders), make(chan struct{}, 1)
	}
	b.scores = newScores(b.clock())
	b.reprieves.Store(new([]Reprieve))
	b.rules.Store(&banRules{off: true, first: 10 * time.Minute, most: 24 * time.Hour, spared: slices.Clone(ownLoopback)})
	return b
}

// Tell says where the events of bans go: ban.added, ban.ended, ban.removed and
// ban.failed. ringwall.New calls it, before anything else is done.
func (b *Bans) Tell(sink audit.Sink) { b.sink = sink }

// banRules are what one policy says of bans.
type banRules struct {
	off         bool // a waiver
	threshold   float64
	first, most time.Duration
	spared      []netip.Prefix
}

var ownLoopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("::1/128")}

func newBanRules(p *policy.Policy, now time.Time) *banRules {
	c := p.Edge.Bans
	w, waived := p.Waived("edge/bans")
	return &banRules{off: waived && !w.Expired(now), threshold: float64(c.Threshold), first: c.For, most: c.Most,
		spared: slices.Concat(ownLoopback, p.Edge.TrustedProxies, c.Allow)}
}

// spares reports whether the whole prefix may never be banned.
func (r *banRules) spares(p netip.Prefix) bool {
	for _, s := range r.spared {
		if s.Bits() <= p.Bits() && s.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// sparesAddr does not allocate.
func (r *banRules) sparesAddr(a netip.Addr) bool {
	for _, s := range r.spared {
		if s.Contains(a) {
			return true
		}
	}
	return false
}

// Follow takes a policy that has come into force. Bans of addresses that it
// spares are lifted.
func (b *Bans) Follow(p *policy.Policy) {
	r := newBanRules(p, b.clock())
	b.rules.Store(r)
	var lifted []Ban
	b.table.mu.Lock()
	for prefix, ban := range b.table.held {
		if r.spares(prefix) {
			if ban.heap != &b.table.over {
				lifted = append(lifted, ban.Ban)
			}
			b.table.drop(ban)
		}
	}
	b.table.mu.Unlock()
	for _, ban := range lifted {
		b.lifted(audit.BanRemoved, ban, "", "the policy spares it")
	}
	b.tellAgain()
}

// Record counts an event against its client. Whoever gives identity a sink of
// its own gives it this one too, with audit.Tee.
func (b *Bans) Record(e audit.Event) {
	r := b.rules.Load()
	if r.off || !e.Client.IsValid() {
		return
	}
	row := weigh(&e)
	client := e.Client.Unmap().WithZone("")
	if row < 0 || r.sparesAddr(client) || b.reprieved(client) {
		return
	}
	now := b.clock()
	points, full := b.scores.add(limit.Addr(client), row, e.RequestID, now, r.threshold)
	if full != nil {
		b.ban(client, r, points, full, now)
	}
}

// ban bans an address for its events, unless it is banned already: what was
// under way when it was banned adds nothing.
func (b *Bans) ban(client netip.Addr, r *banRules, points float64, s *sheet, now time.Time) {
	ban := Ban{Prefix: bannedAs(client), Began: now, Times: 1, Events: s.events()}
	ban.Reason = fmt.Sprintf("%.0f points: %s", points, listEvents(ban.Events))
	t := b.table
	t.mu.Lock()
	if t.find(client, now) != nil {
		t.mu.Unlock()
		return
	}
	if old := t.held[ban.Prefix]; old != nil && now.Before(old.Until.Add(r.most)) {
		ban.Times = old.Times + 1
	}
	ban.Until = now.Add(banLength(r.first, r.most, ban.Times))
	evicted := t.put(ban)
	t.mu.Unlock()
	b.added(ban, evicted)
}

func listEvents(events []BanEvent) string {
	parts := make([]string, len(events))
	for i, e := range events {
		parts[i] = fmt.Sprintf("%d %s", e.Count, e.Kind)
	}
	return strings.Join(parts, ", ")
}

// BanStats counts.
type BanStats struct {
	Active  int    // bans in force
	Dropped uint64 // connections closed at accept and requests hung up on
	Evicted uint64 // bans ended early for want of room
}

// Stats is cheap enough for a scrape.
func (b *Bans) Stats() BanStats {
	b.table.mu.RLock()
	n := b.table.inForce()
	b.table.mu.RUnlock()
	return BanStats{Active: n, Dropped: b.dropped.Load(), Evicted: b.evicted.Load()}
}

// refuses reports whether a is banned and not spared, and counts it then. now
// is asked only while there are bans.
func (b *Bans) refuses(a netip.Addr, r *banRules, now func() time.Time) bool {
	if b.table.empty.Load() || !b.table.holds(a, now) || r.sparesAddr(a) || b.reprieved(a) {
		return false
	}
	b.dropped.Add(1)
	return true
}

// added says that a ban is in force, and which one had to go for it.
func (b *Bans) added(ban Ban, evicted *Ban) {
	if evicted != nil {
		b.evicted.Add(1)
		b.lifted(audit.BanEnded, *evicted, "", "early: there is no room for more bans")
	}
	b.dirty.Store(true)
	b.order(order{ban: ban})
	b.event(audit.BanAdded, ban, ban.By, "until "+ban.Until.UTC().Format(time.RFC3339)+": "+ban.Reason)
}

// lifted says that a ban is over.
func (b *Bans) lifted(kind audit.Kind, ban Ban, by, detail string) {
	b.dirty.Store(true)
	b.order(order{ban: ban, lift: true})
	b.event(kind, ban, by, detail)
}

func (b *Bans) event(kind audit.Kind, ban Ban, by, detail string) {
	if detail = strings.TrimSpace(detail); !ban.Prefix.IsSingleIP() {
		detail = strings.TrimSuffix(ban.Prefix.String()+" "+detail, " ")
	}
	if by != "" {
		by = "os:" + by
	}
	b.sink.Record(audit.Event{Time: b.clock(), Kind: kind, Outcome: audit.Success, Control: "edge/bans",
		Client: ban.Prefix.Addr(), Subject: by, Detail: detail})
}

func (b *Bans) failed(detail string) {
	b.sink.Record(audit.Event{Time: b.clock(), Kind: audit.BanFailed, Outcome: audit.Failure, Control: "edge/bans", Detail: detail})
}
