package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// The direct transport carries an ordinary request to the upstream and its
// answer back, on the goroutine that serves the client: no copy of the request,
// no goroutine, no channel. A second goroutine is there only for a body that
// does not fit into one buffer, since the upstream may answer before it has
// read all of it. What is not ordinary goes through proxy_reverse.go.
//
// An exchange is one such request. It is used again, but nothing of a request
// is left in it then.
type exchange struct {
	proxy    *Proxy
	timeouts policy.Timeouts
	method   string
	out      []byte    // the request: its head, and of its body what is known
	rest     *restBody // what follows out; nil: nothing
	c        *conn     // that the answer comes from
	stop     func() bool
	in       []byte // in[r:w] came from c and is unread
	r, w     int
	came     bool // a byte of an answer came
	head     responseHead
	silent   time.Duration // how long the upstream may be, once the answer has begun
	until    time.Time     // the deadline that this makes
	flush    func() error  // called before waiting for more of a stream
	unsent   bool          // there is something to flush
}

const bufferSize = 32 << 10

var exchanges = sync.Pool{New: func() any {
	return &exchange{in: make([]byte, bufferSize), out: make([]byte, 0, 4<<10)}
}}

// end waits for whoever reads the request's body, and gives e back. Buffers
// that had to grow are not kept.
func (e *exchange) end(r *http.Request) {
	if e.rest != nil && e.rest.done != nil {
		_ = r.Body.Close() // ends a read that waits for the client
		<-e.rest.done
	}
	e.head.reset()
	*e = exchange{in: e.in, out: e.out[:0], head: e.head}
	if len(e.in) == bufferSize && cap(e.out) <= 2*bufferSize {
		exchanges.Put(e)
	}
}

// direct answers r. It reports false when r is not for it: nothing was then
// sent, and nothing of the body read.
func (x *Proxy) direct(w http.ResponseWriter, r *http.Request, o Origin) bool {
	e := exchanges.Get().(*exchange)
	defer e.end(r)
	e.proxy, e.timeouts = x, x.timeouts
	if !e.compose(r, o) {
		return false
	}
	err := e.takeBody(r)
	if err == nil {
		err = e.roundTrip(w, r)
	}
	if err != nil {
		x.failed(w, r, err)
		return true
	}
	e.answer(w, r)
	return true
}

// roundTrip sends the request and reads the head of the answer; e.c is then
// the connection that the rest of it comes from.
//
// While none of the request was sent, the next upstream gets it. It is sent
// anew, once and on a new connection, when one that was kept open turns out to
// be closed before a byte of the answer came: a request that nothing was sent
// of, or an idempotent one that is wholly known (RFC 9110, 9.2.2).
func (e *exchange) roundTrip(w http.ResponseWriter, r *http.Request) error {
	var tried uint64
	for {
		u := e.proxy.upstreams.pick(&tried)
		u.busy.Add(1)
		sent, err := e.try(w, r, u, false)
		if err != nil && errors.Is(err, errStale) && (!sent || e.rest == nil && idempotent(r.Method)) {
			sent, err = e.try(w, r, u, true)
		}
		if err == nil {
			return nil // u is busy until the answer has ended
		}
		u.busy.Add(-1)
		if sent || r.Context().Err() != nil || !e.proxy.upstreams.more(tried) {
			return err
		}
	}
}

// errStale says that the upstream closed a connection that was kept open.
var errStale = errors.New("the upstream closed a connection that was kept open")

// try sends the request to u and reads the head of the answer. sent reports
// whether the upstream may have got any of the request.
func (e *exchange) try(w http.ResponseWriter, r *http.Request, u *upstream, fresh bool) (sent bool, err error) {
	ctx := r.Context()
	c, err := u.take(ctx, fresh)
	if err != nil {
		return false, err
	}
	e.c, e.r, e.w, e.came = c, 0, 0, false
	e.stop = whenDone(ctx, c.abort)
	sent, err = e.send(w, r)
	if err != nil {
		e.stop()
		c.Close()
		e.c = nil
	}
	return sent, err
}

