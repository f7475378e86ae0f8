package app

import (
	"bufio"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Answer is the response writer at the bottom of the ring. The handler's
// headers are kept apart until the answer begins; then the ring's own are set
// over them, so that neither a handler nor an upstream can weaken or double a
// header that a control owns.
//
// One goroutine writes, the handler's, except that app/timeout answers from
// its own when the handler is late. state decides who of the two answers; what
// both touch before that is guarded by mu.
type Answer struct {
	Status  int   // 0 until the answer begins
	Written int64 // bytes of body, before any that HEAD leaves out
	x       *Exchange
	w       http.ResponseWriter
	h       http.Header // what the handler set; only its goroutine touches it
	own     [8]field    // what the controls set for this answer
	nown    int
	more    []field
	vary    []string
	varies  [4]string // vary's room
	state   state

	armed  bool // app/timeout may answer: own, more, vary and w are guarded by mu until the answer begins
	http1  bool // the client speaks HTTP/1, by app/timeout
	duplex bool // the handler reads while it writes
	mu     sync.Mutex
	timer  *time.Timer

	problems bool  // app/problem is in force
	proxied  bool  // the handler passes on what an upstream answers
	replaced bool  // the body is the ring's; what the handler writes is dropped
	hidden   int64 // bytes dropped so
}

type field struct {
	name  string
	value []string
}

// state orders the handler against the timeout: whoever moves it from open
// writes the answer.
type state struct{ v atomic.Uint32 }

const (
	stateOpen    uint32 = iota
	stateBegun          // the handler's answer has begun
	stateExpired        // app/timeout has answered
)

func (s *state) begin() bool   { return s.v.CompareAndSwap(stateOpen, stateBegun) }
func (s *state) expire() bool  { return s.v.CompareAndSwap(stateOpen, stateExpired) }
func (s *state) expired() bool { return s.v.Load() == stateExpired }

// lock guards what app/timeout reads; a request without a timeout needs none.
func (a *Answer) lock() {
	if a.armed {
		a.mu.Lock()
	}
}

func (a *Answer) unlock() {
	if a.armed {
		a.mu.Unlock()
	}
}

// Set gives the answer an owned header, whatever the handler sets. The name is
// in canonical form; the value slice is shared and must not change afterwards.
// It has no effect once the answer has begun.
func (a *Answer) Set(name string, value []string) {
	a.lock()
	a.set(name, value)
	a.unlock()
}

func (a *Answer) set(name string, value []string) {
	for i := range a.nown {
		if a.own[i].name == name {
			a.own[i].value = value
			return
		}
	}
	if a.nown < len(a.own) {
		a.own[a.nown] = field{name, value}
		a.nown++
		return
	}
	for i := range a.more {
		if a.more[i].name == name {
			a.more[i].value = value
			return
		}
	}
	a.more = append(a.more, field{name, value})
}

// has reports whether a control has set the header.
func (a *Answer) has(name string) bool {
	named := func(f field) bool { return f.name == name }
	return slices.ContainsFunc(a.own[:a.nown], named) || slices.ContainsFunc(a.more, named)
}

// Vary adds a request header that the answer depends on (RFC 9110, 12.5.5).
func (a *Answer) Vary(name string) {
	a.lock()
	if a.vary == nil {
		a.vary = a.varies[:0]
	}
	if !slices.Contains(a.vary, name) {
		a.vary = append(a.vary, name)
	}
	a.unlock()
}

// Begun reports whether the answer has begun, so that its status and headers
// can no longer change.
func (a *Answer) Begun() bool { return a.state.v.Load() != stateOpen }

// Header is the handler's header map. The ring's own headers are not in it.
func (a *Answer) Header() http.Header {
	if a.h == nil {
		a.h = make(http.Header, 4)
	}
	return a.h
}

// WriteHeader begins the answer. A 1xx status is passed on without beginning
// it; 101 begins it (RFC 9110, 15.2). An error whose body app/problem hides is
// answered whole here. A second call has no effect.
func (a *Answer) WriteHeader(status int) {
	if status < 100 || status > 999 {
		// Here, and not in net/http below: nothing has begun, so that
		// app/problem can still answer 500.
		panic("app: the handler wrote an impossible status")
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		a.inform(status)
		return
	}
	if !a.begin() {
		return
	}
	if a.problems && hides(status, a.h, a.proxied) {
		a.replace(status)
		return
	}
	a.commit(status, a.h)
}

// begin claims the answer for the caller and ends its timeout.
func (a *Answer) begin() bool {
	if !a.state.begin() {
		return false
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	return true
}

func (a *Answer) inform(status int) {
	a.lock()
	defer a.unlock()
	if a.Begun() {
		return
	}
	dst := a.w.Header()
	before := maps.Clone(dst)
	for name, v := range a.h {
		if _, owned := a.x.ring.owned[http.CanonicalHeaderKey(name)]; !owned {
			dst[name] = v
		}
	}
	a.w.WriteHeader(status)
	clear(dst)
	maps.Copy(dst, before)
}

// body reports whether the handler's bytes go to the client now. It begins an
// answer that has not begun. n bytes are counted when they are dropped.
func (a *Answer) body(n int) (pass bool, err error) {
	if !a.Begun() {
		a.WriteHeader(http.StatusOK)
	}
	if a.state.expired() {
		return false, http.ErrHandlerTimeout
	}
	if a.replaced {
		a.hidden += int64(n)
		return false, nil
	}
	return true, nil
}

// Write sends a part of the body. Once app/timeout has answered it returns
// http.ErrHandlerTimeout.
func (a *Answer) Write(p []byte) (int, error) {
	if pass, err := a.body(len(p)); err != nil {
		return 0, err
	} else if !pass {
		return len(p), nil
	}
	return a.send(p)
}

// WriteString avoids the copy that io.WriteString would make.
func (a *Answer) WriteString(s string) (int, error) {
	if pass, err := a.body(len(s)); err != nil {
		return 0, err
	} else if !pass {
		return len(s), nil
	}
	if a.bodyEnds(len(s)) {
		defer a.x.sent.free()
	}
	n, err := io.WriteString(a.w, s)
	a.Written += int64(n)
	return n, err
}

// ReadFrom lets io.Copy use sendfile and net/http's own buffers. As with Write,
// the answer begins with the first bytes of src, not before.
func (a *Answer) ReadFrom(src io.Reader) (n int64, err error) {
	if !a.Begun() {
		first := make([]byte, 512)
		m, rerr := src.Read(first)
		if m > 0 {
			w, werr := a.Write(first[:m])
			n = int64(w)
			if werr != nil {
				return n, werr
			}
		}
		if rerr == io.EOF {
			return n, nil
		}
		if rerr != nil {
			return n, rerr
		}
	}
	var m int64
	if pass, err := a.body(0); err != nil {
		return n, err
	} else if !pass {
		m, err = io.Copy(io.Discard, src)
		a.hidden += m
		return n + m, err
	}
	if a.x.sent.unread() {
		_ = a.flush() // once the header is out, nothing waits for the body
	}
	m, err = io.Copy(a.w, src)
	a.Written += m
	return n + m, err
}

// FlushError sends what is buffered, so that http.ResponseController works
// through the ring.
func (a *Answer) FlushError() error {
	if _, err := a.body(0); err != nil {
		return err
	}
	return a.flush()
}

// Flush is FlushError for callers that assert http.Flusher.
func (a *Answer) Flush() { _ = a.FlushError() }

// Hijack hands the connection over, for WebSocket and other upgrades. The
// ring's headers do not apply to what is then written. When the connection
// cannot be handed over, as with HTTP/2, the answer is still to be given.
func (a *Answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	a.lock()
	defer a.unlock()
	if a.Begun() {
		return nil, nil, errors.New("hijack: the answer has begun")
	}
	conn, rw, err := http.NewResponseController(a.w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	a.begin()
	a.Status = http.StatusSwitchingProtocols
	return conn, rw, nil
}

// EnableFullDuplex and the deadlines are net/http's, until app/timeout has
// answered: then they belong to it.
func (a *Answer) EnableFullDuplex() error {
	err := a.control(func(c *http.ResponseController) error { return c.EnableFullDuplex() })
	a.duplex = err == nil
	return err
}

// SetReadDeadline is described at EnableFullDuplex.
func (a *Answer) SetReadDeadline(t time.Time) error {
	return a.control(func(c *http.ResponseController) error { return c.SetReadDeadline(t) })
}

// SetWriteDeadline is described at EnableFullDuplex.
func (a *Answer) SetWriteDeadline(t time.Time) error {
	return a.control(func(c *http.ResponseController) error { return c.SetWriteDeadline(t) })
}

func (a *Answer) control(do func(*http.ResponseController) error) error {
	a.lock()
	defer a.unlock()
	if a.state.expired() {
		return http.ErrHandlerTimeout
	}
	return do(http.NewResponseController(a.w))
}

// end closes the answer, so that nobody writes after ServeHTTP has returned,
// app/timeout neither. A handler that returned without a word has answered
// 200; one that panicked has answered nothing.
func (a *Answer) end(returned bool) {
	if returned && !a.Begun() {
		a.WriteHeader(http.StatusOK)
	}
	if !a.begin() && a.state.expired() {
		a.mu.Lock() // until it has written
		defer a.mu.Unlock()
		return
	}
	if returned && !a.replaced {
		a.trailers()
	}
	if a.x.sent.unread() && a.Status != http.StatusSwitchingProtocols {
		a.x.sent.bound()
	}
}

// trailers passes on what the handler set after the body (RFC 9110, 6.5):
// names announced in Trailer, and names under http.TrailerPrefix. Owned names
// are dropped there too.
func (a *Answer) trailers() {
	announced := len(a.h["Trailer"]) > 0
	for name, v := range a.h {
		bare, prefixed := strings.CutPrefix(name, http.TrailerPrefix)
		if !prefixed && !announced {
			continue
		}
		if _, owned := a.x.ring.owned[http.CanonicalHeaderKey(bare)]; !owned {
			a.w.Header()[name] = v
		}
	}
}
