package edge

import (
	"fmt"
	"time"

	"github.com/ringwall/ringwall/limit"
)

// When a process takes the place of another one, the bans go with it: those of
// the file, which the old process has saved just before, and those that the old
// one gives until its last connection has ended. Points stay behind, as half of
// them are forgotten every 5 minutes anyway: an attacker gains one more ban's
// worth of tries, once.

// Retire ends the keeping of the file, and the telling of the Banner, which are
// another process's from now on. It
// waits for a save under way. Bans go on to hold.
func (b *Bans) Retire() {
	if b.dir == "" || b.retired.Load() {
		return
	}
	if unlock, err := b.dir.Lock(bansLock); err == nil {
		defer unlock()
	}
	b.retired.Store(true)
}

// Since returns the bans in force that began at a time or later.
func (b *Bans) Since(t time.Time) (out []Ban) {
	for _, ban := range b.List() {
		if !ban.Began.Before(t) {
			out = append(out, ban)
		}
	}
	return out
}

// Adopt takes a ban over from another process, which has told of it already, and
// sees that the file has it. One that ends later stays.
func (b *Bans) Adopt(ban Ban) error {
	if err := ban.judge(); err != nil {
		return fmt.Errorf("a ban that was handed over: %w", err)
	}
	b.dirty.Store(true)
	now := b.clock()
	if b.rules.Load().spares(ban.Prefix) || !now.Before(ban.Until) || b.reprieved(ban.Prefix.Addr()) {
		return nil
	}
	ban.Until = now.Add(ban.Until.Sub(now)) // with a monotonic reading
	t := b.table
	t.mu.Lock()
	if old := t.held[ban.Prefix]; old != nil && !old.Until.Before(ban.Until) {
		t.mu.Unlock()
		return nil
	}
	evicted := t.put(ban)
	t.mu.Unlock()
	if evicted != nil {
		b.evicted.Add(1)
	}
	b.scores.forget(limit.Addr(ban.Prefix.Addr()))
	b.order(order{ban: ban})
	return nil
}
