package app

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"
)

// A Gate stands before the ring: it is asked about a request as soon as its
// client's address is known, before anything else of it is looked at. So it
// also sees paths that app/path refuses. The zero Gate lets everything in.
//
// Clients on this machine reach Deps.Open without being asked about, so that a
// health check that asks often is not turned away; those elsewhere do not.
type Gate struct {
	// Controls are the IDs that refusals may name, for the counters.
	Controls []string

	// Judge refuses a request; nil lets it in. It must be quick, must not block
	// and must not write.
	Judge func(r *http.Request, client netip.Addr, now time.Time) *Turned
}

// Turned is a request that is turned away at the gate.
type Turned struct {
	Denied
	RetryAfter time.Duration // said in whole seconds, rounded up; 0: not said

	// Hangup: the client gets no byte of an answer. Over HTTP/1 the connection
	// is closed, else the stream is reset. Status is then 0.
	Hangup bool
}

// gateStandsBefore is the control before which the gate stands: the first that
// looks at what is asked for. The client's address is known there, and so is
// what HTTPS alone may say.
const gateStandsBefore = "app/path"

func (g Gate) middleware(open map[string]http.Handler) Middleware {
	return func(next Handler) Handler {
		return func(x *Exchange) {
			if x.Client.IsLoopback() && open[x.R.URL.Path] != nil {
				next(x)
				return
			}
			t := g.Judge(x.R, x.Client, x.start)
			if t == nil {
				next(x)
				return
			}
			x.turn(t)
		}
	}
}

// turn refuses a request at the gate. It does not return from a hangup.
func (x *Exchange) turn(t *Turned) {
	if t.Hangup {
		x.Answer.begin()        // and nothing is written
		x.sent.late.Store(true) // nor is the rest of the body waited for
		x.refuse(&t.Denied, false)
		panic(http.ErrAbortHandler)
	}
	if t.RetryAfter > 0 {
		x.Answer.Set("Retry-After", []string{strconv.Itoa(wholeSeconds(t.RetryAfter))})
	}
	x.Deny(t.Denied)
}
