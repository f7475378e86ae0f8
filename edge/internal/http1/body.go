package http1

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// mostUnread is how much of a body that nobody wants is read so that the
// connection can serve another request, and so that the client reads the answer:
// some do not begin to before they have sent all (golang.org/issue/15527).
const mostUnread = 256 << 10

const (
	longestLine    = 4 << 10 // of a chunk's size and extension
	longestTrailer = 4 << 10
)

// A body is the body of a request. One goroutine at a time reads it.
type body struct {
	conn    *conn
	x       *exchange
	present bool
	chunked bool

	expected    bool        // the client waits for 100 Continue
	mayContinue atomic.Bool // and may still get it

	mu      sync.Mutex
	left    int64 // of the body, or of the chunk
	inChunk bool  // the end of a chunk is to come
	over    bool  // it was read to its end
	closed  bool
	early   bool  // closed before its end
	err     error // why it cannot be read any more
}

var errChunk = errors.New("malformed chunked encoding")

// Read implements io.Reader. After Close it is http.ErrBodyReadAfterClose.
func (b *body) Read(p []byte) (int, error) {
	if b.mayContinue.Load() {
		b.sendContinue()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

// sendContinue tells the client that somebody reads, unless the answer has begun.
func (b *body) sendContinue() {
	c := b.conn
	c.writing.Lock()
	defer c.writing.Unlock()
	if b.mayContinue.CompareAndSwap(true, false) {
		_, _ = c.rwc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")) // the next write fails, too
	}
}

// noContinue returns once no 100 Continue will be sent.
func (b *body) noContinue() {
	if b.mayContinue.Load() {
		b.conn.writing.Lock()
		b.mayContinue.Store(false)
		b.conn.writing.Unlock()
	}
}

func (b *body) read(p []byte) (int, error) {
	if b.over {
		return 0, io.EOF
	}
	if b.err != nil {
		return 0, b.err
	}
	if b.chunked && b.left == 0 {
		if err := b.nextChunk(); err != nil {
			return 0, err
		}
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := b.take(p)
	b.left -= int64(n)
	if n > 0 && b.left == 0 && !b.chunked {
		b.ended()
		return n, io.EOF
	}
	return n, err
}

// take reads what has come, or from the connection: into the buffer if p is
// small.
func (b *body) take(p []byte) (int, error) {
	c := b.conn
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if c.r == c.w {
		if len(p) >= bufferSize {
			if err := c.takeFound(); err != nil {
				return 0, early(err)
			}
			n, err := c.rwc.Read(p)
			if n > 0 {
				err = nil
			}
			return n, early(err)
		}
		c.r, c.w = 0, 0
		if err := c.fill(); err != nil {
			return 0, early(err)
		}
	}
	n := copy(p, c.buf[c.r:c.w])
	c.r += n
	return n, nil
}

// early is the end of the connection within a body.
func early(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (b *body) ended() {
	b.over = true
	b.conn.bodyOver(b.x)
}

// fail ends a body that is not well-formed, for good.
func (b *body) fail(err error) error {
	b.err = err
	return err
}

// nextChunk reads up to the data of the next chunk (RFC 9112, 7.1), or to the end
// of the body, which is io.EOF.
func (b *body) nextChunk() error {
	if b.inChunk {
		line, err := b.line(2)
		if err != nil {
			return err
		}
		if len(line) > 0 {
			return b.fail(errChunk)
		}
		b.inChunk = false
	}
	line, err := b.line(longestLine)
	if err != nil {
		return err
	}
	size, ok := chunkSize(line)
	if !ok {
		return b.fail(errChunk)
	}
	if size > 0 {
		b.left, b.inChunk = size, true
		return nil
	}
	return b.trailer()
}

// line reads to the next CR LF, and returns what is before it until the next
// read. What has come of a line is there at the next call when reading fails.
func (b *body) line(longest int) ([]byte, error) {
	c := b.conn
	for {
		if i := bytes.IndexByte(c.buf[c.r:c.w], '\n'); i >= 0 {
			line := c.buf[c.r : c.r+i]
			c.r += i + 1
			if i == 0 || i+1 > longest || line[i-1] != '\r' {
				return nil, b.fail(errChunk)
			}
			return line[:i-1], nil
		}
		if c.w-c.r >= longest {
			return nil, b.fail(errChunk)
		}
		if c.r == c.w {
			c.r, c.w = 0, 0
		} else if c.w == len(c.buf) {
			c.makeRoom()
		}
		if err := c.fill(); err != nil {
			return nil, early(err)
		}
	}
}

// chunkSize reads hexadecimal digits, and a semicolon at once behind them.
func chunkSize(line []byte) (size int64, ok bool) {
	for i, c := range line {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		case c == ';':
			return size, i > 0
		default:
			return 0, false
		}
		if i == 15 {
			return 0, false
		}
		size = size<<4 | int64(c)
	}
	return size, len(line) > 0
}

// trailer reads the lines behind the last chunk into Request.Trailer.
func (b *body) trailer() error {
	var text []byte
	for {
		line, err := b.line(longestTrailer)
		if err != nil {
			return b.fail(err) // the part that came is lost
		}
		text = append(append(text, line...), "\r\n"...)
		if len(line) == 0 {
			break
		}
		if len(text) > longestTrailer {
			return b.fail(errChunk)
		}
	}
	if len(text) > 2 {
		f, err := parseFields(string(text), true)
		if err != nil {
			return b.fail(errChunk)
		}
		r := b.x.w.req
		if r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		for name, v := range f.header {
			r.Trailer[name] = v
		}
	}
	b.ended()
	return io.EOF
}

// Close reads on to the end, up to 256 kB, so that the connection can be used
// again. It waits for a Read that is under way.
func (b *body) Close() error {
	if !b.present {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.over {
		return nil
	}
	if b.mayContinue.Load() || b.x.w.broken() || !b.chunked && b.left > mostUnread {
		b.early = true
		return nil
	}
	whole, err := b.discard()
	b.early = !whole
	return err
}

// discard reads on, and reports whether the end was reached.
func (b *body) discard() (whole bool, err error) {
	room := copies.Get().(*[copySize]byte)
	defer copies.Put(room)
	for n := 0; n <= mostUnread; {
		m, err := b.read(room[:])
		n += m
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
	}
	return false, nil
}

// shut ends the body of a request whose connection is about to be closed.
func (b *body) shut() {
	b.mayContinue.Store(false)
}

const copySize = 32 << 10

var copies = sync.Pool{New: func() any { return new([copySize]byte) }}
