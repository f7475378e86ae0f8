package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"time"

	"github.com/ringwall/ringwall/store"
)

// A guardRule says when failures begin to delay, and what forgets them.
type guardRule struct {
	free   int           // the failure from which each one delays the next attempt
	forget time.Duration // one failure is forgotten each; 0: a success forgets all
}

var (
	// ownRule is for what one person has: an account, a device.
	ownRule = guardRule{free: 5}
	// sharedRule is for what strangers share or an attacker has a hand in: an
	// attacker's own success takes nothing back but its own attempt.
	sharedRule = guardRule{free: 20, forget: 3 * time.Minute}
)

const (
	minDelay = time.Second
	maxDelay = 15 * time.Minute

	maxFailures = 1000 // counted; more make no difference
)

// delay is how long no attempt is looked at after so many failures: from the
// rule's free-th on it doubles from minDelay to maxDelay.
func (r guardRule) delay(failures int) time.Duration {
	n := failures - r.free
	switch {
	case n < 0:
		return 0
	case n >= 10: // 2^10 s are above maxDelay; a shift by more would overflow
		return maxDelay
	}
	return min(minDelay<<n, maxDelay)
}

// count adds a failure. Those that a shared record has forgotten meanwhile go
// first; Last then moves by whole steps, so that nothing is rounded away.
func (r guardRule) count(a *store.Attempt, now time.Time) {
	if steps := r.steps(*a, now); steps > 0 {
		a.Failures = r.left(*a, now)
		a.Last = a.Last.Add(time.Duration(steps) * r.forget)
	}
	if a.Failures = min(a.Failures+1, maxFailures); r.forget == 0 || a.Failures == 1 || a.Last.After(now) {
		a.Last = now
	}
	a.Until = time.Time{}
	if d := r.delay(a.Failures); d > 0 {
		a.Until = now.Add(d)
	}
}

// steps is how many failures a shared record has forgotten since the last one.
func (r guardRule) steps(a store.Attempt, now time.Time) int {
	if r.forget == 0 || a.Failures == 0 || !a.Last.Before(now) {
		return 0
	}
	return int(now.Sub(a.Last) / r.forget)
}

// left is how many failures a record has that are not forgotten.
func (r guardRule) left(a store.Attempt, now time.Time) int {
	return max(0, a.Failures-r.steps(a, now))
}

// takeBack undoes one count. The delay that it began ends early only when so few
// failures delay nothing.
func takeBack(a *store.Attempt) {
	if a.Failures <= 1 {
		clearAttempt(a)
		return
	}
	a.Failures--
}

// clearAttempt leaves a record that the store forgets.
func clearAttempt(a *store.Attempt) { *a = store.Attempt{Key: a.Key} }

// A guardKey is what attempts are counted against.
type guardKey struct {
	name string
	rule guardRule
}

// accountKey is that of an account, or of no account, by its normalised address.
func accountKey(email string) guardKey { return guardKey{"account:" + hexSum(email), ownRule} }

// addressKey is that of a client: an IPv4 address, or the /64 of an IPv6 one,
// because one subscriber commands all of it (RFC 6177). Clients of unknown
// address share one key.
func addressKey(a netip.Addr) guardKey {
	name := "unknown"
	switch a = a.Unmap().WithZone(""); {
	case a.Is4():
		name = a.String()
	case a.Is6():
		p, _ := a.Prefix(64) // 64 is in range
		name = p.String()
	}
	return guardKey{"address:" + name, sharedRule}
}

// deviceKey is that of a device known to the account.
func deviceKey(device, email string) guardKey {
	return guardKey{"device:" + hexSum(device+" "+email), ownRule}
}

// devicesKey is that of all devices known to the account together. It bounds
// what somebody who once had the password, and made a thousand devices known,
// can try after it was changed.
func devicesKey(email string) guardKey { return guardKey{"devices:" + hexSum(email), sharedRule} }

// secretKeys are what an attempt at the account's secret counts against. known
// says that the device in from is known to the account: then neither failures
// from elsewhere nor those of others behind the same address delay it.
func secretKeys(email string, from origin, known bool) []guardKey {
	if known {
		return []guardKey{deviceKey(from.Device, email), devicesKey(email)}
	}
	return []guardKey{addressKey(from.Client), accountKey(email)}
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
