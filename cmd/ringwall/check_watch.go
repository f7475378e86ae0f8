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
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	for {
		report, err := lookAt(ctx, f, t)
		if err != nil {
			return unrunnable(err)
		}
		if ctx.Err() != nil && f.watch > 0 {
			return nil // ended in the middle: what is unknown by that is no drift
		}
		if last != nil {
			tellDrift(ctx, log, t, check.Compare(*last, report))
		}
		if f.baseline != "" {
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

// tellDrift raises an event for each change for the worse.
func tellDrift(ctx context.Context, log *slog.Logger, t *target, changes []check.Change) {
	sink := audit.NewLog(log)
	var notifier *watch.Notifier
	if t.held {
		var err error
		if notifier, err = watch.NewNotifier(t.policy, watch.Deps{Log: log, Audit: sink, Mail: noticesBy(log)}); err != nil {
			log.Error("nobody can be told of drift", "error", err)
		}
	}
	for _, c := range changes {
		if !c.Worse() {
			continue
		}
		e := audit.Event{Time: time.Now(), Kind: audit.CheckDrifted, Outcome: audit.Failure, Control: c.ID, Detail: c.String()}
		sink.Record(e)
		if notifier != nil {
			notifier.Record(e)
		}
	}
	if notifier != nil {
		// Run sends what waits when its context ends, within some seconds.
		over, end := context.WithCancel(context.WithoutCancel(ctx))
		end()
		notifier.Run(over)
	}
}
