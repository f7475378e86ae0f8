package app

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
)

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

// Set gives the answer an owned header, whatever the handler sets. The name is
// in canonical form; the value slice is shared and must not change afterwards.
// It has no effect once the answer has begun.
func (a *Answer) Set(name string, value []string) {
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
	a.more = append(a.more, field{name, value})
}

// Vary adds a request header that the answer depends on (RFC 9110, 12.5.5).
func (a *Answer) Vary(name string) {
	if !slices.Contains(a.vary, name) {
		a.vary = append(a.vary, name)
	}
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
// it; 101 begins it (RFC 9110, 15.2).
func (a *Answer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		a.inform(status)
		return
	}
	if !a.state.begin() {
		return
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	a.commit(status, a.h)
}

func (a *Answer) inform(status int) {
	if a.Begun() {
		return
	}
	dst := a.w.Header()
	for name, v := range a.h {
		if _, owned := a.x.ring.owned[name]; !owned {
			dst[name] = v
		}
	}
	a.w.WriteHeader(status)
	clear(dst)
}

// commit writes the header: the handler's, without what the ring owns, then
// the ring's static ones, then those of this answer.
func (a *Answer) commit(status int, from http.Header) {
	a.Status = status
	ring := a.x.ring
	dst := a.w.Header()
	for name, v := range from {
		if _, owned := ring.owned[name]; !owned {
			dst[name] = v
		}
	}
	for i := range ring.static {
		dst[ring.static[i].name] = ring.static[i].value
	}
	for i := range a.nown {
		dst[a.own[i].name] = a.own[i].value
	}
	for _, f := range a.more {
		dst[f.name] = f.value
	}
	if len(a.vary) > 0 {
		// Clipped: the handler's slice must not be written into.
		dst["Vary"] = append(slices.Clip(dst["Vary"]), a.vary...)
	}
	for _, f := range ring.finish {
		f(a.x, dst)
	}
	a.w.WriteHeader(status)
}

func (a *Answer) Write(p []byte) (int, error) {
	if !a.Begun() {
		a.WriteHeader(http.StatusOK)
	}
	if a.state.expired() {
		return 0, http.ErrHandlerTimeout
	}
	n, err := a.w.Write(p)
	a.Written += int64(n)
	return n, err
}

// WriteString avoids the copy that io.WriteString would make.
func (a *Answer) WriteString(s string) (int, error) {
	if !a.Begun() {
		a.WriteHeader(http.StatusOK)
	}
	if a.state.expired() {
		return 0, http.ErrHandlerTimeout
	}
	n, err := io.WriteString(a.w, s)
	a.Written += int64(n)
	return n, err
}

// FlushError sends what is buffered, so that http.ResponseController works
// through the ring.
func (a *Answer) FlushError() error {
	if !a.Begun() {
		a.WriteHeader(http.StatusOK)
	}
	if a.state.expired() {
		return http.ErrHandlerTimeout
	}
	return http.NewResponseController(a.w).Flush()
}

// Flush is FlushError for callers that assert http.Flusher.
func (a *Answer) Flush() { _ = a.FlushError() }

// Hijack hands the connection over, for WebSocket and other upgrades. The
// ring's headers do not apply to what is then written.
func (a *Answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !a.state.begin() {
		return nil, nil, errors.New("hijack: the answer has begun")
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	a.Status = http.StatusSwitchingProtocols
	return http.NewResponseController(a.w).Hijack()
}

// Unwrap lets http.ResponseController reach deadlines and full duplex.
func (a *Answer) Unwrap() http.ResponseWriter { return a.w }
