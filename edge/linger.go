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
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return &lingerConn{TCPConn: tcp, slots: l.slots}, nil
	}
	return c, err
}

type lingerConn struct {
	*net.TCPConn
	slots  chan struct{}
	closed atomic.Bool
}

// Close returns at once; whoever still reads is let go within lingerTime.
func (c *lingerConn) Close() error {
	if c.closed.Swap(true) {
		return net.ErrClosed
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return c.TCPConn.Close()
	}
	if err := c.CloseWrite(); err != nil { // the client is gone
		<-c.slots
		return c.TCPConn.Close()
	}
	end := time.AfterFunc(lingerTime, func() { c.TCPConn.Close() })
	go func() {
		_, _ = io.Copy(io.Discard, c.TCPConn) // until the client has closed, too
		end.Stop()
		c.TCPConn.Close()
		<-c.slots
	}()
	return nil
}
