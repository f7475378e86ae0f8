package edge

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
)

// An acceptedConn is a connection below TLS: it gives back what it was counted
// for once it is gone, and is cut when its client does not read.
type acceptedConn struct {
	net.Conn // *lingerConn, but in tests
	state    *State
	client   netip.Addr
	remote   net.Addr // of the client, as a PROXY header says; nil: the peer's
	paced    bool
	pace     pace // of answers; a write is the only one

	mu       sync.Mutex
	counted  bool
	admitted func()
	ended    bool
	write    deadlines
	slow     bool // cut already
}

func (c *acceptedConn) RemoteAddr() net.Addr {
	if c.remote != nil {
		return c.remote
	}
	return c.Conn.RemoteAddr()
}

// release runs once nothing is left of the connection.
func (c *acceptedConn) release() {
	c.mu.Lock()
	admitted, counted := c.admitted, c.counted
	c.admitted, c.counted, c.ended = nil, false, true
	c.mu.Unlock()
	if admitted != nil {
		admitted()
	}
	if counted {
		c.state.open.n.Add(-1)
	}
}

// admit asks the guard for the client; if it says no, the connection is closed.
func (c *acceptedConn) admit(guard *Guard) bool {
	release, ok := guard.Admit(c.client)
	if !ok {
		c.reset()
		return false
	}
	c.mu.Lock()
	ended := c.ended
	if !ended {
		c.admitted = release
	}
	c.mu.Unlock()
	if ended && release != nil {
		release()
	}
	return !ended
}

func (c *acceptedConn) Close() error {
	c.mu.Lock()
	slow := c.slow
	c.mu.Unlock()
	if slow { // what was written would wait in the kernel
		c.reset()
		return nil
	}
	if _, ok := c.Conn.(*lingerConn); !ok {
		defer c.release()
	}
	return c.Conn.Close()
}

func (c *acceptedConn) reset() {
	if l, ok := c.Conn.(*lingerConn); ok {
		l.reset()
		return
	}
	c.Conn.Close()
	c.release()
}

// CloseWrite is what net/http asks for before it waits for the client to have
// read a refusal.
func (c *acceptedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

func (c *acceptedConn) Write(p []byte) (written int, err error) {
	if !c.paced {
		return c.Conn.Write(p)
	}
	const most = 17 << 10 // a TLS record at once, with what is around it
	for {
		n, err := c.writePiece(p[:min(len(p), most)])
		written += n
		if p = p[n:]; err != nil || len(p) == 0 {
			return written, err
		}
	}
}

func (c *acceptedConn) writePiece(p []byte) (int, error) {
	began := time.Now()
	c.mu.Lock()
	c.write.allow(began, c.pace.left, c.Conn.SetWriteDeadline)
	c.mu.Unlock()
	n, err := c.Conn.Write(p)
	now := time.Now()
	c.pace.spend(now.Sub(began), n)
	if err != nil && os.IsTimeout(err) {
		c.mu.Lock()
		ours := c.write.ours(now)
		c.mu.Unlock()
		switch {
		case ours && n > 0 && c.pace.left > 0:
			return n, nil // what has moved has earned it more time
		case ours:
			c.cut("it does not read what it asked for")
		}
	}
	return n, err
}

// cut has the connection closed without waiting, and says why.
func (c *acceptedConn) cut(why string) {
	c.mu.Lock()
	was := c.slow
	c.slow = true
	c.mu.Unlock()
	if !was {
		c.report(why)
	}
}

func (c *acceptedConn) report(why string) { c.state.cut(c.client, why) }

// cut says that a client was too slow to be waited for.
func (s *State) cut(client netip.Addr, why string) {
	s.record(audit.Event{Time: s.now(), Kind: audit.ConnectionSlow, Outcome: audit.Failure, Control: slowClients.ID,
		Client: client, Detail: why})
}

func (c *acceptedConn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write.ask(t, c.Conn.SetWriteDeadline)
}

func (c *acceptedConn) SetDeadline(t time.Time) error {
	if err := c.Conn.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}
