package edge

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Unstuck gives up streams of HTTP/2 and HTTP/3 whose client takes nothing of the
// answer: by flow control a client can hold a stream still for ever while its
// connection lives, so that no pace of the connection ends it (CVE-2019-9517). A
// write, and what is left when the handler returns, has mostPause; time between
// writes does not count. The stream is reset. A request's body must come at the
// pace, see pacedBody. HTTP/1 passes as it is.
func Unstuck(next http.Handler, guard func() *Guard) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := guard()
		if r.ProtoMajor < 2 || !g.enforces(slowClients.ID) {
			next.ServeHTTP(w, r)
			return
		}
		s := &streamWriter{ResponseWriter: w}
		defer s.end()
		paceBody(s, r, g)
		next.ServeHTTP(s, r)
	})
}

// streamWriter is a ResponseWriter whose writes do not take longer than
// mostPause. One timer looks after all of them.
type streamWriter struct {
	http.ResponseWriter
	answered atomic.Bool // the answer has begun

	since   atomic.Int64 // Unix nanoseconds at which the write under way began; 0: none
	written bool

	mu    sync.Mutex
	timer *time.Timer // nil until a write may have to wait
	ended bool
}

// Unwrap is for http.ResponseController.
func (s *streamWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *streamWriter) WriteHeader(status int) {
	if status >= 200 {
		s.answered.Store(true)
	}
	s.ResponseWriter.WriteHeader(status)
}

// smallAnswer is what net/http takes without sending it.
const smallAnswer = 4096

func (s *streamWriter) Write(p []byte) (int, error) {
	s.answered.Store(true)
	if !s.written && len(p) < smallAnswer {
		s.written = true
		return s.ResponseWriter.Write(p)
	}
	s.written = true
	defer s.watch()()
	return s.ResponseWriter.Write(p)
}

func (s *streamWriter) Flush() { _ = s.FlushError() }

func (s *streamWriter) FlushError() error {
	s.answered.Store(true)
	s.written = true
	defer s.watch()()
	return http.NewResponseController(s.ResponseWriter).Flush()
}

func (s *streamWriter) watch() (done func()) {
	s.since.Store(time.Now().UnixNano())
	if s.timer == nil {
		s.mu.Lock()
		s.timer = time.AfterFunc(mostPause, s.look)
		s.mu.Unlock()
	}
	return func() { s.since.Store(0) }
}

// look resets the stream if a write has waited too long.
func (s *streamWriter) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	left := mostPause
	if since := s.since.Load(); since != 0 {
		if left -= time.Since(time.Unix(0, since)); left <= 0 {
			_ = http.NewResponseController(s.ResponseWriter).SetWriteDeadline(time.Unix(1, 0))
			return
		}
	}
	s.timer.Reset(left)
}

// end bounds the sending of what the handler has left.
func (s *streamWriter) end() {
	s.mu.Lock()
	s.ended = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	if s.written {
		_ = http.NewResponseController(s.ResponseWriter).SetWriteDeadline(time.Now().Add(mostPause))
	}
}
