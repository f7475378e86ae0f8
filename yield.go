package ringwall

import (
	"context"
	"net/http"
	"time"
)

// yieldMost is how long a server that yielded keeps the connections it has.
const yieldMost = time.Hour

// Yield stops listening in favour of another process that listens on the same
// sockets, so that nobody is refused: Deps.Sockets has copies for it. The
// connections that there are come to their own end. Each answer asks the client
// to connect anew; one that asks nothing any more is closed when it has been idle
// for as long as ever; an upload, an event stream or a WebSocket goes on. Run
// returns once the last one has ended, an hour later at the latest, or when its
// context ends. Closing idle connections at once, as the end of the context
// does, would lose requests that are on their way on them (RFC 9112, 9.5).
//
// HTTP/3 is the exception: packets of all connections come to one socket, and no
// two processes can read it. Requests under way get 10 seconds, clients are told
// to send no others, and idle connections are closed. Meanwhile new ones are not
// answered, upon which clients take HTTP/2. vacated is closed once the other
// process may read the sockets.
func (s *Server) Yield() (vacated <-chan struct{}) {
	s.yielding.Do(func() { close(s.yielded) })
	return s.vacated
}

// leave waits for the end of all connections.
func (s *Server) leave(ctx context.Context, quic *overQUIC) {
	s.deps.Sockets.Release()
	func() {
		ctx, cancel := context.WithTimeout(ctx, drain)
		defer cancel()
		quic.shutdown(ctx)
	}()
	close(s.vacated)
	ctx, cancel := context.WithTimeout(ctx, yieldMost)
	defer cancel()
	again := time.NewTicker(200 * time.Millisecond) // what was just accepted is counted by then
	defer again.Stop()
	for {
		select {
		case <-again.C:
			if s.edge.Open() == 0 {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// leaving has clients of a server that yielded connect anew: on HTTP/1.1 by the
// header, which HTTP/2 turns into a GOAWAY.
func (s *Server) leaving(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-s.yielded:
			if r.Header.Get("Upgrade") == "" {
				w.Header().Set("Connection", "close")
			}
		default:
		}
		h.ServeHTTP(w, r)
	})
}
