package edge

import (
	"container/heap"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A Ban is one address, or a wider prefix, that is refused until a time.
type Ban struct {
	Prefix netip.Prefix `json:"address"`
	Began  time.Time    `json:"began"`
	Until  time.Time    `json:"until"`
	Reason string       `json:"reason"`
	By     string       `json:"by,omitempty"` // the operator; "": the server, for the events
	Times  int          `json:"times"`        // it was banned, this one included
	Events []BanEvent   `json:"events,omitempty"`
}

const (
	maxBans       = 100_000
	maxBansByHand = 10_000
)

// banTable holds bans and, for a while, those that have ended. At most 100,000
// in all. When it is full, those that have ended go first, then the server's own
// ban that ends soonest. An operator's ban is never put out.
type banTable struct {
	most int // bans; maxBans but in tests

	// empty spares the lock while there is nothing.
	empty atomic.Bool

	mu     sync.RWMutex
	held   map[netip.Prefix]*heldBan
	four   widths // of the prefixes in held
	six    widths
	auto   banHeap // in force, the server's own
	byHand banHeap // in force, operators'
	over   banHeap // remembered
}

type heldBan struct {
	Ban
	heap *banHeap
	at   int // in heap
}

func newBanTable() *banTable {
	t := &banTable{most: maxBans, held: map[netip.Prefix]*heldBan{}}
	t.empty.Store(true)
	return t
}

// holds reports whether a ban of a, or of a prefix around it, is in force. It
// does not allocate, and asks for the time only if there was such a ban.
func (t *banTable) holds(a netip.Addr, now func() time.Time) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, bits := range t.widthsOf(a).used {
		p, err := a.Prefix(int(bits))
		if err != nil {
			return false
		}
		if b := t.held[p]; b != nil && now().Before(b.Until) {
			return true
		}
	}
	return false
}

// find is the narrowest ban in force. The lock is held.
func (t *banTable) find(a netip.Addr, now time.Time) *heldBan {
	for _, bits := range t.widthsOf(a).used {
		p, err := a.Prefix(int(bits))
		if err != nil {
			return nil
		}
		if b := t.held[p]; b != nil && now.Before(b.Until) {
			return b
		}
	}
	return nil
}

// put adds a ban in force in the place of the prefix's last one, and returns
// the ban that had to go for want of room, if it was in force.
func (t *banTable) put(b Ban) (evicted *Ban) {
	if old := t.held[b.Prefix]; old != nil {
		t.drop(old)
	}
	for len(t.held) >= t.most {
		switch {
		case len(t.over) > 0:
			t.drop(t.over[0])
		case len(t.auto) > 0:
			out := t.auto[0].Ban
			evicted = &out
			t.drop(t.auto[0])
		default:
			return evicted // operators' alone, of which there are fewer
		}
	}
	h := &t.auto
	if b.By != "" {
		h = &t.byHand
	}
	t.insert(&heldBan{Ban: b}, h)
	return evicted
}

// insert adds a ban that is not held to a heap.
func (t *banTable) insert(b *heldBan, h *banHeap) {
	t.held[b.Prefix] = b
	t.widthsOf(b.Prefix.Addr()).add(b.Prefix.Bits())
	b.heap = h
	heap.Push(h, b)
	t.empty.Store(false)
}

// drop forgets a ban.
func (t *banTable) drop(b *heldBan) {
	heap.Remove(b.heap, b.at)
	delete(t.held, b.Prefix)
	t.widthsOf(b.Prefix.Addr()).remove(b.Prefix.Bits())
	t.empty.Store(len(t.held) == 0)
}

// end moves the bans whose time has come to those remembered, and returns them.
// It forgets those that ended more than memory ago.
func (t *banTable) end(now time.Time, memory time.Duration) (ended []Ban) {
	for _, h := range []*banHeap{&t.auto, &t.byHand} {
		for len(*h) > 0 && !now.Before((*h)[0].Until) {
			b := heap.Pop(h).(*heldBan)
			b.heap = &t.over
			heap.Push(b.heap, b)
			ended = append(ended, b.Ban)
		}
	}
	for len(t.over) > 0 && !now.Before(t.over[0].Until.Add(memory)) {
		t.drop(t.over[0])
	}
	return ended
}

func (t *banTable) inForce() int { return len(t.auto) + len(t.byHand) }

func (t *banTable) widthsOf(a netip.Addr) *widths {
	if a.Is4() {
		return &t.four
	}
	return &t.six
}

// widths counts the lengths of prefixes; used lists those that there are, the
// longest first.
type widths struct {
	count [129]int
	used  []uint8
}

func (w *widths) add(bits int) {
	if w.count[bits]++; w.count[bits] == 1 {
		w.used = append(w.used, uint8(bits))
		slices.SortFunc(w.used, func(a, b uint8) int { return int(b) - int(a) })
	}
}

func (w *widths) remove(bits int) {
	if w.count[bits]--; w.count[bits] == 0 {
		w.used = slices.DeleteFunc(w.used, func(b uint8) bool { return int(b) == bits })
	}
}

// banHeap is ordered by the end of bans.
type banHeap []*heldBan

func (h banHeap) Len() int           { return len(h) }
func (h banHeap) Less(i, j int) bool { return h[i].Until.Before(h[j].Until) }
func (h banHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i]; h[i].at, h[j].at = i, j }

func (h *banHeap) Push(x any) {
	b := x.(*heldBan)
	b.at = len(*h)
	*h = append(*h, b)
}

func (h *banHeap) Pop() any {
	old := *h
	last := len(old) - 1
	b := old[last]
	old[last] = nil
	*h = old[:last]
	return b
}

// banLength is that of an address's nth ban: twice as long each time, to most.
func banLength(first, most time.Duration, n int) time.Duration {
	d := first
	for ; n > 1 && d < most; n-- {
		if d > math.MaxInt64/2 {
			return most
		}
		d *= 2
	}
	return min(d, most)
}

// BannedAs is the prefix under which an address, or a prefix, is banned: an IPv6
// one no longer than /64, because one subscriber commands all of it.
func BannedAs(p netip.Prefix) netip.Prefix {
	a, bits := p.Addr(), p.Bits()
	if a.Is4In6() && bits >= 96 {
		a, bits = a.Unmap(), bits-96
	}
	if a.Is6() {
		bits = min(bits, 64)
	}
	return netip.PrefixFrom(a.WithZone(""), bits).Masked()
}

func bannedAs(a netip.Addr) netip.Prefix { return BannedAs(netip.PrefixFrom(a, a.BitLen())) }
