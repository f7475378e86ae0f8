// Package http3 serves HTTP/3 (RFC 9114) with quic-go. It is a package of its
// own so that only programs that serve HTTP/3 link that.
package http3

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/ringwall/ringwall/edge"
)

const (
	handshakeTime = 10 * time.Second // a handshake may take twice that
	idleTime      = time.Minute
	headerBytes   = 64 << 10
	streams       = 100 // requests of a connection at once
	uniStreams    = 8   // control, and the two of QPACK; the rest are greased
	streamWindow  = 1 << 20
	underWay      = 250 * time.Millisecond // for requests that were sent before a GOAWAY came
	connWindow    = 4 << 20                // of memory that a connection can fill unread
)

// New serves HTTP/3 as cfg says. What it holds clients to is what edge.NewServer
// and State.Accept hold those of TCP to, and besides:
//
//   - a client proves its address by a Retry (RFC 9000, section 8.1.2) before it
//     is asked whether it is admitted, so that nobody can use up, or be banned
//     with, the address of somebody else. That costs the first connection one
//     round trip; later ones have a token;
//   - no request is taken from 0-RTT data, which could be replayed (RFC 8446,
//     section 8);
//   - a connection has 100 requests at most, those that were reset and whose
//     handler still runs included: quic-go counts them as open streams;
//   - a connection holds at most 4 MB that the handler has not read.
//
// What it does not do by itself is to give up slow streams: wrap the handler in
// edge.Unstuck, as ringwall.Server does.
func New(cfg edge.HTTP3Config) edge.HTTP3 {
	s := &server{admit: cfg.Admit, over: make(chan struct{})}
	s.http = &http3.Server{
		Handler:        s.framed(cfg.Handler),
		TLSConfig:      http3.ConfigureTLSConfig(cfg.TLS),
		MaxHeaderBytes: headerBytes,
		IdleTimeout:    idleTime,
		Logger:         cfg.Log,
	}
	return s
}

type server struct {
	http     *http3.Server
	admit    edge.Admit
	requests atomic.Int64 // under way

	mu        sync.Mutex
	listeners []*quic.Listener
	closed    bool
	over      chan struct{} // closed once all connections have ended
}

func (s *server) Serve(c net.PacketConn) error {
	t := &quic.Transport{
		Conn:                c,
		VerifySourceAddress: func(net.Addr) bool { return true },
		ConnContext: func(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
			release, ok := s.admit(address(client.RemoteAddr))
			if !ok {
				return nil, errors.New("not admitted")
			}
			context.AfterFunc(ctx, release) // also when the handshake fails
			return ctx, nil
		},
	}
	defer t.Close()
	l, err := t.Listen(s.http.TLSConfig, &quic.Config{
		HandshakeIdleTimeout:           handshakeTime,
		MaxIdleTimeout:                 idleTime,
		MaxIncomingStreams:             streams,
		MaxIncomingUniStreams:          uniStreams,
		MaxStreamReceiveWindow:         streamWindow,
		MaxConnectionReceiveWindow:     connWindow,
		InitialStreamReceiveWindow:     streamWindow / 4,
		InitialConnectionReceiveWindow: connWindow / 4,
		Allow0RTT:                      false,
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return http.ErrServerClosed
	}
	s.listeners = append(s.listeners, l)
	s.mu.Unlock()
	for {
		conn, err := l.Accept(context.Background())
		if errors.Is(err, quic.ErrServerClosed) {
			<-s.over // connections still need the socket
			return http.ErrServerClosed
		}
		if err != nil {
			return err
		}
		go func() {
			if err := s.http.ServeQUICConn(conn); err != nil {
				_ = conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			}
		}()
	}
}

// Shutdown closes a connection once it has no request under way: clients that
// were told to send no others do not always close it themselves.
func (s *server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	for _, l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	drained, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- s.http.Shutdown(drained) }()
	again := time.NewTicker(underWay)
	defer again.Stop()
	var err error
wait:
	for {
		select {
		case err = <-ended:
			break wait
		case <-again.C:
			if s.requests.Load() == 0 {
				cancel()
			}
		case <-ctx.Done():
			break wait // Close would wait for handlers, however long they take
		}
	}
	if first {
		close(s.over)
	}
	return err
}

// framed gives requests to h once it is known whether they have a body.
func (s *server) framed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		defer s.requests.Add(-1)
		if !whole(w, r) {
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	})
}

// whole finds out whether a request has a body, where its header does not say.
// HTTP/2 says it with the header; HTTP/3 ends the stream after it, and quic-go
// calls that an unknown length. Only methods whose requests seldom have one are
// looked at: a POST without a body has Content-Length: 0 (Fetch standard,
// HTTP-network-or-cache fetch, step 8). It is false when the client leaves that
// open for longer than a header may take.
func whole(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.ContentLength >= 0, r.Method == http.MethodPost, r.Method == http.MethodPut, r.Method == http.MethodPatch, r.Method == http.MethodConnect:
		return true
	}
	at := http.NewResponseController(w)
	if at.SetReadDeadline(time.Now().Add(handshakeTime)) != nil {
		return false
	}
	first := make([]byte, 1)
	n, err := io.ReadFull(r.Body, first)
	if err == io.EOF {
		r.Body, r.ContentLength = http.NoBody, 0
	} else if err != nil {
		return false
	} else {
		r.Body = &begun{io.MultiReader(bytes.NewReader(first[:n]), r.Body), r.Body}
	}
	return at.SetReadDeadline(time.Time{}) == nil
}

// begun is a body of which something was read already.
type begun struct {
	io.Reader
	io.Closer
}

func address(a net.Addr) netip.Addr {
	if udp, ok := a.(*net.UDPAddr); ok {
		return udp.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}
