package edge

import (
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge/internal/framing"
)

// follow stands between an HTTP/1 connection and its server; other connections it
// returns as they are. conn is c, or TLS over it.
func follow(conn net.Conn, c *acceptedConn, guard *Guard, st *State) net.Conn {
	t, secure := conn.(*tls.Conn)
	if secure {
		if p := t.ConnectionState().NegotiatedProtocol; p != "" && p != "http/1.1" {
			return conn
		}
	}
	h := &http1Conn{Conn: conn, under: c, state: st, strict: guard.enforces(strictFraming.ID), paced: c.paced, answers: guard.refusals.plain}
	if !secure {
		return h
	}
	h.answers = guard.refusals.secure
	return &http1TLSConn{h, t}
}

// An http1Conn lets its server read what is well framed, and nothing behind the
// first byte that is not. Refusals are written with the headers of every other
// answer. The server is http1's, or net/http where the framing is not judged.
//
// A refusal is not written when it is seen: the answer to an earlier request
// may be under way. Reading fails, and the server answers that once it is the
// request's turn. net/http does so in words of its own. Nothing looks for these
// in what is written: a part of an answer's body may read the same.
//
// After an upgrade it passes all that comes. What a client sends in the new
// protocol before it was answered 101 (RFC 6455, 4.1 forbids it) is read as a
// next request and ends the connection.
type http1Conn struct {
	net.Conn
	under   *acceptedConn
	state   *State
	strict  bool
	paced   bool
	answers map[int][]byte // by status

	framer framing.Framer
	breach framing.Breach
	off    bool // nothing is followed any more

	pace pace // of the body that is read
	mu   sync.Mutex
	read deadlines
}

// http1TLSConn is what net/http takes Request.TLS from.
type http1TLSConn struct {
	*http1Conn
	tls *tls.Conn
}

func (c *http1TLSConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// CloseWrite says over TLS that no more comes, where net/http waits before it
// closes.
func (c *http1TLSConn) CloseWrite() error { return c.tls.CloseWrite() }

func (c *http1Conn) CloseWrite() error { return c.under.CloseWrite() }

// Hijacked is called when a handler takes the connection over.
func (c *http1Conn) Hijacked() { c.off = c.breach == framing.None }

// framed reports whether all that is read is well framed, so that http1 serves
// it; else net/http does, which forgives more.
func (c *http1Conn) framed() bool { return c.strict }

// refusal is what http1 answers a request with that it cannot read. Breaches of
// the framing were recorded when they were seen. A header that is too long is a
// mistake: a page can have any browser send one, and who sent it is not read.
func (c *http1Conn) refusal(status int, why error) []byte {
	if _, breach := why.(framing.Breach); !breach {
		kind := audit.ProtocolRefused
		if status == http.StatusRequestHeaderFieldsTooLarge {
			kind = audit.InputRefused
		}
		c.state.record(audit.Event{Time: c.state.now(), Kind: kind, Outcome: audit.Failure, Control: strictFraming.ID,
			Client: c.under.client, Status: status, Detail: why.Error()})
	}
	return c.answers[status]
}

func (c *http1Conn) Read(p []byte) (int, error) {
	if c.off || len(p) == 0 {
		return c.Conn.Read(p)
	}
	if c.breach != framing.None {
		return 0, c.breach
	}
	n, err := c.wait(p)
	ok, breach := c.framer.Follow(p[:n])
	if c.read.paced != (time.Time{}) && !c.framer.InBody() {
		c.mu.Lock()
		c.read.stop(c.Conn.SetReadDeadline)
		c.mu.Unlock()
	}
	if breach == framing.None {
		return n, err
	}
	if !c.strict { // where requests end is not known from here on
		c.off = true
		return n, err
	}
	c.refuse(breach)
	if ok > 0 {
		return ok, nil
	}
	return 0, breach
}

// wait reads, and in a body waits only as long as the pace allows.
func (c *http1Conn) wait(p []byte) (int, error) {
	if !c.paced || !c.framer.InBody() {
		c.pace.left = grace
		return c.Conn.Read(p)
	}
	began := time.Now()
	c.mu.Lock()
	c.read.allow(began, c.pace.left, c.Conn.SetReadDeadline)
	c.mu.Unlock()
	n, err := c.Conn.Read(p)
	now := time.Now()
	c.pace.spend(now.Sub(began), n)
	if err != nil && os.IsTimeout(err) {
		c.mu.Lock()
		ours := c.read.ours(now)
		c.mu.Unlock()
		if ours {
			c.under.report("it does not send the body that it announced")
		}
	}
	return n, err
}

func (c *http1Conn) refuse(b framing.Breach) {
	c.breach = b
	c.state.record(audit.Event{Time: c.state.now(), Kind: audit.ProtocolRefused, Outcome: audit.Failure, Control: strictFraming.ID,
		Client: c.under.client, Status: b.Status(), Detail: b.Error()})
}

func (c *http1Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read.ask(t, c.Conn.SetReadDeadline)
}

func (c *http1Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetWriteDeadline(t)
}
