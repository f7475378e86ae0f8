package edge

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/ringwall/ringwall/edge/internal/http1"
)

// A Server serves what State.Accept returns: HTTP/1 by itself, where the
// framing of requests is judged, and all else by the http.Server in it, whose
// fields tell what is in force for both. Their handlers see no difference.
type Server struct {
	*http.Server
	one http1.Server
}

// NewServer is a Server with bounds on what a client may cost before its
// request is known: 10 s and 64 kB for the header, 100 streams in a
// connection, and a minute for an idle one. Bodies are bounded by the ring. Its
// error log goes to log: failed handshakes, which any scanner causes, at level
// debug, the rest as warnings.
//
// HTTP/2 floods are bounded by net/http itself: 100 handlers of a connection
// run at once, those of streams that were reset included, and 400 wait; 10,000
// control frames wait to be written, and one answer to SETTINGS; the headers of
// a request, their CONTINUATION frames included, are within the 64 kB. Beyond,
// the connection ends.
func NewServer(h http.Handler, logger *slog.Logger) *Server {
	s := &Server{Server: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    headerBytes,
		ConnState: func(c net.Conn, s http.ConnState) {
			if h, ok := c.(interface{ Hijacked() }); ok && s == http.StateHijacked {
				h.Hijacked()
			}
		},

		// OPTIONS * is the handler's to answer, as all else.
		DisableGeneralOptionsHandler: true,

		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: streams, MaxReadFrameSize: 16 << 10},
		ErrorLog: log.New(serverLog{logger}, "", 0),
	}}
	if h == nil {
		h = http.DefaultServeMux
	}
	s.one = http1.Server{
		Handler: h, HeaderTime: s.ReadHeaderTimeout, IdleTime: s.IdleTimeout, MaxHead: s.MaxHeaderBytes,
		Base:   context.WithValue(context.Background(), http.ServerContextKey, s.Server),
		Refuse: refuseHTTP1, Log: s.ErrorLog.Printf,
	}
	return s
}

// refuseHTTP1 is the answer to a request that cannot be read.
func refuseHTTP1(c net.Conn, status int, why error) []byte {
	if h, ok := c.(interface{ refusal(int, error) []byte }); ok {
		return h.refusal(status, why)
	}
	return nil
}

// Serve serves the connections of l until Shutdown or Close. It returns
// http.ErrServerClosed then.
func (s *Server) Serve(l net.Listener) error { return s.Server.Serve(&parted{l, s}) }

// ServeTLS is Serve over TLS, for a listener that State.Accept did not make.
func (s *Server) ServeTLS(l net.Listener, certFile, keyFile string) error {
	return s.Server.ServeTLS(&parted{l, s}, certFile, keyFile)
}

// parted keeps connections from net/http that http1 serves.
type parted struct {
	net.Listener
	server *Server
}

func (p *parted) Accept() (net.Conn, error) {
	for {
		c, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if h, ok := c.(interface{ framed() bool }); !ok || !h.framed() {
			return c, nil
		}
		go p.server.one.Serve(c)
	}
}

// Shutdown stops listening, closes connections that wait for a request, and lets
// the others end, until ctx does.
func (s *Server) Shutdown(ctx context.Context) error {
	done := make(chan error)
	go func() { done <- s.one.Shutdown(ctx) }()
	err := s.Server.Shutdown(ctx)
	return errors.Join(err, <-done)
}

// Close stops listening and closes all connections, but those that handlers took
// over.
func (s *Server) Close() error {
	err := s.Server.Close()
	s.one.Close()
	return err
}

const (
	headerTime  = 10 * time.Second // for a handshake, and for the header of a request
	idleTime    = time.Minute
	headerBytes = 64 << 10
	streams     = 100
)

// serverLog turns the lines of net/http into records.
type serverLog struct{ *slog.Logger }

func (l serverLog) Write(p []byte) (int, error) {
	line := strings.TrimSuffix(string(p), "\n")
	level := slog.LevelWarn
	if strings.Contains(line, "TLS handshake error") || strings.Contains(line, "URL query contains semicolon") {
		level = slog.LevelDebug
	}
	l.Log(context.Background(), level, "http server", "error", line)
	return len(p), nil
}
