package edge

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Banner holds bans elsewhere as well, such as in the firewall, so that a
// banned address costs the edge nothing. It lets a ban end by itself when its
// time has come, if it can; Unban is called then too. No two of its methods are
// called at once. After an error, which is an event and changes nothing at the
// edge, it is told everything anew until it takes it.
type Banner interface {
	// Replace makes these the bans that it holds, and no others. Nothing from
	// the spared prefixes may be refused, whatever is banned around them.
	Replace(bans []Ban, spared []netip.Prefix) error

	// Ban adds one, or makes one that it has longer or shorter.
	Ban(Ban) error

	// Unban lifts one, and is no error when there is none.
	Unban(netip.Prefix) error

	// Check is an error when it has lost what it was told.
	Check() error
}

// Banners are several, such as the firewall and a proxy in front. Each is told,
// also when another one fails.
type Banners []Banner

// Replace tells all.
func (b Banners) Replace(bans []Ban, spared []netip.Prefix) error {
	return b.each(func(one Banner) error { return one.Replace(bans, spared) })
}

// Ban tells all.
func (b Banners) Ban(ban Ban) error { return b.each(func(one Banner) error { return one.Ban(ban) }) }

// Unban tells all.
func (b Banners) Unban(p netip.Prefix) error {
	return b.each(func(one Banner) error { return one.Unban(p) })
}

// Check asks all.
func (b Banners) Check() error { return b.each(Banner.Check) }

func (b Banners) each(do func(Banner) error) error {
	var errs []error
	for _, one := range b {
		errs = append(errs, do(one))
	}
	return errors.Join(errs...)
}

// order is one call of a Banner.
type order struct {
	ban  Ban
	lift bool
}

const (
	maxOrders   = 1024            // that wait for a Banner that is slow; with more, it is told everything at once
	manyOrders  = 64              // likewise, and sooner than one by one
	bannerCheck = 5 * time.Second // how often it is asked whether it still holds them
)

func (b *Bans) order(o order) {
	if b.banner == nil || b.retired.Load() {
		return
	}
	select {
	case b.orders <- o:
	default:
		b.tellAgain()
	}
}

// tellAgain has the Banner told everything.
func (b *Bans) tellAgain() {
	if b.banner == nil {
		return
	}
	select {
	case b.again <- struct{}{}:
	default: // it is to be told already
	}
}

// inForce is what the Banner is to hold: nothing while the control is waived.
func (b *Bans) inForce() (bans []Ban, spared []netip.Prefix) {
	r := b.rules.Load()
	spared = slices.Clone(r.spared)
	for _, r := range b.Reprieves() {
		spared = append(spared, r.Prefix)
	}
	if r.off {
		return nil, spared
	}
	return b.List(), spared
}

// tellBanner tells the Banner of what is in force, and then of each change.
func (b *Bans) tellBanner(ctx context.Context) {
	tick := time.NewTicker(bannerCheck)
	defer tick.Stop()
	var told []netip.Prefix // as spared
	whole, failing := true, false
	for now := true; ; {
		var err error
		if whole && now && !b.retired.Load() {
			for len(b.orders) > 0 {
				<-b.orders // the list has it
			}
			bans, spared := b.inForce()
			if err = b.banner.Replace(bans, spared); err == nil {
				whole, failing, told = false, false, spared
			}
		}
		if err == nil {
			now = true
			select {
			case o := <-b.orders:
				switch {
				case whole:
					now = false
				case len(b.orders) > manyOrders, b.rules.Load().off:
					whole = true
				case o.lift:
					err = b.banner.Unban(o.ban.Prefix)
				default:
					err = b.banner.Ban(o.ban)
				}
			case <-b.again:
				now, whole = !whole, true
			case <-tick.C:
				if b.retired.Load() {
					return // the process that follows tells it
				}
				if _, spared := b.inForce(); !whole && !slices.Equal(spared, told) {
					whole = true
				}
				if !whole {
					err = b.banner.Check()
				}
			case <-ctx.Done():
				return
			}
		}
		if err != nil {
			if !failing {
				failing = true
				b.failed(fmt.Sprintf("the edge alone refuses who is banned: %v", err))
			}
			whole, now = true, false // at the next tick
		}
	}
}

// showPrefix is how people write it: without the length of a single address.
func showPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
