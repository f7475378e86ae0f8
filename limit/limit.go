// Package limit holds rate-limit state: one contract, several stores. It
// imports nothing of Ringwall's.
package limit

import "time"

// A Rate is a compiled rate class: Requests in Per, spent as a bucket that
// refills evenly (GCRA). Burst is how many may come at once, at least 1.
type Rate struct {
	Class    uint32 // distinguishes classes in one store
	Requests int
	Per      time.Duration
	Burst    int
}

// A Key names whom a bucket belongs to, such as a client's address prefix or an
// account. Make it with an Addr or Account key function, never by hand.
type Key struct {
	hi, lo uint64
	kind   uint8
}

// A Decision is the answer to one request.
type Decision struct {
	Allowed    bool
	Remaining  int           // requests left in the bucket now
	Reset      time.Duration // until the bucket is full again
	RetryAfter time.Duration // until the next request is allowed; 0 when allowed
}

// A Limiter holds buckets. Take spends one request of the key's bucket in the
// class, if there is one. An error means that the store cannot tell; the caller
// decides, by class, what then happens.
type Limiter interface {
	Take(key Key, rate Rate, now time.Time) (Decision, error)
}
