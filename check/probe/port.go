package probe

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// DialPort opens a plain connection to any address, for at most as long as
// patience. It counts as one of MaxRequests. Pace is of the target's own port and
// is not waited for.
func (c *Client) DialPort(ctx context.Context, address string, patience time.Duration) (net.Conn, error) {
	if err := c.count(ctx); err != nil {
		return nil, err
	}
	TalliedAt(ctx, hostOf(address))
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	log := logOf(ctx)
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		log.note(log.begin(), "[connection to "+address+"]", "["+err.Error()+"]")
		return nil, err
	}
	e := log.begin()
	log.note(e, "[connection to "+address+"]", "[open]")
	return conn, nil
}

// Rejected reports whether somebody on the way may have answered that nobody gets
// through: a firewall's ICMP messages do (nftables: reject with icmpx
// admin-prohibited), and so does a machine that has no way. Only of an address that
// is reached at another port it tells that this one is closed.
func Rejected(err error) bool {
	var op *net.OpError
	if errors.Is(err, syscall.EACCES) && errors.As(err, &op) { // of ICMPv6; of IPv4 it is the system's own
		to, ok := op.Addr.(*net.TCPAddr)
		return ok && to.IP.To4() == nil
	}
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EHOSTUNREACH)
}

// Unreachable reports whether this machine has no way to an address, so that
// nothing was learnt of it. A refusal and silence tell that the port is closed.
func Unreachable(err error) bool {
	for _, no := range []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EPERM, syscall.EACCES} {
		if errors.Is(err, no) {
			return true
		}
	}
	return errors.Is(err, context.Canceled)
}
