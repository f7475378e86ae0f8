package ringwall

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
)

// drain is how long requests under way may take once Run is told to stop.
const drain = 10 * time.Second

// Addresses are where a running server listens; "" where it does not.
type Addresses struct {
	HTTPS, Redirect, Admin string
	Nginx                  string // for nginx alone, in the place of the first two
}

// Run listens as the policy says and serves until ctx ends: HTTPS on
// edge.listen, HTTP/3 beside it, the redirect to it on edge.redirect, and the metrics page on the
// admin address. Where nginx takes the connections, it listens for nginx on
// edge.nginx.listen instead of the first three. It then stops listening, lets requests under way end for at
// most 10 seconds, closes what is left, and returns nil. Deps.Identity runs
// meanwhile, and ends last; should it fail, the server ends as well.
//
// It returns an error when the policy has no certificate or an address cannot
// be listened on; nothing is then left open. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return errors.New("ringwall: the server was started before")
	}
	g := s.current.Load()
	if err := hasCertificate(g.policy); err != nil {
		return err
	}
	if err := s.deps.Bans.Load(); err != nil {
		return err
	}
	var open []served
	var quic *overQUIC
	closeAll := func() {
		if quic != nil {
			quic.close()
		}
		for _, o := range open {
			for _, l := range o.listeners {
				l.Close()
			}
		}
	}
	listen := func(name, key, address string, h http.Handler) (string, error) {
		ls, err := s.deps.Sockets.Listen(ctx, name, address)
		if err != nil {
			closeAll()
			return "", g.policy.Errorf(key, "", "%w", err)
		}
		open = append(open, served{listeners: ls, server: edge.NewServer(edge.Unstuck(h, s.guard), s.deps.Log), admin: key == "admin"})
		return ls[0].Addr().String(), nil
	}
	var err error
	p := g.policy
	if p.NginxIsEdge() {
		behind := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.current.Load().behind.ServeHTTP(w, r)
		})
		if s.addresses.Nginx, err = listen(edge.SocketNginx, "edge.nginx.listen", p.Edge.Nginx.Listen, behind); err != nil {
			return err
		}
		open[0].proxied = true
	} else {
		if s.addresses.HTTPS, err = listen(edge.SocketHTTPS, "edge.listen", p.Edge.Listen, s.leaving(s.Handler())); err != nil {
			return err
		}
		open[0].tls = true
		open[0].server.TLSConfig = s.tlsConfig()
	}
	if quic, err = s.listenQUIC(ctx, open[0].listeners); err != nil {
		closeAll()
		return err
	}
	if p.Edge.Redirect != "" && !p.NginxIsEdge() {
		s.redirectTo(s.addresses.HTTPS)
		redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.current.Load().redirect.ServeHTTP(w, r)
		})
		if s.addresses.Redirect, err = listen(edge.SocketRedirect, "edge.redirect", p.Edge.Redirect, redirect); err != nil {
			return err
		}
	}
	if p.Admin != "" {
		if s.addresses.Admin, err = listen(edge.SocketAdmin, "admin", p.Admin, edge.LoopbackOnly(s.deps.Metrics(s.Stats))); err != nil {
			return err
		}
	}
	if err := s.deps.Sockets.Unused(); err != nil {
		closeAll()
		return err
	}
	return s.serve(ctx, open, quic)
}

// redirectTo tells redirects the port that the system chose for :0.
func (s *Server) redirectTo(https string) {
	s.reload.Lock()
	defer s.reload.Unlock()
	_, s.port, _ = net.SplitHostPort(https)
	g := *s.current.Load()
	g.redirect = s.plain(g.policy)
	s.current.Store(&g)
}

// Listening is closed once every address is listened on; Addresses then says
// where.
func (s *Server) Listening() <-chan struct{} { return s.listening }

// Addresses says where the server listens. Wait for Listening before.
func (s *Server) Addresses() Addresses { return s.addresses }

// served is one HTTP server on its listeners.
type served struct {
	listeners []net.Listener
	server    *edge.Server
	tls       bool
	admin     bool
	proxied   bool // nginx connects, and nobody else
}

// guard is that of the policy in force.
func (s *Server) guard() *edge.Guard { return s.current.Load().guard }

func (s *Server) serve(ctx context.Context, open []served, quic *overQUIC) error {
	n := 0
	broke := make(chan error)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	bans := make(chan struct{})
	banning, stopBans := context.WithCancel(background)
	defer stopBans()
	go func() {
		s.deps.Bans.Run(banning)
		close(bans)
	}()
	certificates := make(chan struct{})
	go func() {
		s.certificates(background)
		close(certificates)
	}()
	accounts := make(chan error, 1)
	if s.deps.Identity != nil {
		go func() { accounts <- s.deps.Identity.Run(background) }()
	} else {
		accounts = nil
	}
	for _, o := range open {
		for _, l := range o.listeners {
			n++
			go func() {
				switch {
				case o.admin: // loopback alone
					broke <- o.server.Serve(l)
				case o.proxied:
					broke <- o.server.Serve(s.edge.Accept(l, nil, func() *edge.Guard { return s.current.Load().proxied }))
				case o.tls:
					broke <- o.server.Serve(s.edge.Accept(l, o.server.TLSConfig, s.guard))
				default:
					broke <- o.server.Serve(s.edge.Accept(l, nil, s.guard))
				}
			}()
		}
	}
	for _, c := range quic.sockets {
		n++
		quic.reading.Add(1)
		go func() {
			err := quic.serve(c)
			quic.reading.Done()
			broke <- err
		}()
	}
	s.event(audit.ServerStarted)
	close(s.listening)

	var failure error
	select {
	case <-ctx.Done():
	case <-s.yielded:
		s.deps.Bans.Retire() // their file is the other process's
		stopBans()
		s.leave(ctx, quic)
	case failure = <-broke:
		n--
	case err := <-accounts: // without it, ended sessions would go on
		accounts = nil
		failure = fmt.Errorf("accounts ended early: %w", cmp.Or(err, errors.New("without a reason")))
	}
	stopped := make(chan struct{})
	go func() {
		shutdown(open, quic)
		close(stopped)
	}()
	for range n {
		if err := <-broke; !errors.Is(err, http.ErrServerClosed) && failure == nil {
			failure = err
		}
	}
	<-stopped
	if g := s.current.Load(); g.proxy != nil {
		g.proxy.Close()
	}
	if stop(); accounts != nil {
		if err := <-accounts; err != nil && !errors.Is(err, context.Canceled) && failure == nil {
			failure = fmt.Errorf("accounts: %w", err)
		}
	}
	<-certificates
	<-bans
	s.event(audit.ServerStopped)
	if failure != nil {
		return fmt.Errorf("serve: %w", failure)
	}
	return nil
}

// shutdown drains all servers side by side, and closes what does not end.
func shutdown(open []served, quic *overQUIC) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	done := make(chan struct{})
	for _, o := range open {
		go func() {
			if o.server.Shutdown(ctx) != nil {
				o.server.Close()
			}
			done <- struct{}{}
		}()
	}
	go func() {
		quic.shutdown(ctx)
		done <- struct{}{}
	}()
	for range len(open) + 1 {
		<-done
	}
}

func (s *Server) event(kind audit.Kind) {
	s.deps.Audit.Record(audit.Event{Time: s.deps.Now(), Kind: kind, Outcome: audit.Success})
}
