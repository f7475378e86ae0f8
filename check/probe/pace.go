package probe

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Pace keeps a client within the rate that its target allows: Burst
// connections at once, then one in every Every. Each address of Fresh has its own.
type Pace struct {
	Burst int
	Every time.Duration
}

type pacer struct {
	pace Pace
	mu   sync.Mutex
	full time.Time // when nothing of the burst is used
	held time.Time // until when the target asked to wait
}

// hold notes that an answer asked to wait. Those that ask for longer than a day
// mean never.
func (p *pacer) hold(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if until := time.Now().Add(min(d, 24*time.Hour)); until.After(p.held) {
		p.held = until
	}
}

// retryAfter is how long Retry-After asks to wait: in seconds, or until a date
// (RFC 9110, 10.2.3); 0 for what is neither.
func retryAfter(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// Held is how long the target has asked this address to wait, by Retry-After of
// 429 and 503.
func (c *Client) Held() time.Duration {
	c.pacer.mu.Lock()
	defer c.pacer.mu.Unlock()
	return max(0, time.Until(c.pacer.held))
}

// wait returns when the next connection may be opened, or with ctx's error.
func (p *pacer) wait(ctx context.Context) error {
	return Pause(ctx, p.reserve(time.Now()))
}

// Pause waits, or returns ctx's error when that ends first.
func Pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reserve takes the next place and says how far off it is.
func (p *pacer) reserve(now time.Time) time.Duration {
	if p.pace.Every <= 0 {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full.Before(now) {
		p.full = now
	}
	p.full = p.full.Add(p.pace.Every)
	return p.full.Sub(now) - time.Duration(max(p.pace.Burst, 1))*p.pace.Every
}