func (e *exchange) send(w http.ResponseWriter, r *http.Request) (sent bool, err error) {
	c, now := e.c, time.Now()
	answer := now.Add(e.timeouts.Read)
	if e.rest != nil {
		answer = time.Time{} // the time runs once the body was sent
	}
	if c.SetReadDeadline(answer) != nil || c.SetWriteDeadline(now.Add(e.timeouts.Send)) != nil || c.used && !c.silent() {
		return false, errStale
	}
	n, err := c.Write(e.out)
	switch {
	case err != nil && isTimeout(err):
		return n > 0, err
	case err != nil && n == 0 && c.used:
		return false, fmt.Errorf("%w: %w", errStale, err)
	case err != nil:
		// An upstream may answer without reading all of the request.
		if e.readHead(w) != nil {
			return n > 0, err
		}
		e.head.closes = true
		return true, nil
	}
	if e.rest != nil {
		e.rest.start(c, e.timeouts)
	}
	if err := e.readHead(w); err != nil {
		switch cause := e.rest.failure(); {
		case cause != nil:
			err = cause
		case c.used && !e.came && !isTimeout(err):
			err = fmt.Errorf("%w: %w", errStale, err)
		}
		return true, err
	}
	return true, nil
}

// answer passes on the answer whose head was read.
func (e *exchange) answer(w http.ResponseWriter, r *http.Request) {
	whole := false
	defer func() { // a write may panic
		c := e.c
		if e.stop() && whole && !e.head.closes && e.r == e.w && e.rest.sent() {
			c.upstream.keep(c)
		} else {
			c.Close()
		}
		c.upstream.busy.Add(-1)
	}()
	e.head.copyTo(w.Header())
	w.WriteHeader(e.head.status)
	if e.head.streams() {
		e.flush, e.unsent = http.NewResponseController(w).Flush, true
	}
	if !e.bodyInHand() {
		e.silent = e.silence()
		e.rest.answering(e.c)
	}
	err := e.copyBody(w)
	if whole = err == nil; whole {
		return
	}
	if broken, ok := errors.AsType[*brokenOff](err); ok && r.Context().Err() == nil {
		e.proxy.deps.Failed(nil, r, Failure{Status: http.StatusBadGateway, Begun: true, Err: broken})
	}
	if r.Context().Value(http.ServerContextKey) != nil {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
}

// fill waits for more from the upstream. What the client has not got of a
// stream by then is flushed first.
func (e *exchange) fill() error {
	if e.unsent && e.flush != nil {
		e.unsent = false
		if err := e.flush(); err != nil {
			return &clientGone{err}
		}
	}
	if e.r == e.w {
		e.r, e.w = 0, 0
	} else if e.w == len(e.in) {
		e.w = copy(e.in, e.in[e.r:])
		e.r = 0
	}
	if e.silent > 0 {
		// Moved only by more than an eighth: a timer costs more than a look at one.
		if now := time.Now(); e.until.Sub(now) < e.silent-e.silent/8 {
			e.until = now.Add(e.silent)
			_ = e.c.SetReadDeadline(e.until) // a closed connection says so when it is read
		}
	}
	n, err := e.c.Read(e.in[e.w:])
	e.w += n
	if n > 0 {
		e.came = true
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if e.silent > 0 && isTimeout(err) {
		return errSilent{e.silent}
	}
	return err
}

// silence is how long the upstream may be silent in this answer.
func (e *exchange) silence() time.Duration {
	for _, f := range e.head.fields {
		if f.name == "Content-Type" {
			return silence(e.timeouts, f.value)
		}
	}
	return e.timeouts.Read
}

// clientGone is why an answer cannot be passed on.
type clientGone struct{ error }

// whenDone is context.AfterFunc. A context that can do it by itself is not made
// ready for others to wait on.
func whenDone(ctx context.Context, f func()) (stop func() bool) {
	if a, ok := ctx.(interface {
		AfterFunc(func()) (stop func() bool)
	}); ok {
		return a.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

func isTimeout(err error) bool {
	network, ok := errors.AsType[net.Error](err)
	return ok && network.Timeout()
}

func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
