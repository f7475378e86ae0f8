package edge

import (
	"sync"
	"time"
)

// AssertionHeader carries a signed statement of who calls, a JWT that ends
// within a minute. An upstream that others than the edge can reach verifies it
// instead of believing UserHeader.
const AssertionHeader = "X-Ringwall-Assertion"

const (
	// assertionFor is how long one is used again, so that signing is not a part
	// of every request.
	assertionFor = 10 * time.Second

	// assertionsMost bounds how many are kept. They are all forgotten when there
	// are more, which costs one signature for each caller.
	assertionsMost = 8 << 10
)

// assertions are those that were signed in the last seconds, by caller.
type assertions struct {
	sign func(Origin) string // nil: there are none

	mu    sync.Mutex
	since time.Time
	held  map[asserted]string
}

// asserted is all that an assertion says.
type asserted struct{ user, session, roles string }

// of returns the assertion of a caller; roles are o's, joined. It is empty when
// there is no signer, or it does not sign.
func (a *assertions) of(o Origin, roles string) string {
	if a.sign == nil {
		return ""
	}
	key, now := asserted{o.User, o.Session, roles}, time.Now()
	a.mu.Lock()
	if age := now.Sub(a.since); age < 0 || age >= assertionFor || len(a.held) >= assertionsMost {
		a.held, a.since = map[asserted]string{}, now
	}
	s, ok := a.held[key]
	a.mu.Unlock()
	if ok {
		return s
	}
	s = a.sign(o)
	a.mu.Lock()
	a.held[key] = s
	a.mu.Unlock()
	return s
}
