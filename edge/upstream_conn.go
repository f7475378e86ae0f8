package edge

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// keptFor is how long a connection that nobody uses stays open: shorter than
	// the 5 s after which Node.js closes one, since a request that is written to a
	// connection that is being closed is lost.
	keptFor = 4 * time.Second

	// keptMost bounds the connections of one upstream that nobody uses.
	keptMost = 256
)

// A conn is a connection to an upstream. One request at a time uses it.
type conn struct {
	net.Conn
	upstream *upstream
	used     bool // it has carried an answer
	since    time.Time
	abort    func() // Close, made once

	raw  syscall.RawConn
	peek func(fd uintptr) bool
	calm bool // what peek saw
	byte [1]byte
}

func newConn(c net.Conn, u *upstream) *conn {
	n := &conn{Conn: c, upstream: u}
	n.abort = func() { c.Close() }
	if s, ok := c.(syscall.Conn); ok {
		n.raw, _ = s.SyscallConn()
	}
	n.peek = func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), n.byte[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		n.calm = err == syscall.EAGAIN
		return true
	}
	return n
}

// silent reports whether the upstream has neither closed the connection nor
// sent anything since its last answer. What it sent unasked would be taken for
// the answer to the next request.
func (c *conn) silent() bool {
	return c.raw != nil && c.raw.Read(c.peek) == nil && c.calm
}

// kept are open connections that nobody uses, the one used last at the end.
type kept struct {
	mu     sync.Mutex
	conns  []*conn
	timer  *time.Timer // closes those that are kept for too long; nil: none are kept
	closed bool
}

// take returns an open connection: the one used last, or a new one.
func (u *upstream) take(ctx context.Context, fresh bool) (*conn, error) {
	if !fresh {
		k := &u.kept
		k.mu.Lock()
		if n := len(k.conns) - 1; n >= 0 {
			c := k.conns[n]
			k.conns[n], k.conns = nil, k.conns[:n]
			k.mu.Unlock()
			return c, nil
		}
		k.mu.Unlock()
	}
	c, err := u.dial(ctx)
	if err != nil {
		return nil, err
	}
	return newConn(c, u), nil
}

// keep takes a connection back whose last answer was read to its end.
func (u *upstream) keep(c *conn) {
	c.used, c.since = true, time.Now()
	k := &u.kept
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed || len(k.conns) >= keptMost {
		c.Close()
		return
	}
	k.conns = append(k.conns, c)
	if k.timer == nil {
		k.timer = time.AfterFunc(keptFor, k.sweep)
	}
}

// sweep closes connections that were kept long enough.
func (k *kept) sweep() {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, n := time.Now(), 0
	for n < len(k.conns) && now.Sub(k.conns[n].since) >= keptFor {
		k.conns[n].Close()
		n++
	}
	rest := copy(k.conns, k.conns[n:])
	clear(k.conns[rest:])
	k.conns = k.conns[:rest]
	if k.timer = nil; rest > 0 {
		k.timer = time.AfterFunc(keptFor-now.Sub(k.conns[0].since), k.sweep)
	}
}

// close gives up what is kept, and keeps nothing from now on.
func (k *kept) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.conns {
		c.Close()
	}
	if k.conns, k.closed = nil, true; k.timer != nil {
		k.timer.Stop()
	}
}
