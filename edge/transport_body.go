package edge

import (
	"bytes"
	"io"
)

// brokenOff is why an answer that had begun has no end.
type brokenOff struct{ error }

func (b *brokenOff) Error() string { return "the upstream's answer broke off: " + b.error.Error() }
func (b *brokenOff) Unwrap() error { return b.error }

// copyBody writes the answer's body to w, to its end. The error is a brokenOff
// when the upstream is at fault, else w's.
func (e *exchange) copyBody(w io.Writer) error {
	switch h := &e.head; {
	case h.empty:
		return nil
	case h.chunked:
		return e.copyChunks(w)
	case h.length >= 0:
		return e.copyBytes(w, h.length)
	}
	for { // to the end of the connection
		if err := e.pass(w, e.w-e.r); err != nil {
			return err
		}
		err := e.wait()
		if err != nil {
			if b, ok := err.(*brokenOff); ok && b.error == io.ErrUnexpectedEOF {
				return nil
			}
			return err
		}
	}
}

// bodyInHand reports whether the whole body has come already.
func (e *exchange) bodyInHand() bool {
	return e.head.empty || e.head.length >= 0 && !e.head.chunked && e.head.length <= int64(e.w-e.r)
}

// wait is fill; what it says of the upstream is a brokenOff.
func (e *exchange) wait() error {
	if err := e.fill(); err != nil {
		if _, ok := err.(*clientGone); ok {
			return err
		}
		return &brokenOff{err}
	}
	return nil
}

// pass writes n bytes that have come.
func (e *exchange) pass(w io.Writer, n int) error {
	if n == 0 {
		return nil
	}
	m, err := w.Write(e.in[e.r : e.r+n])
	if err == nil && m < n {
		err = io.ErrShortWrite
	}
	e.r, e.unsent = e.r+n, true
	return err
}

func (e *exchange) copyBytes(w io.Writer, left int64) error {
	for left > 0 {
		if e.r == e.w {
			if err := e.wait(); err != nil {
				return err
			}
		}
		n := int(min(left, int64(e.w-e.r)))
		if err := e.pass(w, n); err != nil {
			return err
		}
		left -= int64(n)
	}
	return nil
}

// copyChunks reads chunked coding (RFC 9112, 7.1). Extensions mean nothing to
// anybody here, and trailers are not passed on: none of them could be judged
// any more.
func (e *exchange) copyChunks(w io.Writer) error {
	for {
		line, err := e.line(4 << 10)
		if err != nil {
			return err
		}
		size, err := chunkSize(line)
		if err != nil {
			return &brokenOff{err}
		}
		if size == 0 {
			return e.skipTrailers()
		}
		if err := e.copyBytes(w, size); err != nil {
			return err
		}
		if line, err := e.line(2); err != nil {
			return err
		} else if len(line) > 0 {
			return &brokenOff{badAnswer("a chunk longer than it says")}
		}
	}
}

// chunkSize reads the line before a chunk. The digits stand alone, or a
// semicolon follows them at once.
func chunkSize(line []byte) (size int64, err error) {
	for i, c := range line {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		case c == ';' && i > 0 && validValue(string(line[i:])):
			return size, nil
		default:
			return 0, badAnswer("the size of a chunk is not a number")
		}
		if i == 15 {
			return 0, badAnswer("the size of a chunk is too large")
		}
		size = size<<4 | int64(c)
	}
	if len(line) == 0 {
		return 0, badAnswer("a chunk without a size")
	}
	return size, nil
}

func (e *exchange) skipTrailers() error {
	for left := maxHead; ; {
		line, err := e.line(left)
		if err != nil || len(line) == 0 {
			return err
		}
		if _, _, err := splitField(string(line)); err != nil {
			return &brokenOff{err}
		}
		left -= len(line) + 2
	}
}

// line reads a line of at most limit bytes with its end, CR LF, and returns it
// without. It is good until the next read.
func (e *exchange) line(limit int) ([]byte, error) {
	for from := 0; ; {
		if i := bytes.IndexByte(e.in[e.r+from:e.w], '\n'); i >= 0 {
			end := e.r + from + i
			line := e.in[e.r:end]
			e.r = end + 1
			if len(line) == 0 || len(line)+1 > limit || line[len(line)-1] != '\r' {
				return nil, &brokenOff{badAnswer("a line of the body is too long or does not end with CR LF")}
			}
			return line[:len(line)-1], nil
		}
		if from = e.w - e.r; from >= limit || from >= bufferSize {
			return nil, &brokenOff{badAnswer("a line of the body is too long")}
		}
		if err := e.wait(); err != nil {
			return nil, err
		}
	}
}
