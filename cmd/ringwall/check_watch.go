package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/watch"
)

// watchChecks checks once, or again and again, and raises an event for each
// control that got worse since the last time: a line of the log, and a notice by
// the ways that the policy names under watch.
func watchChecks(ctx context.Context, w io.Writer, f checkFlags, t *target) error {
	var last *check.Report
	if f.baseline != "" {
		switch r, err := readReport(f.baseline); {
		case err == nil:
			last = &r
		case !errors.Is(err, fs.ErrNotExist):
			// Without it drift would pass unseen: that is not to be guessed.
			return &failure{fmt.Errorf("--baseline: %w", err), 2, "look at the file, or remove it to begin anew"}
		}
	}
	teller := newDriftTeller(ctx, slog.New(slog.NewJSONHandler(os.Stderr, nil)), t)
	defer teller.end()
	for {
		report, err := lookAt(ctx, f, t)
		if err != nil {
			return unrunnable(err)
		}
		if ctx.Err() != nil { // ended in the middle: what is unknown by that is no drift, and no baseline
			if f.watch > 0 {
				return nil
			}
			if err := writeReports(w, f, report); err != nil {
				return unrunnable(err)
			}
			return f.outcome(report)
		}
		drifted := last != nil && teller.tell(check.Compare(*last, report))
		if f.watch == 0 && !teller.end() && drifted {
			// The next check finds the same drift, and tells it again.
			teller.log.Error("drift could not be told: the baseline stays as it was, so that the next check tells of it again", "baseline", f.baseline)
		} else if f.baseline != "" {
			var b bytes.Buffer
			if err := report.WriteJSON(&b); err != nil {
				return err
			}
			if err := replaceFile(f.baseline, b.Bytes()); err != nil {
				return unrunnable(fmt.Errorf("--baseline: %w", err))
			}
		}
		if err := writeReports(w, f, report); err != nil {
			return unrunnable(err)
		}
		if f.watch == 0 {
			return f.outcome(report)
		}
		last = &report
		select {
		case <-time.After(f.watch):
		case <-ctx.Done():
			return nil
		}
	}
}

// A driftTeller raises the events of drift, and tells of them by the ways that the
// policy names, again and again while a receiver is down.
type driftTeller struct {
	log      *slog.Logger
	sink     audit.Sink
	notifier *watch.Notifier // nil: nobody is to be told
	stop     func()          // lets what waits go out; nil: ended
	done     chan struct{}
	lost     atomic.Bool // something could not be told by one of the ways
}

func newDriftTeller(ctx context.Context, log *slog.Logger, t *target) *driftTeller {
	d := &driftTeller{log: log, sink: audit.NewLog(log), done: make(chan struct{})}
	if t.held {
		var err error
		if d.notifier, err = watch.NewNotifier(t.policy, watch.Deps{Log: log, Audit: d, Mail: noticesBy(log)}); err != nil {
			log.Error("nobody can be told of drift", "error", err)
			d.notifier = nil
			d.lost.Store(true)
		}
	}
	if d.notifier == nil {
		close(d.done)
		return d
	}
	life, stop := context.WithCancel(ctx)
	d.stop = stop
	go func() {
		defer close(d.done)
		d.notifier.Run(life)
	}()
	return d
}

// Record hears from the notifier what it could not tell.
func (d *driftTeller) Record(e audit.Event) {
	d.lost.Store(d.lost.Load() || e.Kind == audit.NoticeFailed)
	d.sink.Record(e)
}

// tell raises an event for each change for the worse, and reports whether there is one.
func (d *driftTeller) tell(changes []check.Change) (worse bool) {
	for _, c := range changes {
		if !c.Worse() {
			continue
		}
		worse = true
		e := audit.Event{Time: time.Now(), Kind: audit.CheckDrifted, Outcome: audit.Failure, Control: c.ID, Detail: c.String()}
		d.sink.Record(e)
		if d.notifier != nil {
			d.notifier.Record(e)
		}
	}
	return worse
}

// end sends what waits, within some seconds, and reports whether all was told.
func (d *driftTeller) end() bool {
	if d.stop != nil {
		d.stop()
	}
	<-d.done
	return !d.lost.Load()
}
