package ringwall

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/ringwall/ringwall/edge"
)

// overQUIC is HTTP/3 on its sockets. It has none where the policy has it off.
type overQUIC struct {
	server  edge.HTTP3
	sockets []net.PacketConn
	held    <-chan struct{} // nil: the sockets may be read

	reading  sync.WaitGroup
	stopping chan struct{}
	once     sync.Once
}

// listenQUIC opens the sockets beside those of HTTPS.
func (s *Server) listenQUIC(ctx context.Context, https []net.Listener) (*overQUIC, error) {
	q := &overQUIC{stopping: make(chan struct{})}
	p := s.Policy()
	if !p.Edge.HTTP3 {
		return q, nil
	}
	var err error
	if q.sockets, err = s.deps.Sockets.ListenPacket(ctx, edge.SocketHTTP3, https); err != nil {
		return nil, p.Errorf("edge.http3", "", "%w", err)
	}
	q.held = s.deps.Sockets.Held()
	q.server = s.deps.HTTP3(edge.HTTP3Config{
		Handler: edge.Unstuck(s.Handler(), s.guard), TLS: s.tlsConfig(), Log: s.deps.Log,
		Admit: func(peer netip.Addr) (func(), bool) { return s.edge.Admit(peer, s.guard()) },
	})
	return q, nil
}

// serve serves one socket and closes it.
func (q *overQUIC) serve(c net.PacketConn) error {
	defer c.Close()
	if q.held != nil {
		select {
		case <-q.held:
		case <-q.stopping:
			return http.ErrServerClosed
		}
	}
	return q.server.Serve(c)
}

// shutdown has requests under way end until ctx does, and then all connections.
// It returns once no socket is read any more.
func (q *overQUIC) shutdown(ctx context.Context) {
	q.once.Do(func() {
		close(q.stopping)
		if q.server != nil {
			_ = q.server.Shutdown(ctx)
		}
		q.reading.Wait()
	})
}

// close is for sockets that nobody serves.
func (q *overQUIC) close() {
	for _, c := range q.sockets {
		c.Close()
	}
}
