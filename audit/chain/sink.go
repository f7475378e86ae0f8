package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

const (
	batchSize   = 256                    // most entries in one transaction
	gather      = 50 * time.Millisecond  // how long the first event waits for others
	period      = time.Minute            // between anchors, and between counts of what was not stored
	appendWait  = 10 * time.Second       // for one transaction
	firstRetry  = 250 * time.Millisecond // doubles while the store is out,
	longestWait = 30 * time.Second       // up to this
)

// A Sink is an audit.Sink that appends events to the chain in a store, in
// order, from a goroutine of its own, about 50 ms after they came. What came
// since is gone when the process is killed: give events to the log as well,
// with audit.Tee.
//
// Record never waits and never fails. While the store is out, events are kept
// in 4 MB of memory and the store is tried again, every 30 s at last. Events
// that found no room, and those above the share of their kind, are counted; the
// counts are stored as audit.lost and audit.summarised once the store takes
// them, with the time of the first and the last. The log tells of an outage
// once when it begins and once when it ends.
//
// Several processes may append to one chain.
type Sink struct {
	st     store.Chain
	log    *slog.Logger
	events audit.Sink // not the Sink, for what it has to say itself

	queue         queue
	wake, closing chan struct{}
	done          chan struct{}
	ctx           context.Context
	abandon       context.CancelFunc

	// Used by the goroutine alone.
	head     Anchor        // the last entry that was written, by this Sink
	anchored int64         // Seq of the last anchor
	tried    []store.Entry // by an Append that failed
	err      error         // why the store failed last; nil while it works
}

// New starts a Sink. Close it before the store. What the Sink has to say itself,
// such as that events are lost, goes to events; none: to the log.
func New(st store.Chain, log *slog.Logger, events ...audit.Sink) *Sink {
	if len(events) == 0 {
		events = []audit.Sink{audit.NewLog(log)}
	}
	s := &Sink{st: st, log: log, events: audit.Tee(events...), queue: queue{meters: map[audit.Kind]*meter{}},
		wake: make(chan struct{}, 1), closing: make(chan struct{}), done: make(chan struct{})}
	s.ctx, s.abandon = context.WithCancel(context.Background())
	go s.run()
	return s
}

// Record takes an event. After Close it does nothing.
func (s *Sink) Record(e audit.Event) {
	if s.queue.add(e) {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// Close stores what waits and stops. When ctx ends first, it says how many
// events are not stored.
func (s *Sink) Close(ctx context.Context) error {
	if s.queue.close() {
		close(s.closing)
	}
	defer s.abandon()
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.abandon()
	t := time.NewTimer(time.Second) // for the store to see it
	defer t.Stop()
	select {
	case <-s.done:
	case <-t.C:
	}
	if n := s.queue.len(); n > 0 {
		return fmt.Errorf("close the audit chain: %d events are not stored; the log has why, and the events", n)
	}
	return nil
}

func (s *Sink) run() {
	defer close(s.done)
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		select {
		case <-s.wake:
			s.pause(gather, s.closing)
			s.flush()
		case <-tick.C:
			s.settle()
		case <-s.closing:
			s.settle()
			return
		}
	}
}

// settle stores what waits and what was counted, and tells the log the head.
func (s *Sink) settle() {
	s.flush() // after it the store works, or the Sink is closed
	if lost := s.queue.settle(); lost > 0 {
		s.events.Record(audit.Event{Time: time.Now(), Kind: audit.AuditLost, Outcome: audit.Failure,
			Detail: fmt.Sprintf("the audit chain lacks %d events that found no room", lost)})
	}
	s.flush()
	s.anchor()
}

// anchor tells the log the last entry, also when another process wrote it.
func (s *Sink) anchor() {
	ctx, cancel := context.WithTimeout(s.ctx, appendWait)
	defer cancel()
	head := s.head
	last, err := s.st.LastEntry(ctx)
	if err == nil || errors.Is(err, store.ErrNotFound) {
		head = anchorOf(last)
		if s.contradicts(last) {
			s.broken()
			s.flush()
			head = s.head
		}
	}
	if head.Seq > s.anchored {
		s.events.Record(audit.Event{Time: time.Now(), Kind: audit.AuditAnchored, Outcome: audit.Success, Detail: head.String()})
		s.anchored = head.Seq
	}
}

// contradicts reports whether the chain can not have this last entry, after what
// was written.
func (s *Sink) contradicts(last store.Entry) bool {
	return last.Seq < s.head.Seq || last.Seq == s.head.Seq && anchorOf(last) != s.head
}

// broken says that the chain was cut or written anew, and takes it as it is.
func (s *Sink) broken() {
	e := audit.Event{Time: time.Now(), Kind: audit.AuditBroken, Outcome: audit.Failure,
		Detail: "this was the last entry, and is not in the chain any more: " + s.head.String()}
	s.queue.add(e)
	s.events.Record(e)
	s.head, s.anchored = Anchor{}, 0
}

// flush writes until nothing waits, however long the store is out, or until
// Close gives up.
func (s *Sink) flush() {
	wait := firstRetry
	for s.ctx.Err() == nil {
		items := s.queue.first(batchSize)
		if len(items) == 0 {
			return
		}
		n, err := s.append(items)
		s.queue.drop(n)
		s.told(err)
		if err == nil {
			wait = firstRetry
			continue
		}
		cut := s.closing
		select {
		case <-cut: // try often in the time that is left
			wait, cut = min(wait, firstRetry), nil
		default:
		}
		s.pause(wait, cut)
		wait = min(2*wait, longestWait)
	}
}

// pause waits for d, at most until cut is closed or Close gives up.
func (s *Sink) pause(d time.Duration, cut <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-cut:
	case <-s.ctx.Done():
	}
}

