package edge

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

// Listen opens a TCP address. The host localhost stands for both loopback
// addresses: 127.0.0.1, and ::1 where the machine has it, so that nobody else
// on the machine can answer in the place of one of them.
func Listen(ctx context.Context, address string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var lc net.ListenConfig
	if host != "localhost" {
		l, err := lc.Listen(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return []net.Listener{linger(l)}, nil
	}
	four, err := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	if port == "0" {
		_, port, _ = net.SplitHostPort(four.Addr().String())
	}
	six, err := lc.Listen(ctx, "tcp6", net.JoinHostPort("::1", port))
	switch {
	case err == nil:
		return []net.Listener{linger(four), linger(six)}, nil
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return []net.Listener{linger(four)}, nil // no IPv6 here
	}
	four.Close()
	return nil, err
}

// NewServer is an http.Server with bounds on what a client may cost before its
// request is known: 10 s and 64 kB for the header, 100 streams in a
// connection, and a minute for an idle one. Bodies are bounded by the ring. Its
// error log goes to log: failed handshakes, which any scanner causes, at level
// debug, the rest as warnings.
func NewServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,

		// OPTIONS * is the handler's to answer, as all else.
		DisableGeneralOptionsHandler: true,

		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: 100},
		ErrorLog: log.New(serverLog{logger}, "", 0),
	}
}

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
