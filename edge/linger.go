package edge

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// A refusal must arrive. A request that is refused before its body was read is
// answered while the client still writes; closing then makes the kernel answer
// the rest with a reset, which throws away the answer that the client has not
// read yet (RFC 9112, 9.6). net/http waits in some cases, and closes at once
// when the client asked for Connection: close. So a connection of these
// listeners is closed in two steps: nothing more is sent, and for half a second
// what still comes is read and dropped.
const (
	lingerTime = 500 * time.Millisecond
	lingerMost = 1024 // connections at once; more are closed at once
)

type lingerListener struct {
	net.Listener
	slots chan struct{}
}

func linger(l net.Listener) net.Listener {
	return &lingerListener{l, make(chan struct{}, lingerMost)}
}

func (l *lingerListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if half, ok := c.(halfCloser); ok && err == nil {
		return &lingerConn{halfCloser: half, slots: l.slots}, nil
	}
	return c, err
}

// A halfCloser is TCP, or a unix socket: nginx, too, takes a write that fails for
// the end of a request, and answers 502 for what it has not read yet.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

type lingerConn struct {
	halfCloser
	slots  chan struct{}
	closed atomic.Bool
	gone   func() // called once nothing is left of the connection; nil: nobody asks
}

// Close returns at once; whoever still reads is let go within lingerTime.
func (c *lingerConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return c.end()
	}
	if err := c.CloseWrite(); err != nil { // the client is gone
		<-c.slots
		return c.end()
	}
	// In the place of the server's own, which is over where it lost patience with
	// a body: it would end here at once.
	_ = c.SetReadDeadline(time.Now().Add(lingerTime))
	go func() {
		_, _ = io.Copy(io.Discard, c.halfCloser) // until the client has closed, too
		_ = c.end()
		<-c.slots
	}()
	return nil
}

// reset closes without waiting for anything: the client is told at once, and
// the kernel keeps nothing.
func (c *lingerConn) reset() {
	if c.closed.Swap(true) {
		return
	}
	if tcp, ok := c.halfCloser.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.end()
}

func (c *lingerConn) end() error {
	err := c.halfCloser.Close()
	if c.gone != nil {
		c.gone()
	}
	return err
}
