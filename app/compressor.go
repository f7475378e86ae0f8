package app

import (
	"bufio"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
)

// minCompressed is the smallest body that is compressed, in bytes: what fits
// into one packet does not arrive sooner for being smaller.
const minCompressed = 1024

// A compressor is the response writer of one answer that may be compressed.
//
// It is not klauspost's gzhttp, because that sends what it holds when a handler
// panics, drops a flush that comes before the first byte, knows no caller to
// pad for, and keeps its writers in a pool, where a handler that writes after
// it has returned reaches somebody else's answer.
type compressor struct {
	next     http.ResponseWriter
	encoders *encoders
	pad      bool // by a random length

	mode   compressing
	status int
	held   []byte       // the body so far, in mode holding
	gz     *gzip.Writer // in mode packing
	left   int64        // of the Content-Length that the handler declared; -1: none
}

type compressing uint8

const (
	undecided compressing = iota // the handler has said nothing
	holding                      // the answer has not begun: too little body to decide
	plain                        // passes through
	packing                      // is compressed
	closed                       // the handler has returned
)

var (
	gzipValue          = []string{"gzip"}
	errHandlerReturned = errors.New("app: write after the handler has returned")
)

// Header is the handler's header, as without compression.
func (w *compressor) Header() http.Header { return w.next.Header() }

// WriteHeader keeps the status until it is clear how the body goes out. What
// has no body begins at once, and so does an answer that announces trailers:
// they are set in the same header later.
func (w *compressor) WriteHeader(status int) {
	if w.mode != undecided {
		return
	}
	switch {
	case status < 200 && status != http.StatusSwitchingProtocols:
		w.next.WriteHeader(status) // 1xx: the answer is still to come
	case status < 200, status == http.StatusNoContent, status == http.StatusNotModified:
		w.mode = plain
		w.next.WriteHeader(status)
	default:
		w.mode, w.status = holding, status
		if len(w.Header()["Trailer"]) > 0 {
			_ = w.begin()
		}
	}
}

// Write sends, packs or holds p.
func (w *compressor) Write(p []byte) (int, error) {
	if w.mode == undecided {
		w.WriteHeader(http.StatusOK)
	}
	if w.mode == holding {
		if len(w.held)+len(p) < minCompressed {
			if w.held == nil {
				w.held = w.encoders.room()
			}
			w.held = append(w.held, p...)
			return len(p), nil
		}
		if len(w.held) == 0 {
			w.sniff(p)
		}
		if err := w.begin(); err != nil {
			return 0, err
		}
	}
	switch w.mode {
	case plain:
		return w.next.Write(p)
	case packing:
		return w.pack(p)
	}
	return 0, errHandlerReturned
}

func (w *compressor) pack(p []byte) (int, error) {
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			return 0, http.ErrContentLength
		}
		w.left -= int64(len(p))
	}
	return w.gz.Write(p)
}

// begin sends the header, in one way or the other, and then what is held.
func (w *compressor) begin() error {
	w.sniff(w.held)
	h := w.Header()
	w.mode, w.left = plain, -1
	if cl := h["Content-Length"]; len(cl) > 0 {
		w.left, _ = strconv.ParseInt(cl[0], 10, 64) // 0 for what is no number: too small
	}
	if len(h["Content-Type"]) > 0 && (w.left < 0 || w.left >= minCompressed) && mayCompress(h) {
		w.gz = w.encoders.get(w.next)
	}
	if w.gz != nil {
		w.mode = packing
		h["Content-Encoding"] = gzipValue
		delete(h, "Content-Length")
		delete(h, "Accept-Ranges")
		if w.pad {
			w.gz.Comment = padding()
		}
	}
	w.next.WriteHeader(w.status)
	if len(w.held) == 0 {
		return nil
	}
	_, err := w.Write(w.held)
	w.encoders.giveBack(w.held)
	w.held = nil
	return err
}

// sniff sets a Content-Type as net/http would; it does not look into a body
// with a Content-Encoding. Errors are left to app/problem, which replaces
// those without a type.
func (w *compressor) sniff(p []byte) {
	h := w.Header()
	if _, set := h["Content-Type"]; set || len(p) == 0 || w.status >= 400 || len(h["Content-Encoding"]) > 0 {
		return
	}
	h["Content-Type"] = []string{http.DetectContentType(p)}
}

