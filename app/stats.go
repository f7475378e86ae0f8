package app

import (
	"sync/atomic"
	"time"
)

// Stats is a snapshot of the ring's counters since it was built.
type Stats struct {
	Requests  uint64
	InFlight  uint64            // begun and not over
	Denials   map[string]uint64 // by control ID; every control is there
	Responses [6]uint64         // by class of status: [2] counts 2xx; [0] what was broken off before it began
	Durations Durations
}

// Durations is a histogram of whole exchanges, from the first look at the
// request until the handler has returned.
type Durations struct {
	Sum    time.Duration
	Counts [len(DurationBounds) + 1]uint64 // as many as took up to the bound of the same index; the last: longer than all
}

// DurationBounds are the upper bounds of the histogram of durations.
var DurationBounds = [...]time.Duration{
	500 * time.Microsecond, 2 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond,
	200 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// traffic counts exchanges without a lock.
type traffic struct {
	begun     atomic.Uint64
	responses [6]atomic.Uint64
	sum       atomic.Int64
	durations [len(DurationBounds) + 1]atomic.Uint64
}

// count adds an exchange that is over.
func (t *traffic) count(x *Exchange) {
	class := x.Answer.Status / 100
	if class >= len(t.responses) {
		class = 0
	}
	t.responses[class].Add(1)
	t.sum.Add(int64(x.took))
	bucket := 0
	for bucket < len(DurationBounds) && x.took > DurationBounds[bucket] {
		bucket++
	}
	t.durations[bucket].Add(1)
}

// count adds a refusal to a control's counter.
func (r *Ring) count(control string) {
	if n := r.denials[control]; n != nil {
		n.Add(1)
	}
}

// Stats reads the counters. It is cheap enough for a scrape, not for a request.
func (r *Ring) Stats() Stats {
	s := Stats{Denials: make(map[string]uint64, len(r.denials))}
	for id, n := range r.denials {
		s.Denials[id] = n.Load()
	}
	var over uint64
	for i := range s.Responses {
		s.Responses[i] = r.traffic.responses[i].Load()
		over += s.Responses[i]
	}
	for i := range s.Durations.Counts {
		s.Durations.Counts[i] = r.traffic.durations[i].Load()
	}
	s.Durations.Sum = time.Duration(r.traffic.sum.Load())
	s.Requests = r.traffic.begun.Load() // read after what is over, so that the difference is never below 0
	s.InFlight = s.Requests - over
	return s
}
