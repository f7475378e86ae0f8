package password

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// ErrBusy says that too many hashes are being computed. The error that is
// returned is a *Busy, which says when to come back.
var ErrBusy = errors.New("too many passwords are being checked")

// A Busy is ErrBusy with the time after which there is room again.
type Busy struct {
	RetryAfter time.Duration // whole seconds, at least one
}

func (b *Busy) Error() string { return fmt.Sprintf("%v; try again in %v", ErrBusy, b.RetryAfter) }

// Is makes errors.Is(err, ErrBusy) true.
func (b *Busy) Is(target error) bool { return target == ErrBusy }

// A gate bounds what runs at once, what waits for it, and for how long. Who
// waits is let in in the order of arrival.
type gate struct {
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
	wait    time.Duration
	busy    *Busy
}

func newGate(running, queue int, wait time.Duration) *gate {
	after := max(time.Second, (wait + time.Second - 1).Truncate(time.Second))
	return &gate{slots: make(chan struct{}, running), queue: int64(queue), wait: wait, busy: &Busy{RetryAfter: after}}
}

// enter returns nil when there is room; then leave must be called.
func (g *gate) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > g.queue {
		return g.busy
	}
	late := time.NewTimer(g.wait)
	defer late.Stop()
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-late.C:
		return g.busy
	}
}

func (g *gate) leave() { <-g.slots }
