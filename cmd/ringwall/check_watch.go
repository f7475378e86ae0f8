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
	"slices"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/watch"
)

// watchChecks checks once, or again and again, and raises an event for each
// control that got worse since the last time: a line of the log, and a notice by
// the ways that the policy names under watch. A report takes the place of the
// baseline when what it shows has been told, and not before, however this ends: the
// next check finds the same drift, and tells of it again. A control that was not
// looked at keeps its last verdict there. With --watch it goes on when a report or
// the baseline cannot be written, and says so.
func watchChecks(ctx context.Context, w io.Writer, f checkFlags, t *target) error {
	b := baseline{file: f.baseline, goesOn: f.watch > 0}
	if err := b.read(); err != nil {
		return err
	}
	teller := newDriftTeller(ctx, slog.New(slog.NewJSONHandler(os.Stderr, nil)), t)
	defer teller.end()
	for {
		t.missed = missed(b.last)
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
		// What became of the last round's news while this one was made.
		if err := b.settle(teller); err != nil {
			return err
		}
		next := check.Carry(b.last, report)
		if b.last != nil && len(f.only) > 0 {
			next.Results = append(next.Results, others(b.last.Results, f.only)...)
		}
		if b.last != nil {
			teller.tell(next, check.Compare(*b.last, next))
		}
		b.last = &next
		if err := writeReports(w, f, report); err != nil {
			if f.watch == 0 {
				return unrunnable(err)
			}
			// Who watches is not to end because a disk is full.
			teller.log.Error("the report was not written: the next one will be tried", "error", err)
		}
		if f.watch > 0 {
			if err := b.rest(ctx, f.watch, teller); err != nil {
				return err
			}
			if ctx.Err() == nil {
				continue
			}
		}
		switch done := teller.end(); {
		case done:
			if err := b.keep(); err != nil {
				return err
			}
		case b.file != "":
			teller.log.Error("drift could not be told: the baseline stays as it was, so that the next check tells of it again", "baseline", b.file)
		}
		if f.watch > 0 {
			return nil
		}
		return f.outcome(report)
	}
}

// A baseline is what the next report is compared with.
type baseline struct {
	file string        // "": only as long as the process lives
	told *check.Report // all that it shows has been told; nil: there is none yet
	last *check.Report // told, or one after it that is being told

	goesOn  bool // a file that cannot be written is tried again, and ends nothing
	failing bool // the last time
}

func (b *baseline) read() error {
	if b.file == "" {
		return nil
	}
	switch r, err := readReport(b.file); {
	case err == nil:
		b.told, b.last = &r, &r
	case !errors.Is(err, fs.ErrNotExist):
		// Without it drift would pass unseen: that is not to be guessed.
		return &failure{fmt.Errorf("--baseline: %w", err), 2, "look at the file, or remove it to begin anew"}
	}
	return nil
}

// keep has the last report take the baseline's place.
func (b *baseline) keep() error {
	if b.told == b.last {
		return nil
	}
	if b.file != "" {
		var text bytes.Buffer
		if err := b.last.WriteJSON(&text); err != nil {
			return err
		}
		if err := replaceFile(b.file, text.Bytes()); err != nil {
			return unrunnable(fmt.Errorf("--baseline: %w", err))
		}
	}
	b.told = b.last
	return nil
}

// rest waits between two checks, and keeps the report as soon as it has been told.
// When that was given up the older one is compared with, so that it is told again.
func (b *baseline) rest(ctx context.Context, d time.Duration, teller *driftTeller) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		if err := b.settle(teller); err != nil {
			return err
		}
		if probe.Pause(ctx, min(time.Second, d)) != nil {
			return nil
		}
	}
}

// others are the results of the baseline that --only does not name: nobody looked
// at these, and they stay.
func others(last []check.Result, only []string) []check.Result {
	return slices.DeleteFunc(slices.Clone(last), func(r check.Result) bool {
		return slices.ContainsFunc(only, func(s string) bool { return names(s, r.ID) })
	})
}

// settle keeps the last report when it has been told, and forgets it when nobody
// could be told.
func (b *baseline) settle(teller *driftTeller) error {
	switch done, lost := teller.told(); {
	case lost:
		b.last = b.told
	case done:
		err := b.keep()
		if err != nil && b.goesOn {
			if !b.failing {
				teller.log.Error("the baseline was not written, and is tried again", "error", err)
			}
			b.failing = true
			return nil
		}
		b.failing = false
		return err
	}
	return nil
}

// missed says in how many runs up to the last one a check was not made.
func missed(last *check.Report) map[string]int {
	out := map[string]int{}
	if last != nil {
		for _, res := range last.Results {
			out[res.ID] = res.Missed
		}
	}
	return out
}

// A driftTeller raises the events of drift, and tells of them by the ways that the
// policy names, again and again while a receiver is down.
type driftTeller struct {
	log      *slog.Logger
	sink     audit.Sink
	notifier *watch.Notifier // nil: nobody is to be told
	stop     func()          // lets what waits go out; nil: there is nobody
	done     chan struct{}
	broken   bool // somebody is to be told, and there is no way
	drifted  bool // the last time
	lost     int  // events that had been given up before the last time
}

func newDriftTeller(ctx context.Context, log *slog.Logger, t *target) *driftTeller {
	d := &driftTeller{log: log, sink: audit.NewLog(log), done: make(chan struct{})}
	if t.held {
		var err error
		if d.notifier, err = watch.NewNotifier(t.policy, watch.Deps{Log: log, Audit: d.sink, Mail: noticesBy(log)}); err != nil {
			log.Error("nobody can be told of drift", "error", err)
			d.notifier, d.broken = nil, true
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

// tell raises an event for each change for the worse, and has the log say what was
// not looked at.
func (d *driftTeller) tell(now check.Report, changes []check.Change) {
	for _, r := range now.Results {
		if r.Missed > 0 {
			d.log.Info("a check was not made, and its last verdict stays", "control", r.ID, "verdict", r.Verdict.String(), "seen", r.Seen, "runs", r.Missed)
		}
	}
	d.drifted = false
	if d.notifier != nil {
		_, d.lost = d.notifier.Untold()
	}
	for _, c := range changes {
		if !c.Worse() {
			continue
		}
		d.drifted = true
		e := audit.Event{Time: time.Now(), Kind: audit.CheckDrifted, Outcome: audit.Failure, Control: c.ID, Detail: c.String()}
		d.sink.Record(e)
		if d.notifier != nil {
			d.notifier.Record(e)
		}
	}
}

// told reports whether all of the last time has reached every receiver, or has been
// given up.
func (d *driftTeller) told() (done, lost bool) {
	if d.notifier == nil {
		lost = d.broken && d.drifted
		return !lost, lost
	}
	waiting, gone := d.notifier.Untold()
	lost = gone > d.lost
	return waiting == 0 && !lost, lost
}

// end sends what waits, within some seconds, and reports whether all was told.
func (d *driftTeller) end() bool {
	if d.stop != nil {
		d.stop()
	}
	<-d.done
	done, _ := d.told()
	return done
}
