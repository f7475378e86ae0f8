package check

import (
	"context"
	"fmt"
	"time"
)

// A Result is what was found of one control.
type Result struct {
	Meta
	Finding
}

// Options bound a run. The zero value gives each check a minute.
type Options struct {
	PerCheck time.Duration // longest time of one check, 0: 1 minute
	Progress func(Result)  // called after each check, in order; nil: nobody watches
}

// Run makes the checks one after the other, in order: a check that spends a
// rate limit must not run beside one that needs it. Every check gets a result.
// What could not be judged is Unknown, with the reason: a check that takes too
// long, that panics, that passes without evidence, that has no proof, or that
// ctx left no time for. A check that ignores its context is abandoned; its
// goroutine ends when it returns. A check that can be made only on the server
// has no result: it is listed apart.
func Run(ctx context.Context, checks []Check, opts Options) Report {
	if opts.PerCheck <= 0 {
		opts.PerCheck = time.Minute
	}
	r := Report{Time: time.Now().UTC(), Results: make([]Result, 0, len(checks))}
	for _, c := range checks {
		if c.Inside != "" {
			r.Inside = append(r.Inside, Inside{ID: clean(c.ID), Title: clean(c.Title), How: clean(c.Inside)})
			continue
		}
		res := Result{Meta: c.Meta, Finding: runOne(ctx, c, opts.PerCheck)}
		res.clean()
		r.Results = append(r.Results, res)
		if opts.Progress != nil {
			opts.Progress(res)
		}
	}
	return r
}

func runOne(ctx context.Context, c Check, limit time.Duration) Finding {
	if c.Verify == nil {
		return Unseen("%s has no proof", c.ID)
	}
	if err := ctx.Err(); err != nil {
		return Unseen("not run: %v", err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan Finding, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- Unseen("the check itself broke: %v", v)
			}
		}()
		done <- c.Verify(ctx)
	}()
	var f Finding
	select {
	case f = <-done:
	case <-ctx.Done():
		// A check that stopped because its time ended may still say why.
		select {
		case f = <-done:
		case <-time.After(grace):
			return Unseen("no verdict within %v", limit)
		}
	}
	switch {
	case f.Verdict > Waived:
		return Unseen("the check gave no verdict, but the number %d", f.Verdict)
	case f.Verdict == Pass && f.Got == "":
		return Unseen("the check passed without evidence")
	}
	return f
}

// grace is how long a check may take to come back once its context ended.
const grace = 500 * time.Millisecond

// Summary counts results by verdict.
type Summary struct {
	Pass    int `json:"pass"`
	Fail    int `json:"fail"`
	Unknown int `json:"unknown"`
	Waived  int `json:"waived"`
}

func (s Summary) String() string {
	return fmt.Sprintf("%d pass, %d fail, %d unknown, %d waived", s.Pass, s.Fail, s.Unknown, s.Waived)
}
