package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// Bounds of a Buffer.
const (
	flushSize  = 64 << 10
	flushAfter = 200 * time.Millisecond
	bufferSize = 1 << 20
	closeWait  = 2 * time.Second
)

// Buffer is a writer that never makes a request wait for a disk or a pipe. It
// passes lines on from a goroutine of its own: after 64 kB, after 200 ms, or
// after Flush.
//
// When w takes nothing, 1 MB is kept; lines beyond that, and lines that w
// failed to take, are lost and counted. Once w works again the loss is told on
// the second writer, once for each outage.
type Buffer struct {
	w, complaints io.Writer
	dirty, now    chan struct{} // something to write; write it at once
	closing, done chan struct{}

	mu     sync.Mutex
	buf    []byte
	lost   int
	closed bool

	// Used by the goroutine alone.
	spare []byte
	torn  bool  // w took a part of a line
	err   error // why w failed last
}

// NewBuffer returns a Buffer before w. Close it to write what it still holds.
func NewBuffer(w, complaints io.Writer) *Buffer {
	b := &Buffer{w: w, complaints: complaints, dirty: make(chan struct{}, 1), now: make(chan struct{}, 1),
		closing: make(chan struct{}), done: make(chan struct{})}
	go b.run()
	return b
}

// Write takes one or more whole lines. It never fails and never waits.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.buf)+len(p) > bufferSize {
		b.lost += bytes.Count(p, newline)
		return len(p), nil
	}
	if len(b.buf) == 0 {
		wake(b.dirty)
	}
	b.buf = append(b.buf, p...)
	if len(b.buf) >= flushSize {
		wake(b.now)
	}
	return len(p), nil
}

var newline = []byte("\n")

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Flush has what is held written now. It does not wait for it.
func (b *Buffer) Flush() error {
	wake(b.now)
	return nil
}

// Close writes what is held and stops. It waits at most 2 seconds for w; lines
// written after it are lost.
func (b *Buffer) Close() error {
	b.mu.Lock()
	if !b.closed {
		b.closed = true
		close(b.closing)
	}
	b.mu.Unlock()
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-b.done:
		return b.err
	case <-t.C:
		return errors.New("close the log: its writer takes nothing")
	}
}

func (b *Buffer) run() {
	defer close(b.done)
	t := time.NewTimer(flushAfter)
	t.Stop()
	for {
		select {
		case <-b.dirty:
			t.Reset(flushAfter)
			continue
		case <-b.now:
		case <-t.C:
		case <-b.closing:
			b.pass()
			return
		}
		t.Stop()
		b.pass()
	}
}

// pass writes what is held to w.
func (b *Buffer) pass() {
	b.mu.Lock()
	out := b.buf
	b.buf = b.spare[:0]
	b.mu.Unlock()
	b.spare = out
	if len(out) == 0 {
		return
	}
	if b.torn {
		if _, err := b.w.Write(newline); err != nil {
			b.lose(out, err)
			return
		}
		b.torn = false
	}
	n, err := b.w.Write(out)
	if err == nil && n < len(out) {
		err = io.ErrShortWrite
	}
	if err != nil {
		b.torn = n > 0 && out[n-1] != '\n'
		b.lose(out[n:], err)
		return
	}
	b.mu.Lock()
	lost := b.lost
	b.lost = 0
	b.mu.Unlock()
	if lost > 0 {
		why := "its writer did not keep up"
		if b.err != nil {
			why = b.err.Error()
		}
		fmt.Fprintf(b.complaints, "ringwall: %d log lines were lost: %s\n", lost, why)
	}
	b.err = nil
}

func (b *Buffer) lose(lines []byte, err error) {
	b.mu.Lock()
	b.lost += bytes.Count(lines, newline)
	b.mu.Unlock()
	b.err = err
}