// told tells the log when an outage begins and when it ends.
func (s *Sink) told(err error) {
	switch {
	case err != nil && s.err == nil:
		e := audit.Event{Time: time.Now(), Kind: audit.StoreFailed, Outcome: audit.Failure, Detail: "the audit chain is not written, events wait in memory: " + err.Error()}
		s.queue.add(e)
		s.events.Record(e)
	case err == nil && s.err != nil:
		s.log.Info("the audit chain is written again", "waiting", s.queue.len())
	}
	s.err = err
}

// Reasons of the Sink's own to end an Append.
var (
	errUnsettled = errors.New("what was tried before may be there")
	errBroken    = errors.New("the chain does not end where it did")
)

// append writes items in one transaction and returns how many are stored.
//
// An Append that fails may have been carried out all the same, when the
// connection broke during the commit. So the next one first sees whether the
// chain has grown meanwhile, and if so whether by what was tried. Both are
// certain, as an Append comes after all those before it.
func (s *Sink) append(items []item) (int, error) {
	ctx, cancel := context.WithTimeout(s.ctx, appendWait)
	defer cancel()
	n, err := s.try(ctx, items)
	if errors.Is(err, errUnsettled) {
		there, rerr := s.st.Entries(ctx, s.tried[0].Seq-1, 1)
		if rerr != nil {
			return 0, rerr
		}
		tried := s.tried
		s.tried = nil
		if len(there) == 1 && bytes.Equal(there[0].Hash, tried[0].Hash) {
			s.head = anchorOf(tried[len(tried)-1])
			return len(tried), nil
		}
		n, err = s.try(ctx, items)
	}
	if errors.Is(err, errBroken) {
		s.broken()
		n, err = s.try(ctx, items)
	}
	return n, err
}

func (s *Sink) try(ctx context.Context, items []item) (int, error) {
	var entries []store.Entry
	err := s.st.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
		entries = nil
		if len(s.tried) > 0 && last.Seq >= s.tried[0].Seq {
			return nil, errUnsettled
		}
		if s.contradicts(last) {
			return nil, errBroken
		}
		entries = link(last, items)
		return entries, nil
	})
	if err != nil {
		if len(entries) > 0 {
			s.tried = entries
		}
		return 0, err
	}
	s.tried = nil
	s.head = anchorOf(entries[len(entries)-1])
	return len(items), nil
}
