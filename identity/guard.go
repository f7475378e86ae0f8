package identity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringwall/ringwall/store"
)

// guard bounds how often secrets are looked at. Every path that checks one asks
// look first, and then says what came of it: failed, passed, or release when the
// secret was not looked at after all.
//
// look counts the attempt as a failure at once, in the transaction that lets it
// through, so that attempts in parallel gain nothing; passed and release take
// that back. Who says nothing afterwards (a crash) has failed.
//
// When the store is out every method answers its error: the caller must then not
// look at the secret.
type guard struct {
	store  store.Attempts
	now    func() time.Time
	census census
	most   int // records of a kind
}

func newGuard(st store.Attempts, now func() time.Time) *guard {
	return &guard{store: st, now: now, most: maxAttempts}
}

// errDelayed leaves a transaction without a change.
var errDelayed = errors.New("delayed")

// look reports how long the attempt must wait; 0 means that the secret may be
// looked at, once, now, and that what came of it is to be told with counted. An
// attempt that must wait counts against no key.
func (g *guard) look(ctx context.Context, keys ...guardKey) (counted []guardKey, wait time.Duration, err error) {
	// Most attempts of an attack must wait, and that takes no write.
	for _, k := range keys {
		k, a, err := g.place(ctx, k)
		if err != nil {
			return nil, 0, fmt.Errorf("look at attempts: %w", err)
		}
		if wait := a.Until.Sub(g.time()); 0 < wait && wait <= k.rule.delay(a.Failures) {
			return nil, wait, nil
		}
		counted = append(counted, k)
	}
	for i, k := range counted {
		wait, err := g.reserve(ctx, k)
		if err != nil || wait > 0 {
			return nil, wait, errors.Join(err, g.release(ctx, counted[:i]...))
		}
	}
	return counted, 0, nil
}

// reserve counts an attempt against one key, unless it must wait.
func (g *guard) reserve(ctx context.Context, k guardKey) (wait time.Duration, err error) {
	now := g.time()
	var first bool
	_, err = g.store.UpdateAttempt(ctx, k.name, func(a *store.Attempt) error {
		first = a.Failures == 0
		delay := k.rule.delay(a.Failures)
		wait = max(0, a.Until.Sub(now))
		switch {
		case wait > delay && delay > 0: // the clock went back: no wait is longer than what was set
			wait, a.Until = delay, now.Add(delay)
			return nil
		case wait > 0 && delay > 0:
			return errDelayed
		}
		wait = 0
		k.rule.count(a, now)
		return nil
	})
	switch {
	case errors.Is(err, errDelayed):
		return wait, nil
	case err != nil:
		return 0, fmt.Errorf("count an attempt: %w", err)
	case first:
		g.census.add(k, 1)
	}
	return wait, nil
}

// failed says that the secret was wrong. look has counted that already; only
// where somebody's success has cleared the record meanwhile it is counted again.
func (g *guard) failed(ctx context.Context, keys ...guardKey) error {
	for _, k := range keys {
		a, err := g.store.Attempt(ctx, k.name)
		if err != nil {
			return fmt.Errorf("look at attempts: %w", err)
		}
		if a.Failures > 0 || k.rule.forget > 0 {
			continue
		}
		if err := g.update(ctx, k, func(a *store.Attempt) { k.rule.count(a, g.time()) }); err != nil {
			return err
		}
	}
	return nil
}

// passed says that the secret was right. The record of what is its owner's own
// is cleared; what is shared loses this attempt and nothing else.
func (g *guard) passed(ctx context.Context, keys ...guardKey) error {
	for _, k := range keys {
		back := takeBack
		if k.rule.forget == 0 {
			back = clearAttempt
		}
		if err := g.update(ctx, k, back); err != nil {
			return err
		}
	}
	return nil
}

// release says that the secret was not looked at after all: no key has the
// attempt counted. It is done also when ctx has ended.
func (g *guard) release(ctx context.Context, keys ...guardKey) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	for _, k := range keys {
		if err := g.update(ctx, k, takeBack); err != nil {
			return err
		}
	}
	return nil
}

func (g *guard) update(ctx context.Context, k guardKey, change func(*store.Attempt)) error {
	var rows int
	_, err := g.store.UpdateAttempt(ctx, k.name, func(a *store.Attempt) error {
		before := min(a.Failures, 1)
		change(a)
		rows = min(a.Failures, 1) - before
		return nil
	})
	if err != nil {
		return fmt.Errorf("count an attempt: %w", err)
	}
	g.census.add(k, rows)
	return nil
}

// time is now as the store keeps it.
func (g *guard) time() time.Time { return g.now().UTC().Truncate(time.Microsecond) }
