package mail

import (
	"context"
	"net"
)

// Reach has s reach the server at another address than its own, as if a name
// resolved to it.
func Reach(s *SMTP, address string) {
	s.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}
