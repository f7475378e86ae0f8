package chain

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// maxWaiting bounds the events that wait for the store, in bytes; each kind has
// share.room of it.
const (
	maxWaiting = 4 << 20
	overhead   = 128 // of an item besides its document, about
)

// A queue holds the events that the store does not have yet, in order, and
// counts those that it never will.
type queue struct {
	mu      sync.Mutex
	items   []queued
	waiting int // bytes
	meters  map[audit.Kind]*meter
	closed  bool
}

type queued struct {
	item
	of *meter
}

func (i item) size() int { return len(i.document) + overhead }

// add takes e, counts it, or forgets it when the queue is closed. wake says
// that the queue was empty before.
func (q *queue) add(e audit.Event) (wake bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	now := time.Now()
	if e.Time.IsZero() {
		e.Time = now
	}
	m := q.meters[e.Kind]
	if m == nil {
		m = newMeter(e.Kind, now)
		q.meters[e.Kind] = m
	}
	if !m.within(e, now) {
		m.above.add(e)
		return false
	}
	it := item{stamp(e.Time), document(Record{Event: e})}
	if m.waiting+it.size() > m.room || q.waiting+it.size() > maxWaiting {
		m.lost.add(e)
		return false
	}
	q.push(it, m)
	return len(q.items) == 1
}

func (q *queue) push(it item, m *meter) {
	q.items = append(q.items, queued{it, m})
	m.waiting += it.size()
	q.waiting += it.size()
}

// first returns up to n items from the front, and leaves them there.
func (q *queue) first(n int) []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := make([]item, min(n, len(q.items)))
	for i := range items {
		items[i] = q.items[i].item
	}
	return items
}

// drop removes n items from the front.
func (q *queue) drop(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, it := range q.items[:n] {
		it.of.waiting -= it.size()
		q.waiting -= it.size()
	}
	q.items = slices.Delete(q.items, 0, n)
	if len(q.items) == 0 && cap(q.items) > 4*batchSize {
		q.items = nil // an outage is over
	}
}

// settle puts what was counted since the last time at the end, one record for
// each kind. It returns how many events were lost.
func (q *queue) settle() (lost int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var counted []*meter
	for _, m := range q.meters {
		if m.above.count > 0 || m.lost.count > 0 {
			counted = append(counted, m)
		}
	}
	slices.SortFunc(counted, func(a, b *meter) int { return cmp.Compare(a.kind, b.kind) })
	for _, m := range counted {
		if m.above.count > 0 {
			q.push(m.above.item(audit.AuditSummarised, m.kind), m)
			m.above = tally{}
		}
		if m.lost.count > 0 {
			lost += m.lost.count
			q.push(m.lost.item(audit.AuditLost, m.kind), m)
			m.lost = tally{}
		}
	}
	return lost
}

// close ends the intake. It reports false when it was closed before.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	was := q.closed
	q.closed = true
	return !was
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items)
}
