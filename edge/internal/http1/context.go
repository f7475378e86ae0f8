package http1

import (
	"context"
	"sync"
)

// A requestContext ends when the handler returns or the client is gone. It
// makes what waits for it only when somebody waits.
type requestContext struct {
	context.Context // of the connection, for its values

	mu    sync.Mutex
	done  chan struct{} // nil: nobody asked
	err   error
	after []*after
	first after // the room of one, and of its place in after
	room  [1]*after
}

// after is a function that waits for the end.
type after struct {
	c *requestContext
	f func()
}

func (a *after) stop() bool { return a.c.forget(a) }

var ended = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.done != nil:
	case c.err != nil:
		c.done = ended
	default:
		c.done = make(chan struct{})
	}
	return c.done
}

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is what context.AfterFunc does, without a context of its own for f.
// context.WithCancel and the like look for it, too.
func (c *requestContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	a := &c.first
	if c.after == nil {
		c.after = c.room[:0]
		*a = after{c, f}
	} else {
		a = &after{c, f}
	}
	c.after = append(c.after, a)
	return a.stop
}

func (c *requestContext) forget(a *after) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.after {
		if c.after[i] == a {
			last := len(c.after) - 1
			c.after[i], c.after[last] = c.after[last], nil
			c.after = c.after[:last]
			return true
		}
	}
	return false
}

func (c *requestContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for _, a := range c.after {
		go a.f()
	}
	c.after = nil
}
