package ringwall

import (
	"context"
	"crypto/tls"
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
}

// Run listens as the policy says and serves until ctx ends: HTTPS on
// edge.listen, the redirect to it on edge.redirect, and the metrics page on the
// admin address. It then stops listening, lets requests under way end for at
// most 10 seconds, closes what is left, and returns nil.
//
// It returns an error when the policy has no certificate or an address cannot
// be listened on; nothing is then left open. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return errors.New("ringwall: the server was started before")
	}
	g := s.current.Load()
	if g.cert == nil {
		return g.policy.Errorf("edge.tls", "name the PEM files of the site's certificate and key: tls: {cert: site.pem, key: site.key}",
			"there is no certificate, and nothing is served without")
	}
	var open []served
	closeAll := func() {
		for _, o := range open {
			for _, l := range o.listeners {
				l.Close()
			}
		}
	}
	listen := func(key, address string, h http.Handler) (string, error) {
		ls, err := edge.Listen(ctx, address)
		if err != nil {
			closeAll()
			return "", g.policy.Errorf(key, "", "%w", err)
		}
		open = append(open, served{ls, edge.NewServer(h, s.deps.Log), false})
		return ls[0].Addr().String(), nil
	}
	var err error
	p := g.policy
	if s.addresses.HTTPS, err = listen("edge.listen", p.Edge.Listen, s.Handler()); err != nil {
		return err
	}
	open[0].tls = true
	open[0].server.TLSConfig = edge.TLSConfig(func() *tls.Certificate { return s.current.Load().cert })
	if p.Edge.Redirect != "" {
		s.redirectTo(s.addresses.HTTPS)
		redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.current.Load().redirect.ServeHTTP(w, r)
		})
		if s.addresses.Redirect, err = listen("edge.redirect", p.Edge.Redirect, redirect); err != nil {
			return err
		}
	}
	if p.Admin != "" {
		if s.addresses.Admin, err = listen("admin", p.Admin, edge.LoopbackOnly(s.deps.Metrics(s.Stats))); err != nil {
			return err
		}
	}
	return s.serve(ctx, open)
}

// redirectTo tells redirects the port that the system chose for :0.
func (s *Server) redirectTo(https string) {
	s.reload.Lock()
	defer s.reload.Unlock()
	_, s.port, _ = net.SplitHostPort(https)
	g := *s.current.Load()
	g.redirect = edge.Redirect(g.policy, s.port)
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
	server    *http.Server
	tls       bool
}

func (s *Server) serve(ctx context.Context, open []served) error {
	n := 0
	broke := make(chan error)
	for _, o := range open {
		for _, l := range o.listeners {
			n++
			go func() {
				if o.tls {
					broke <- o.server.ServeTLS(l, "", "")
				} else {
					broke <- o.server.Serve(l)
				}
			}()
		}
	}
	s.event(audit.ServerStarted)
	close(s.listening)

	var failure error
	select {
	case <-ctx.Done():
	case failure = <-broke:
		n--
	}
	stopped := make(chan struct{})
	go func() {
		shutdown(open)
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
	s.event(audit.ServerStopped)
	if failure != nil {
		return fmt.Errorf("serve: %w", failure)
	}
	return nil
}

// shutdown drains all servers side by side, and closes what does not end.
func shutdown(open []served) {
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
	for range open {
		<-done
	}
}

func (s *Server) event(kind audit.Kind) {
	s.deps.Audit.Record(audit.Event{Time: s.deps.Now(), Kind: kind, Outcome: audit.Success})
}
