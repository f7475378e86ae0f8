package edge

import (
	"time"
)

// What a client may cost in time. A body, and an answer, may stand still for 10
// seconds, and for one more with each kB that has moved, up to 30. So a client
// that keeps to 1 kB/s on average is never cut. Only the time that the server
// waits counts: an upstream that is slow to take a body, and an event stream
// that has nothing to say, are not the client's fault.
const (
	grace       = 10 * time.Second
	mostPause   = 30 * time.Second
	timeOfAByte = time.Millisecond
)

// A pace is how long a client may still be waited for.
type pace struct{ left time.Duration }

func (p *pace) spend(waited time.Duration, moved int) {
	p.left = min(p.left-waited+time.Duration(moved)*timeOfAByte, mostPause)
}

// deadlines joins the deadline that a connection's user asks for with that of
// the pace: the earlier one holds.
type deadlines struct{ asked, paced, set time.Time }

func (d *deadlines) ask(t time.Time, set func(time.Time) error) error {
	d.asked = t
	return d.apply(set)
}

// allow lets the next wait take about left. It is called before each one, and
// moves the deadline only by more than an eighth: a timer costs more than a look at
// one.
func (d *deadlines) allow(now time.Time, left time.Duration, set func(time.Time) error) {
	if until := d.paced.Sub(now); until > left || until < left-left/8 || until <= 0 {
		d.paced = now.Add(left)
		_ = d.apply(set) // a closed connection: its user will see
	}
}

// stop ends the pace's deadline.
func (d *deadlines) stop(set func(time.Time) error) {
	if !d.paced.IsZero() {
		d.paced = time.Time{}
		_ = d.apply(set)
	}
}

// ours reports whether a wait that timed out now did so for the pace.
func (d *deadlines) ours(now time.Time) bool {
	return !d.paced.IsZero() && !now.Before(d.paced) && (d.asked.IsZero() || d.paced.Before(d.asked))
}

func (d *deadlines) apply(set func(time.Time) error) error {
	t := d.asked
	if t.IsZero() || !d.paced.IsZero() && d.paced.Before(t) {
		t = d.paced
	}
	if t.Equal(d.set) {
		return nil
	}
	d.set = t
	return set(t)
}
