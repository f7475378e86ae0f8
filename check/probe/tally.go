package probe

import (
	"context"
	"net"
	"slices"
	"sync"
)

// A Tally counts the connections of a check, and keeps the addresses that they went
// to. Its methods may be called at any time.
type Tally struct {
	// Heard is called after each request that Do sent, with its answer, nil when there
	// was none; nil: nobody is told.
	Heard func(Request, *Response)

	mu   sync.Mutex
	sent int
	at   []string
	lost error
	up   *Tally // that of who has the check made; nil: nobody
}

type tallyKey struct{}

// WithTally has what is opened under ctx told to t, and to the tally that ctx has.
func WithTally(ctx context.Context, t *Tally) context.Context {
	t.up, _ = ctx.Value(tallyKey{}).(*Tally)
	return context.WithValue(ctx, tallyKey{}, t)
}

// TalliedAt tells the tally of ctx of addresses that somebody connected to for it.
func TalliedAt(ctx context.Context, addresses ...string) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		for _, a := range addresses {
			if !slices.Contains(t.at, a) {
				t.at = append(t.at, a)
			}
		}
		t.mu.Unlock()
	}
}

// Sent is how many connections were opened, or tried.
func (t *Tally) Sent() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.sent
}

// Addresses are the IP addresses that connections went to, in the order in which
// they were met first.
func (t *Tally) Addresses() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.at)
}

// Lost is why the first request was not answered that the target may not have seen
// at all: no connection could be made, or nothing came in time. Nil: there was none.
func (t *Tally) Lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

func lost(ctx context.Context, err error) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		if t.lost == nil {
			t.lost = err
		}
		t.mu.Unlock()
	}
}

func heard(ctx context.Context, req Request, res *Response) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		if t.Heard != nil {
			t.Heard(req, res)
		}
	}
}

func tallied(ctx context.Context) {
	t, _ := ctx.Value(tallyKey{}).(*Tally)
	for ; t != nil; t = t.up {
		t.mu.Lock()
		t.sent++
		t.mu.Unlock()
	}
}

// hostOf is the host of an address with a port.
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}