// close ends the body after the handler has returned. A handler that declared
// more than it wrote breaks the connection off, as net/http does: the client
// must not take the part for the whole.
func (w *compressor) close() {
	if w.mode == holding {
		// Small and whole: as it is.
		held := w.held
		w.held, w.mode = nil, plain
		w.next.WriteHeader(w.status)
		if len(held) > 0 {
			_, _ = w.next.Write(held) // a client that is gone
			w.encoders.giveBack(held)
		}
	}
	if w.mode == packing {
		if w.left > 0 {
			panic(http.ErrAbortHandler)
		}
		_ = w.gz.Close() // a client that is gone
	}
	w.abandon()
}

// abandon lets go of everything without sending what is left; it follows a
// panic, and close.
func (w *compressor) abandon() {
	if w.mode == packing {
		w.encoders.put(w.gz)
	}
	w.mode, w.gz, w.held = closed, nil, nil
}

// FlushError sends all that was written so far; the first flush of a held
// answer ends the waiting for more.
func (w *compressor) FlushError() error {
	if w.mode == undecided {
		w.WriteHeader(http.StatusOK)
	}
	if w.mode == holding {
		if err := w.begin(); err != nil {
			return err
		}
	}
	switch w.mode {
	case closed:
		return errHandlerReturned
	case packing:
		if err := w.gz.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.next).Flush()
}

// Flush is FlushError for callers that assert http.Flusher.
func (w *compressor) Flush() { _ = w.FlushError() }

// ReadFrom leaves what passes through to net/http, which may use sendfile.
func (w *compressor) ReadFrom(src io.Reader) (n int64, err error) {
	if !mayCompress(w.Header()) {
		switch w.mode {
		case undecided:
			w.mode = plain
		case holding:
			if err := w.begin(); err != nil {
				return 0, err
			}
		}
	}
	if w.mode == plain {
		return io.Copy(w.next, src)
	}
	return io.Copy(struct{ io.Writer }{w}, src)
}

// Hijack hands the connection over; nothing of this writer is in its way.
func (w *compressor) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.next).Hijack()
	if err == nil {
		w.mode = plain
	}
	return conn, rw, err
}

// Unwrap lets http.ResponseController reach deadlines and full duplex.
func (w *compressor) Unwrap() http.ResponseWriter { return w.next }

// encoders keeps what compressors need and bounds how many compress at once:
// an encoder holds memory for as long as its client reads.
type encoders struct {
	gzips  sync.Pool
	rooms  sync.Pool // of *[minCompressed]byte
	active atomic.Int32
}

// maxEncoders bounds encoders, of 820 kB each, to about 100 MB. Answers beyond
// are not compressed.
const maxEncoders = 128

// get returns an encoder that writes to dst, or nil when too many are at work.
func (e *encoders) get(dst io.Writer) *gzip.Writer {
	if e.active.Add(1) > maxEncoders {
		e.active.Add(-1)
		return nil
	}
	if gz, ok := e.gzips.Get().(*gzip.Writer); ok {
		gz.Reset(dst)
		return gz
	}
	gz, _ := gzip.NewWriterLevel(dst, gzip.BestSpeed) // the level exists
	return gz
}

func (e *encoders) put(gz *gzip.Writer) {
	gz.Reset(io.Discard) // lets go of the answer
	e.gzips.Put(gz)
	e.active.Add(-1)
}

func (e *encoders) room() []byte {
	if r, ok := e.rooms.Get().(*[minCompressed]byte); ok {
		return r[:0]
	}
	return make([]byte, 0, minCompressed)
}

func (e *encoders) giveBack(held []byte) {
	e.rooms.Put((*[minCompressed]byte)(held[:minCompressed]))
}

// padding is a gzip comment of random length (RFC 1952, 2.3), 1 to 64 bytes.
func padding() string {
	var n [1]byte
	_, _ = rand.Read(n[:]) // never fails
	return paddingText[:1+n[0]%64]
}

var paddingText = strings.Repeat("-", 64)
