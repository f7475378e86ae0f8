// Package limit counts requests: one contract, several stores. It imports
// nothing of Ringwall's.
//
// A bucket belongs to one Key (whom) and one Rate (which class). The algorithm
// is the generic cell rate algorithm in its virtual scheduling form (ITU-T
// I.371, annex A): a full bucket lets Burst requests through at once and then
// refills evenly, one request per Interval. A store keeps a single time per
// bucket, and none for a bucket that is full.
package limit

import (
	"errors"
	"fmt"
	"time"
)

// A Limiter holds buckets. It is safe for concurrent use.
type Limiter interface {
	// Take spends one request of key's bucket in every rate, or in none of
	// them when one is used up; it reports which of the two. So a refused
	// request costs nothing anywhere and does not prolong the wait. The rates
	// are of different classes. It writes the state of rates[i] to into[i] and
	// panics when into is shorter than rates.
	//
	// The error means that the store cannot tell; nothing is known to have
	// been spent, into is not valid, and the caller decides what then happens.
	Take(key Key, rates []Rate, now time.Time, into []Decision) (bool, error)
}

// A Decision is the state of one bucket after a request.
type Decision struct {
	Allowed   bool          // this bucket had a request left
	Remaining int           // requests left now
	Next      time.Duration // until one more is there, in a refusal until the first; 0: the bucket is full
}

// A Rate is one class of requests and how many of them are let through. Make it
// with NewRate: a Limiter answers the zero Rate with an error.
type Rate struct {
	class    string
	id       uint64 // of the class
	burst    int64
	interval int64  // nanoseconds for one request to refill
	window   int64  // nanoseconds for a whole bucket to refill
	slack    uint16 // window less interval, see pack
}

// maxWindow bounds how long an empty bucket takes to fill.
const maxWindow = 31 * 24 * time.Hour

var errNoRate = errors.New("limit: a rate was not made by NewRate")

// NewRate is requests in every period on average, and burst at once. The class
// tells buckets of one key apart, also between nodes that share a store: 1 to
// 32 of A-Z a-z 0-9 _ - and dot. Requests and burst are 1 to 1000000, per is 1 s
// to 24 h, and an empty bucket must fill within 31 days.
func NewRate(class string, requests int, per time.Duration, burst int) (Rate, error) {
	var errs []error
	if !validClass(class) {
		errs = append(errs, fmt.Errorf("the class name %q is not 1 to 32 of A-Z a-z 0-9 _ - .", class))
	}
	if requests < 1 || requests > 1_000_000 {
		errs = append(errs, fmt.Errorf("%d requests: a rate has 1 to 1000000", requests))
	}
	if per < time.Second || per > 24*time.Hour {
		errs = append(errs, fmt.Errorf("the period %v is not 1s to 24h", per))
	}
	if burst < 1 || burst > 1_000_000 {
		errs = append(errs, fmt.Errorf("a burst of %d: a rate has 1 to 1000000", burst))
	}
	if len(errs) > 0 {
		return Rate{}, errors.Join(errs...)
	}
	// Rounded up, so that no more than the stated rate gets through. Whole
	// microseconds, so that stores that count in doubles decide the same.
	interval := (per + time.Duration(requests) - 1) / time.Duration(requests)
	interval = (interval + time.Microsecond - 1).Truncate(time.Microsecond)
	if time.Duration(burst) > maxWindow/interval {
		return Rate{}, fmt.Errorf("a burst of %d takes longer than 31 days to refill at %d in %v", burst, requests, per)
	}
	window := int64(interval) * int64(burst)
	return Rate{
		class: class, id: classID(class), burst: int64(burst),
		interval: int64(interval), window: window, slack: pack(window - int64(interval)),
	}, nil
}

// Class is the name of the rate's class.
func (r *Rate) Class() string { return r.class }

// Burst is how many requests a full bucket lets through at once.
func (r *Rate) Burst() int { return int(r.burst) }

// Interval is how long one request takes to refill.
func (r *Rate) Interval() time.Duration { return time.Duration(r.interval) }

// admits reports whether a bucket that needs ahead nanoseconds to be full has a
// request left.
func (r *Rate) admits(ahead int64) bool { return ahead <= r.window-r.interval }

// decision describes a bucket that needs ahead nanoseconds to be full.
func (r *Rate) decision(ahead int64) Decision {
	if ahead == 0 {
		return Decision{Remaining: int(r.burst)}
	}
	left := r.window - ahead
	n := left / r.interval
	return Decision{Remaining: int(n), Next: time.Duration((n+1)*r.interval - left)}
}

func validClass(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-', c == '.':
		default:
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 32
}

// classID is FNV-1a: the same in every process and after every reload, whatever
// other classes there are. Names come from the policy, not from clients.
func classID(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}
