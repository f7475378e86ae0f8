package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/limit"
)

// Errors of Add and Remove.
var (
	ErrSpared    = errors.New("is never banned: it is in edge.bans.allow, a trusted proxy, or this machine")
	ErrNotBanned = errors.New("is not banned")
)

// Bounds of what an operator bans.
const (
	LongestBan   = 366 * 24 * time.Hour
	widestBan4   = 8
	widestBan6   = 32
	longestCause = 200
)

// Add bans an address or a prefix for an operator, in the place of a ban that
// it has. It is an error when the policy spares all of it (ErrSpared), when it
// is wider than an IPv4 /8 or an IPv6 /32, when the time is not between a second
// and 366 days, when the reason holds more than a line of 200 bytes, and when
// operators have banned 10,000 already. Addresses in it that the policy spares
// still get in.
func (b *Bans) Add(p netip.Prefix, length time.Duration, reason, by string) (Ban, error) {
	ban := Ban{Reason: reason, By: by, Times: 1}
	if !p.IsValid() {
		return ban, errors.New("that is no address")
	}
	p = BannedAs(p)
	ban.Prefix = p
	switch least := map[bool]int{true: widestBan4, false: widestBan6}[p.Addr().Is4()]; {
	case p.Bits() < least:
		return ban, fmt.Errorf("%s is too wide: the widest is a /%d", p, least)
	case b.rules.Load().spares(p):
		return ban, fmt.Errorf("%s %w", showPrefix(p), ErrSpared)
	case length < time.Second || length > LongestBan:
		return ban, fmt.Errorf("%v: a ban lasts between a second and 366 days", length)
	case len(reason) > longestCause || strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsPrint(r) }):
		return ban, errors.New("the reason must be one line of at most 200 bytes")
	case by == "":
		return ban, errors.New("nobody is named who bans")
	}
	ban.Began = b.clock()
	ban.Until = ban.Began.Add(length)
	t := b.table
	t.mu.Lock()
	old := t.held[p]
	if len(t.byHand) >= maxBansByHand && (old == nil || old.heap != &t.byHand) {
		t.mu.Unlock()
		return ban, fmt.Errorf("%d addresses are banned by hand, and that is the most: remove some, or use the firewall", maxBansByHand)
	}
	if old != nil {
		ban.Times, ban.Events = old.Times+1, old.Events
	}
	evicted := t.put(ban)
	t.mu.Unlock()
	b.endReprieves(p)
	b.added(ban, evicted)
	return ban, nil
}

// Remove lifts the ban of an address or a prefix and forgets what led to it.
// ErrNotBanned says that there is none; one of a wider prefix is named and stays.
func (b *Bans) Remove(p netip.Prefix, by string) (Ban, error) {
	p = BannedAs(p)
	now := b.clock()
	t := b.table
	t.mu.Lock()
	held := t.held[p]
	if held == nil || !now.Before(held.Until) {
		wider := t.find(p.Addr(), now)
		t.mu.Unlock()
		if wider != nil && wider.Prefix.Bits() < p.Bits() {
			return Ban{}, fmt.Errorf("%s is banned as part of %s: remove that", showPrefix(p), wider.Prefix)
		}
		return Ban{}, fmt.Errorf("%s %w", showPrefix(p), ErrNotBanned)
	}
	t.drop(held)
	t.mu.Unlock()
	b.scores.forget(limit.Addr(p.Addr()))
	b.lifted(audit.BanRemoved, held.Ban, by, "")
	return held.Ban, nil
}

// List returns the bans in force, those that end first first.
func (b *Bans) List() []Ban {
	now := b.clock()
	t := b.table
	t.mu.RLock()
	out := make([]Ban, 0, t.inForce())
	for _, held := range t.held {
		if now.Before(held.Until) {
			out = append(out, held.Ban)
		}
	}
	t.mu.RUnlock()
	slices.SortFunc(out, func(x, y Ban) int {
		if c := x.Until.Compare(y.Until); c != 0 {
			return c
		}
		return x.Prefix.Addr().Compare(y.Prefix.Addr())
	})
	return out
}

// Standing is what is held against an address.
type Standing struct {
	Address   netip.Prefix `json:"address"` // as it would be banned
	Banned    bool         `json:"banned"`
	Spared    bool         `json:"spared"` // it is never banned: the policy says so
	Reprieve  *Reprieve    `json:"reprieve,omitempty"`
	Ban       *Ban         `json:"ban,omitempty"` // in force, or the last one that is remembered
	Points    float64      `json:"points"`        // towards the next ban
	Threshold float64      `json:"threshold"`
	Events    []BanEvent   `json:"events,omitempty"` // that the points are for
}

// Why tells what is held against an address: the ban in force, of it or of a
// prefix around it, or its last one, and what it has done since.
func (b *Bans) Why(a netip.Addr) Standing {
	a = a.Unmap().WithZone("")
	now := b.clock()
	r := b.rules.Load()
	out := Standing{Address: bannedAs(a), Spared: r.sparesAddr(a), Threshold: r.threshold}
	for _, r := range b.Reprieves() {
		if r.Prefix.Contains(a) {
			out.Reprieve = &r
		}
	}
	t := b.table
	t.mu.RLock()
	held := t.find(a, now)
	out.Banned = held != nil && !out.Spared && out.Reprieve == nil
	if held == nil {
		held = t.held[out.Address]
	}
	if held != nil {
		ban := held.Ban
		out.Ban = &ban
	}
	t.mu.RUnlock()
	if s, points, ok := b.scores.look(limit.Addr(a), now); ok && points >= scoreGone {
		out.Points, out.Events = points, s.events()
	}
	return out
}
