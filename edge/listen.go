package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
)

// Listen opens a TCP address, or a unix socket for unix: and a path. The host localhost stands for both loopback
// addresses: 127.0.0.1, and ::1 where the machine has it, so that nobody else
// on the machine can answer in the place of one of them.
func Listen(ctx context.Context, address string) ([]net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		l, err := listenUnix(ctx, path)
		if err != nil {
			return nil, err
		}
		return []net.Listener{linger(l)}, nil
	}
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
