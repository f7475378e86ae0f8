package app

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// A rateClass is one class of app.limits with everything a request needs of it.
type rateClass struct {
	name    string
	rate    limit.Rate
	message string // for a refused client
	err     error  // for the operator, of a refusal
	denies  bool   // while the store is out
	policy  string // item of RateLimit-Policy
	seconds int    // largest value of t
	seen    []atomic.Pointer[rateItem]
}

// rateItem is an item of RateLimit. Header values outlive their request (HPACK
// keeps them in its table), so they are shared and never change.
type rateItem struct {
	remaining, wait int
	line            [1]string
}

// maxRateItems bounds what a class keeps: 1 MB or so. The blueprint's classes
// have 1,202 and 945 values.
const maxRateItems = 8192

func newRateClass(name string, l policy.Limit) (*rateClass, error) {
	r, err := limit.NewRate(name, l.Requests, l.Per, l.Requests)
	if err != nil {
		return nil, err
	}
	c := &rateClass{
		name: name, rate: r, message: l.Message,
		err:     errors.New("over " + rateLine(name, l)),
		policy:  fmt.Sprintf("%q;q=%d;w=%d", name, l.Requests, wholeSeconds(l.Per)),
		seconds: wholeSeconds(r.Interval()),
	}
	if c.message == "" {
		c.message = "Too many requests. Try again later."
	}
	switch l.OnStoreError {
	case "":
		c.denies = name != "global"
	case "deny":
		c.denies = true
	case "allow":
	default:
		return nil, fmt.Errorf("on_store_error is %q: it is allow or deny", l.OnStoreError)
	}
	c.seen = make([]atomic.Pointer[rateItem], min((r.Burst()+1)*(c.seconds+1), maxRateItems))
	return c, nil
}

// item is the class's item of RateLimit. It allocates only for a value that was
// not seen before, or was displaced in a class of more than 8192 values.
func (c *rateClass) item(d limit.Decision) *rateItem {
	wait := wholeSeconds(d.Next)
	slot := &c.seen[uint(d.Remaining*(c.seconds+1)+wait)%uint(len(c.seen))]
	if it := slot.Load(); it != nil && it.remaining == d.Remaining && it.wait == wait {
		return it
	}
	it := &rateItem{remaining: d.Remaining, wait: wait}
	it.line[0] = c.remaining(d) + ";t=" + strconv.Itoa(wait)
	slot.Store(it)
	return it
}

// remaining is the item without t, which is optional.
func (c *rateClass) remaining(d limit.Decision) string {
	return `"` + c.name + `";r=` + strconv.Itoa(d.Remaining)
}

// left is RateLimit of a request that was let through: one line for each class,
// as RFC 9651, section 3.1 allows for lists, so that the lines can be shared.
func (s *rateSet) left(state []limit.Decision, lines []string) []string {
	if len(state) == 1 {
		return s.classes[0].item(state[0]).line[:]
	}
	for i, d := range state {
		lines[i] = s.classes[i].item(d).line[0]
	}
	return lines
}

// refused is RateLimit of a refusal. Classes that have requests left are given
// without t: Retry-After should not be earlier than any t (the draft, section
// 5), and it is the wait for those that have none.
func (s *rateSet) refused(state []limit.Decision) []string {
	items := make([]string, len(state))
	for i, d := range state {
		if d.Allowed {
			items[i] = s.classes[i].remaining(d)
		} else {
			items[i] = s.classes[i].item(d).line[0]
		}
	}
	return []string{strings.Join(items, ", ")}
}

// wholeSeconds rounds up: who waits that long finds a request left.
func wholeSeconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// shortDuration is 15m, not 15m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}
