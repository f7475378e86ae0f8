package edge

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/limit"
)

// A Reprieve keeps an address from being banned for a short time, such as that
// of the machine from which `ringwall check` attacks. Everything else holds for
// it. It ends by itself, and with the process: it is not kept in the file.
type Reprieve struct {
	Prefix netip.Prefix `json:"address"`
	Until  time.Time    `json:"until"`
	By     string       `json:"by"`
}

// Bounds of a Reprieve. What is wider or longer belongs into edge.bans.allow,
// where it is read again.
const (
	LongestReprieve = 24 * time.Hour
	maxReprieves    = 64
	widestReprieve4 = 24
	widestReprieve6 = 48
)

// Spare gives an address or a prefix a reprieve, in the place of one that it has,
// lifts the ban that it has, and forgets what led to it. A ban of a wider prefix
// stays, and does not hold for it meanwhile. It is an error when the prefix is
// wider than an IPv4 /24 or an IPv6 /48, when the time is not between a second and
// a day, and when 64 others have one.
func (b *Bans) Spare(p netip.Prefix, length time.Duration, by string) (Reprieve, error) {
	if !p.IsValid() {
		return Reprieve{}, errors.New("that is no address")
	}
	p = BannedAs(p)
	switch least := map[bool]int{true: widestReprieve4, false: widestReprieve6}[p.Addr().Is4()]; {
	case p.Bits() < least:
		return Reprieve{}, fmt.Errorf("%s is too wide: the widest is a /%d; edge.bans.allow takes wider ones", p, least)
	case length < time.Second || length > LongestReprieve:
		return Reprieve{}, fmt.Errorf("%v: an address is spared for a second to 24 hours; edge.bans.allow spares for good", length)
	case by == "":
		return Reprieve{}, errors.New("nobody is named who spares")
	}
	now := b.clock()
	r := Reprieve{p, now.Add(length), by}
	if err := b.changeReprieves(func(held []Reprieve) ([]Reprieve, error) {
		held = slices.DeleteFunc(held, func(h Reprieve) bool { return h.Prefix == p || !now.Before(h.Until) })
		if len(held) >= maxReprieves {
			return nil, fmt.Errorf("%d addresses are spared, and that is the most: wait, or use edge.bans.allow", maxReprieves)
		}
		return append(held, r), nil
	}); err != nil {
		return Reprieve{}, err
	}
	b.event(audit.BanSpared, Ban{Prefix: p}, by, "until "+r.Until.UTC().Format(time.RFC3339))
	if _, err := b.Remove(p, by); err != nil { // it was not banned
		b.scores.forget(limit.Addr(p.Addr()))
	}
	return r, nil
}

// Reprieves are those in force, the first to end first.
func (b *Bans) Reprieves() []Reprieve {
	out := []Reprieve{}
	now := b.clock()
	for _, r := range *b.reprieves.Load() {
		if now.Before(r.Until) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y Reprieve) int { return x.Until.Compare(y.Until) })
	return out
}

// reprieved reports whether an address is spared now.
func (b *Bans) reprieved(a netip.Addr) bool {
	held := *b.reprieves.Load()
	if len(held) == 0 {
		return false
	}
	now := b.clock()
	return slices.ContainsFunc(held, func(r Reprieve) bool { return r.Prefix.Contains(a) && now.Before(r.Until) })
}

// endReprieves is called when an operator bans a prefix: that holds at once.
func (b *Bans) endReprieves(p netip.Prefix) {
	_ = b.changeReprieves(func(held []Reprieve) ([]Reprieve, error) {
		return slices.DeleteFunc(held, func(r Reprieve) bool { return p.Bits() <= r.Prefix.Bits() && p.Contains(r.Prefix.Addr()) }), nil
	})
}

// changeReprieves puts a changed copy in the place of the list.
func (b *Bans) changeReprieves(f func([]Reprieve) ([]Reprieve, error)) error {
	b.reprieving.Lock()
	defer b.reprieving.Unlock()
	next, err := f(slices.Clone(*b.reprieves.Load()))
	if err == nil && (len(next) > 0 || len(*b.reprieves.Load()) > 0) {
		b.reprieves.Store(&next)
		b.tellAgain()
	}
	return err
}
