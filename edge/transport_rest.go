package edge

import (
	"io"
	"sync"
	"time"

	"github.com/ringwall/ringwall/policy"
)

// A restBody is what of a request's body follows its head, sent by a goroutine
// of its own. A nil one is a body that was sent with the head.
type restBody struct {
	body io.Reader
	left int64         // -1: unknown, and sent in chunks
	done chan struct{} // closed when the goroutine has ended; nil: it was not started

	mu    sync.Mutex
	begun bool  // the answer has begun: nothing waits for it any more
	whole bool  // all was sent
	err   error // why it could not be read
}

func (b *restBody) start(c *conn, t policy.Timeouts) {
	b.done = make(chan struct{})
	go func() {
		defer close(b.done)
		b.run(c, t)
	}()
}

func (b *restBody) run(c *conn, t policy.Timeouts) {
	err := b.copy(c, t.Send)
	b.mu.Lock()
	defer b.mu.Unlock()
	if bad, ok := err.(*badBody); ok {
		b.err = bad
		c.abort() // half a body must not look like a whole one
		return
	}
	b.whole = err == nil
	if b.begun {
		return
	}
	until := time.Now()
	if err == nil || !isTimeout(err) { // it may have answered, and read no more
		until = until.Add(t.Read)
	}
	_ = c.SetReadDeadline(until) // a closed connection says so when it is read
}

// copy sends the body. Each write has a deadline of its own, so that an upstream
// that stops reading is noticed, however long the whole takes.
func (b *restBody) copy(c *conn, limit time.Duration) error {
	const room = 6 // for the size of a chunk and its CR LF
	buf := buffers.Get()
	defer buffers.Put(buf)
	write := func(p []byte) error {
		if err := c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
		_, err := c.Write(p)
		return err
	}
	chunked := b.left < 0
	for chunked || b.left > 0 {
		data := buf[room : len(buf)-2]
		if !chunked {
			data = data[:min(int64(len(data)), b.left)]
		}
		n, err := b.body.Read(data)
		if n > 0 {
			out := data[:n]
			if chunked {
				out = chunk(buf, n)
			} else {
				b.left -= int64(n)
			}
			if err := write(out); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF && chunked:
			return write([]byte("0\r\n\r\n"))
		case err == io.EOF && b.left > 0:
			return &badBody{io.ErrUnexpectedEOF}
		case err != nil && err != io.EOF:
			return &badBody{err}
		}
	}
	return nil
}

// chunk puts the frame of a chunk around the n bytes that begin at buf[6].
func chunk(buf []byte, n int) []byte {
	const hex = "0123456789abcdef"
	i := 4
	for size := n; size > 0; size >>= 4 {
		i--
		buf[i] = hex[size&15]
	}
	buf[4], buf[5], buf[6+n], buf[7+n] = '\r', '\n', '\r', '\n'
	return buf[i : 8+n]
}

// failure is why the body could not be read, or nil.
func (b *restBody) failure() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// answering ends the time for the answer to begin. From then on each wait for
// more of it has its own (exchange.fill).
func (b *restBody) answering(c *conn) {
	if b != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.begun = true
	}
	_ = c.SetReadDeadline(time.Time{}) // a closed connection says so when it is read
}

// sent reports whether the upstream has got all of it. When the whole answer is
// there, the last write has just ended or never will.
func (b *restBody) sent() bool {
	if b == nil {
		return true
	}
	t := time.NewTimer(50 * time.Millisecond)
	defer t.Stop()
	select {
	case <-b.done:
		return b.whole
	case <-t.C:
		return false
	}
}
