package identity

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// endedBits is the size of a filter of ended sessions: 4 MB.
const endedBits = 32 << 20

// endedProbes is how many bits a session sets in a filter.
const endedProbes = 8

// endedKept is how long an ended session is remembered at least: longer than
// any of its tokens lives.
const endedKept = MaxLifetime + 2*Leeway

// endedSessions remembers ended sessions in fixed memory: two Bloom filters, of
// this and the last endedKept, of 4 MB each once the first session ends. It
// never takes an ended session for a living one. It may take a living one for
// an ended one: with a million ended sessions within the hour that happens to
// about 4 in a million of the others, with ten millions to half of them, who
// then must sign in again. It is keyed, so nobody can choose who.
type endedSessions struct {
	seed    maphash.Seed
	mu      sync.Mutex // of changes
	filters atomic.Pointer[endedFilters]
}

// endedFilters are the current filter and the one before it; nil: empty.
type endedFilters struct {
	since             time.Time // when current was begun
	current, previous *endedFilter
}

type endedFilter [endedBits / 64]atomic.Uint64

// sessionHash stands for a session's id; 0 for none.
type sessionHash uint64

func newEndedSessions() endedSessions { return endedSessions{seed: maphash.MakeSeed()} }

func (e *endedSessions) hash(id string) sessionHash {
	if id == "" {
		return 0
	}
	return sessionHash(maphash.String(e.seed, id) | 1)
}

// has costs nothing while no session has ended, else a look or two at memory.
func (e *endedSessions) has(h sessionHash) bool {
	f := e.filters.Load()
	return f != nil && h != 0 && (f.current.has(h) || f.previous.has(h))
}

func (e *endedSessions) add(now time.Time, ids []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.filters.Load()
	if f == nil {
		f = &endedFilters{since: now, current: new(endedFilter)}
		e.filters.Store(f)
	}
	if now.Sub(f.since) >= endedKept { // all in previous is older than that
		f = &endedFilters{since: now, current: new(endedFilter), previous: f.current}
		e.filters.Store(f)
	}
	for _, id := range ids {
		if h := e.hash(id); h != 0 {
			f.current.add(h)
		}
	}
}

// bit is where the n-th bit of a session is (Kirsch and Mitzenmacher's double
// hashing).
func (h sessionHash) bit(n uint32) (word int, mask uint64) {
	i := (uint32(h>>32) + n*uint32(h)) % endedBits
	return int(i / 64), 1 << (i % 64)
}

func (f *endedFilter) add(h sessionHash) {
	for n := range uint32(endedProbes) {
		word, mask := h.bit(n)
		f[word].Or(mask)
	}
}

func (f *endedFilter) has(h sessionHash) bool {
	if f == nil {
		return false
	}
	for n := range uint32(endedProbes) {
		if word, mask := h.bit(n); f[word].Load()&mask == 0 {
			return false
		}
	}
	return true
}
