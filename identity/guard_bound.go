package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/ringwall/ringwall/store"
)

const (
	// attemptMemory is how long failures are remembered after the last one. Who
	// waits for it tries less than who waits for the longest delay each time.
	attemptMemory = 24 * time.Hour
	// maxAttempts is how many records of one kind there may be: of accounts, of
	// addresses, of devices. All together take about 300 MB.
	maxAttempts = 250_000
	// censusEvery is how often they are counted; what this process makes in
	// between is counted as it comes.
	censusEvery = time.Minute
)

// shared is what an attempt at k counts against once there are as many records
// of its kind as there may be: one of 65,536 that strangers share. Nothing is
// ever evicted, so that nobody gets a fresh record by making many. One failure is
// forgotten in three minutes, so that honest newcomers are delayed only while
// more than 364 attempts fail in a second.
func (k guardKey) shared() guardKey {
	sum := sha256.Sum256([]byte(k.name))
	return guardKey{k.kind() + "+:" + hex.EncodeToString(sum[:2]), sharedRule}
}

func (k guardKey) kind() string { kind, _, _ := strings.Cut(k.name, ":"); return kind }

// place says where an attempt at k counts, and gives the record. A key that has
// none gets its own only while its kind has room, and what it shares with others
// has been forgotten.
func (g *guard) place(ctx context.Context, k guardKey) (guardKey, store.Attempt, error) {
	own, err := g.store.Attempt(ctx, k.name)
	if err != nil || own.Failures > 0 {
		return k, own, err
	}
	shared := k.shared()
	a, err := g.store.Attempt(ctx, shared.name)
	if err != nil {
		return k, own, err
	}
	if shared.rule.left(a, g.time()) > 0 {
		return shared, a, nil
	}
	full, err := g.census.full(ctx, g, k)
	if full {
		return shared, a, err
	}
	return k, own, err
}

// A census knows about how many records of each kind there are.
type census struct {
	mu    sync.Mutex
	kinds map[string]*headcount
}

type headcount struct {
	n     int
	taken time.Time
}

// full reports whether there are as many records of k's kind as there may be.
func (c *census) full(ctx context.Context, g *guard, k guardKey) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, h := g.time(), c.kinds[k.kind()]
	if h == nil || now.Sub(h.taken).Abs() >= censusEvery {
		n, err := g.store.CountAttempts(ctx, k.kind()+":")
		if err != nil {
			return false, err
		}
		h = &headcount{n, now}
		if c.kinds == nil {
			c.kinds = map[string]*headcount{}
		}
		c.kinds[k.kind()] = h
	}
	return h.n >= g.most, nil
}

// add counts records that were made, or removed.
func (c *census) add(k guardKey, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.kinds[k.kind()]; h != nil {
		h.n += n
	}
}

// prune removes records that are old. It is to run every few minutes.
func (g *guard) prune(ctx context.Context) (int, error) {
	return g.store.PruneAttempts(ctx, g.time().Add(-attemptMemory))
}
