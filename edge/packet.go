package edge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"

	"github.com/ringwall/ringwall/audit"
)

// HTTP3 is what serves HTTP/3 on one UDP socket; edge/http3 has it.
type HTTP3 interface {
	// Serve serves until Shutdown, and then returns http.ErrServerClosed.
	Serve(net.PacketConn) error

	// Shutdown takes no connections any more and lets requests under way end
	// until ctx does. It leaves the socket to who opened it.
	Shutdown(ctx context.Context) error
}

// HTTP3Config is what HTTP/3 has in common with the other protocols.
type HTTP3Config struct {
	Handler http.Handler
	TLS     *tls.Config
	Admit   Admit // is asked for each connection, once its address is proven
	Log     *slog.Logger
}

// Admit counts a connection that Accept has not seen, such as one of QUIC, and
// asks the guard for its peer, as Accept does. When it is not ok, the connection
// is to be refused; else release is to be called once, when it has ended.
func (s *State) Admit(peer netip.Addr, guard *Guard) (release func(), ok bool) {
	peer = peer.Unmap().WithZone("")
	if !s.open.take(guard.MaxConnections) {
		if s.open.say(s.now()) {
			s.record(audit.Event{Time: s.now(), Kind: audit.ConnectionRefused, Outcome: audit.Failure, Control: connections.ID,
				Client: peer, Detail: "more connections than edge.max_connections in all"})
		}
		return nil, false
	}
	admitted, ok := guard.Admit(peer)
	if !ok {
		s.open.n.Add(-1)
		return nil, false
	}
	return func() {
		if admitted != nil {
			admitted()
		}
		s.open.n.Add(-1)
	}, true
}

// ListenPacket opens a UDP socket for each TCP address, or takes those that were
// given by the name, which must be at these addresses.
func (s *Sockets) ListenPacket(ctx context.Context, name string, beside []net.Listener) ([]net.PacketConn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	given, inherited := s.given[name]
	delete(s.given, name)
	var conns []net.PacketConn
	fail := func(err error) ([]net.PacketConn, error) {
		for _, c := range conns {
			c.Close()
		}
		for _, f := range given {
			f.Close()
		}
		return nil, err
	}
	if inherited && len(given) != len(beside) {
		return fail(fmt.Errorf("%d sockets named %s were inherited, and %s listens on %d addresses", len(given), name, SocketHTTPS, len(beside)))
	}
	if inherited {
		for _, f := range given {
			c, err := inheritUDP(f, beside)
			if err != nil {
				return fail(fmt.Errorf("the inherited socket %s %w", name, err))
			}
			conns = append(conns, c)
		}
		for _, f := range given {
			f.Close() // FilePacketConn has made its own
		}
	} else {
		var lc net.ListenConfig
		for _, l := range beside {
			network := "udp"
			if at := l.Addr().(*net.TCPAddr).AddrPort().Addr(); !at.IsUnspecified() && at.Unmap().Is4() {
				network = "udp4"
			}
			c, err := lc.ListenPacket(ctx, network, l.Addr().String())
			if err != nil {
				return fail(err)
			}
			conns = append(conns, c)
		}
	}
	for _, c := range conns {
		// Only copies: who reads the packets closes it when he has read the last.
		s.open = append(s.open, socket{name, c.(*net.UDPConn).File, func() {}})
	}
	return conns, nil
}

func inheritUDP(f *os.File, beside []net.Listener) (net.PacketConn, error) {
	c, err := net.FilePacketConn(f)
	if err != nil {
		return nil, fmt.Errorf("is no packet socket: say ListenDatagram= in its socket unit: %w", err)
	}
	udp, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return nil, errors.New("is not of UDP: say a port in ListenDatagram=")
	}
	at := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	for _, l := range beside {
		if l.Addr().(*net.TCPAddr).AddrPort() == at {
			return udp, nil
		}
	}
	c.Close()
	return nil, fmt.Errorf("is at %s, and %s listens on %s: HTTP/3 is served at the same address and port", at, SocketHTTPS, beside[0].Addr())
}

// Hold keeps UDP sockets from being read until the other process that has them
// reads no more: packets are for one process, and QUIC connections too.
func (s *Sockets) Hold(until <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = until
}

// Held is closed once UDP sockets may be read; nil: they may.
func (s *Sockets) Held() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hold
}
