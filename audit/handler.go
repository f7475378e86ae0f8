package audit

import (
	"context"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// NewHandler returns a slog.Handler that writes JSON lines to w and keeps
// secrets out of them:
//
//   - An attribute, map entry or struct field whose name is that of a secret is
//     written as "[redacted]", at any depth and in any spelling: password,
//     X-Api-Key, refreshToken (Secret tells which).
//   - A slog.LogValuer speaks for itself at any depth, so that a typed secret
//     shows what its type allows.
//   - Of an http.Header only names on a short list keep their value, of a
//     *url.URL the query and the user are dropped, of an *http.Request method
//     and path remain, and of bytes the number.
//
// Secrets in the text of messages and errors are not recognised: do not write
// them there.
//
// Every line is one JSON object of printable characters only. What could end
// the line, move a terminal's cursor or turn the direction of writing is
// escaped (CWE-117). A line is one call of w.Write; when w has a Flush method,
// it is called after warnings, errors and events of this package.
func NewHandler(w io.Writer, level slog.Leveler) slog.Handler {
	f, _ := w.(flusher)
	return &handler{level: level, out: &output{w: w, flush: f}}
}

type flusher interface{ Flush() error }

type output struct {
	mu    sync.Mutex
	w     io.Writer
	flush flusher // nil: w writes through
}

// handler holds what WithAttrs and WithGroup established, encoded already.
type handler struct {
	level   slog.Leveler
	out     *output
	pre     []byte   // attributes, each with a comma before it, in groups that are open
	open    int      // groups opened in pre
	pending []string // groups without an attribute yet; an empty group is not written
	hidden  bool     // inside a group whose name is that of a secret
}

func (h *handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.pending = append(slices.Clip(h.pending), name)
	return &c
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	e := encoder{buf: slices.Clone(h.pre), hidden: h.hidden}
	m := e.begin(h.pending)
	for _, a := range attrs {
		e.attr(a)
	}
	if !e.wrote(m) {
		return h
	}
	c.pre, c.open, c.pending, c.hidden = e.buf, h.open+len(h.pending), nil, e.hidden
	return &c
}

var buffers = sync.Pool{New: func() any { return &encoder{buf: make([]byte, 0, 1024)} }}

func (h *handler) Handle(_ context.Context, r slog.Record) error {
	e := buffers.Get().(*encoder)
	e.buf, e.hidden, e.event = e.buf[:0], h.hidden, false
	e.raw("{")
	if !r.Time.IsZero() {
		e.raw(`"time":"`)
		e.buf = r.Time.UTC().AppendFormat(e.buf, time.RFC3339Nano)
		e.raw(`",`)
	}
	e.raw(`"level":"`)
	e.raw(r.Level.String())
	e.raw(`","msg":`)
	e.string(r.Message)
	e.buf = append(e.buf, h.pre...)
	open := h.open
	m := e.begin(h.pending)
	r.Attrs(func(a slog.Attr) bool {
		e.attr(a)
		return true
	})
	if e.wrote(m) {
		open += len(h.pending)
	}
	for range open + 1 {
		e.raw("}")
	}
	e.raw("\n")
	h.out.mu.Lock()
	_, err := h.out.w.Write(e.buf)
	h.out.mu.Unlock()
	if h.out.flush != nil && (e.event || r.Level >= slog.LevelWarn) {
		if ferr := h.out.flush.Flush(); err == nil {
			err = ferr
		}
	}
	if cap(e.buf) <= 16<<10 {
		buffers.Put(e)
	}
	return err
}
