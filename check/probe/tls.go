package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/url"
)

// ErrNoTLS is returned by Handshake when the target's URL is http://.
var ErrNoTLS = errors.New("the target's URL is http://, so there is no TLS to look at")

// Handshake opens a connection and makes a TLS handshake with cfg as it stands;
// only the trusted roots are the client's own when cfg names none. It counts and
// is bounded as Dial is, and does not wait for the pace, which is of requests. A
// server that refused is told apart from one that could
// not be reached by Refused. The caller closes the connection.
func (c *Client) Handshake(ctx context.Context, cfg *tls.Config) (*tls.Conn, error) {
	if c.base.Scheme == "http" {
		return nil, ErrNoTLS
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.Timeout)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	if cfg.RootCAs == nil && c.opts.TLS != nil {
		cfg = cfg.Clone()
		cfg.RootCAs = c.opts.TLS.RootCAs
	}
	tc := tls.Client(conn, cfg)
	log := logOf(ctx)
	e := log.begin()
	if err := tc.HandshakeContext(ctx); err != nil {
		conn.Close()
		log.note(e, describeHello(c, cfg), "["+err.Error()+"]")
		if ctx.Err() != nil {
			return nil, ctx.Err() // in the place of what it made of the connection
		}
		return nil, &handshakeError{err}
	}
	log.note(e, describeHello(c, cfg), describeState(tc.ConnectionState()))
	return tc, nil
}

// handshakeError is what came of a handshake on a connection that was there.
type handshakeError struct{ error }

func (e *handshakeError) Unwrap() error { return e.error }

// Refused reports whether the error of Handshake is the server's decision: an
// alert, or a connection that it closed, and not a certificate that the client
// does not believe, nor silence.
func Refused(err error) bool {
	var end *handshakeError
	var untrusted *tls.CertificateVerificationError
	var network net.Error
	return errors.As(err, &end) && !errors.As(err, &untrusted) && !(errors.As(err, &network) && network.Timeout())
}

// Alerted reports whether the error of Handshake is an alert of the server's: it
// speaks TLS, and says that it will not go on.
func Alerted(err error) bool {
	var end *handshakeError
	var alert *net.OpError
	return errors.As(err, &end) && errors.As(err, &alert) && alert.Op == "remote error" // crypto/tls has no better mark
}

// At is a client for another origin, with everything else, the count of
// connections too, as this one's.
func (c *Client) At(base string) (*Client, error) {
	other, err := New(base, c.opts)
	if err != nil {
		return nil, err
	}
	other.source, other.sent, other.pacer = c.source, c.sent, c.pacer
	return other, nil
}

// Host is where the target is reached: its URL's host, with the port.
func (c *Client) Host() string {
	if c.opts.Address != "" {
		port := c.base.Port()
		if port == "" {
			port = defaultPort(c.base)
		}
		return net.JoinHostPort(c.opts.Address, port)
	}
	if c.base.Port() != "" {
		return c.base.Host
	}
	return net.JoinHostPort(c.base.Hostname(), defaultPort(c.base))
}

func defaultPort(u *url.URL) string {
	if u.Scheme == "http" {
		return "80"
	}
	return "443"
}
