package app

import (
	"context"
	"sync/atomic"
)

// exchangeContext carries the Exchange to handlers without a further
// allocation for each value, and is cancelled when app/timeout answers. It
// becomes a real cancellable context only when somebody waits for it.
type exchangeContext struct {
	context.Context // net/http's
	x               *Exchange
	own             atomic.Pointer[cancellable]
	waits           atomic.Pointer[waiting]
	first           waiting // what waits points to
}

type cancellable struct {
	context.Context
	cancel context.CancelCauseFunc
}

type exchangeKey struct{}

func (c *exchangeContext) Value(key any) any {
	if key == (exchangeKey{}) {
		return c.x
	}
	if own := c.own.Load(); own != nil {
		return own.Value(key)
	}
	return c.Context.Value(key)
}

func (c *exchangeContext) Done() <-chan struct{} {
	if !c.x.Answer.armed {
		return c.Context.Done()
	}
	return c.cancellable().Done()
}

func (c *exchangeContext) Err() error {
	if own := c.own.Load(); own != nil {
		return own.Err()
	}
	return c.Context.Err()
}

func (c *exchangeContext) cancellable() *cancellable {
	if own := c.own.Load(); own != nil {
		return own
	}
	ctx, cancel := context.WithCancelCause(c.Context)
	if c.own.CompareAndSwap(nil, &cancellable{ctx, cancel}) {
		return c.own.Load()
	}
	cancel(nil)
	return c.own.Load()
}

// afterFuncer is a context that runs a function at its end by itself, as
// package context allows (see context.AfterFunc).
type afterFuncer interface {
	AfterFunc(f func()) (stop func() bool)
}

// A waiting function is run by whoever cancels first: the server, or app/timeout.
type waiting struct {
	f     func()
	leave func() bool // the server's context
	over  atomic.Bool
	taken atomic.Bool
}

func (w *waiting) stop() bool {
	w.leave()
	return !w.over.Swap(true)
}

func (w *waiting) run() {
	if !w.over.Swap(true) {
		w.f()
	}
}

// AfterFunc is what context.AfterFunc does. The first function that waits costs
// no context of its own where the server's can do without, too.
func (c *exchangeContext) AfterFunc(f func()) (stop func() bool) {
	if own := c.own.Load(); own != nil {
		return context.AfterFunc(own.Context, f)
	}
	server, ok := c.Context.(afterFuncer)
	switch {
	case !c.x.Answer.armed && ok:
		return server.AfterFunc(f)
	case !c.x.Answer.armed:
		return context.AfterFunc(c.Context, f)
	}
	w := &c.first
	if !ok || w.taken.Swap(true) {
		return context.AfterFunc(c.cancellable().Context, f)
	}
	w.f = f
	w.leave = server.AfterFunc(w.run)
	c.waits.Store(w)
	if own := c.own.Load(); own != nil && own.Err() != nil {
		go w.run()
	}
	return w.stop
}

// expire cancels the context before the server does.
func (c *exchangeContext) expire(cause error) {
	c.cancellable().cancel(cause)
	if w := c.waits.Load(); w != nil {
		go w.run()
	}
}
