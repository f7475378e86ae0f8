package app

import (
	"math/bits"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/limit"
)

// Stats is a snapshot of a ring's counters.
type Stats struct {
	Requests  uint64
	InFlight  uint64             // begun and not over
	Denials   map[string]uint64  // by control ID; every control is there
	Responses [6]uint64          // by class of status: [2] counts 2xx; [0] what was broken off before it began
	Answers   Answers            // of all requests
	Classes   map[string]Answers // of those under the paths of each rate class that has some
	Durations Durations
	Limiter   *limit.Stats // what holds the rate limits; nil: it does not tell
	Bans      *Bans        // who is shut out before the ring; nil: nobody can be
}

// Bans counts banned addresses.
type Bans struct {
	Active  int    // in force
	Dropped uint64 // connections closed at accept and requests hung up on
	Evicted uint64 // ended early for want of room
}

// Answers counts requests that are over, and among them those whose status
// tells of trouble.
type Answers struct {
	Requests, Status401, Status403, Status404, Status429, Status5xx uint64
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

// Counters count without a lock what rings see. Rings that are given the same,
// one after the other, count on where the one before was. The zero value is
// ready.
type Counters struct {
	begun     atomic.Uint64
	responses [6]atomic.Uint64
	all       answers
	sum       atomic.Int64
	durations [len(DurationBounds) + 1]atomic.Uint64

	mu      sync.Mutex // of the maps; rings look names up as they are built only
	denials map[string]*atomic.Uint64
	classes map[string]*answers
}

// answers are the counters of Answers.
type answers struct {
	requests, unauthorized, forbidden, notFound, tooMany, failed atomic.Uint64
}

func (a *answers) count(status int) {
	a.requests.Add(1)
	switch {
	case status < 400:
	case status >= 500:
		a.failed.Add(1)
	case status == http.StatusUnauthorized:
		a.unauthorized.Add(1)
	case status == http.StatusForbidden:
		a.forbidden.Add(1)
	case status == http.StatusNotFound:
		a.notFound.Add(1)
	case status == http.StatusTooManyRequests:
		a.tooMany.Add(1)
	}
}

func (a *answers) load() Answers {
	return Answers{a.requests.Load(), a.unauthorized.Load(), a.forbidden.Load(), a.notFound.Load(), a.tooMany.Load(), a.failed.Load()}
}

func (c *Counters) denial(control string) *atomic.Uint64 {
	return named(c, &c.denials, control)
}

func (c *Counters) class(name string) *answers {
	return named(c, &c.classes, name)
}

// named finds a counter by its name, or makes it.
func named[T any](c *Counters, in *map[string]*T, name string) *T {
	c.mu.Lock()
	defer c.mu.Unlock()
	if *in == nil {
		*in = map[string]*T{}
	}
	n := (*in)[name]
	if n == nil {
		n = new(T)
		(*in)[name] = n
	}
	return n
}

// over adds an exchange that is over.
func (r *Ring) over(x *Exchange) {
	t := r.counters
	class := x.Answer.Status / 100
	if class >= len(t.responses) {
		class = 0
	}
	t.responses[class].Add(1)
	t.all.count(x.Answer.Status)
	for set := x.classes; set != 0; set &= set - 1 {
		r.classes[bits.TrailingZeros64(set)].count(x.Answer.Status)
	}
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
	t := r.counters
	s := Stats{Denials: make(map[string]uint64, len(r.denials)), Classes: make(map[string]Answers, len(r.classes)), Answers: t.all.load()}
	for id, n := range r.denials {
		s.Denials[id] = n.Load()
	}
	for i, name := range r.routes.classes {
		s.Classes[name] = r.classes[i].load()
	}
	var over uint64
	for i := range s.Responses {
		s.Responses[i] = t.responses[i].Load()
		over += s.Responses[i]
	}
	for i := range s.Durations.Counts {
		s.Durations.Counts[i] = t.durations[i].Load()
	}
	s.Durations.Sum = time.Duration(t.sum.Load())
	s.Requests = t.begun.Load() // read after what is over, so that the difference is never below 0
	s.InFlight = s.Requests - over
	if l, ok := r.deps.Limiter.(interface{ Stats() limit.Stats }); ok {
		held := l.Stats()
		s.Limiter = &held
	}
	return s
}
