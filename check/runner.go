package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// A Result is what was found of one control.
type Result struct {
	Meta
	Finding

	// Took is how long the check took, without what it waited for its turn. JSON does
	// not have it: two reports of the same are to be the same.
	Took time.Duration
}

// Options bound a run. The zero value gives each check a minute.
type Options struct {
	PerCheck time.Duration // longest time of one check, 0: 1 minute
	Progress func(Result)  // called after each check, never twice at once; nil: nobody watches
}

// Run makes the checks. Those of one lane are made one after the other, in order:
// a check that spends a rate limit must not run beside one that needs it. Lanes
// run side by side; checks that spend limits begin when the others are done, save
// for those that only wait. Every check gets a result. What could not be judged is
// Unknown, with the reason: a check that takes too long, that panics, that passes
// without evidence, that has no proof, or that ctx left no time for. A check that
// ignores its context is abandoned; its goroutine ends when it returns. A check
// that can be made only on the server has no result: it is listed apart.
func Run(ctx context.Context, checks []Check, opts Options) Report {
	if opts.PerCheck <= 0 {
		opts.PerCheck = time.Minute
	}
	r := Report{Time: time.Now().UTC()}
	var first, last, waiting lanes
	var todo []Check
	for _, c := range checks {
		if c.Inside != "" {
			in := Inside{Meta: c.Meta, How: c.Inside}
			in.clean()
			r.Inside = append(r.Inside, in)
			continue
		}
		switch at := len(todo); {
		case c.Spends:
			last.add(c.Lane, at)
		case c.Waits && c.Lane != "": // alone in its lane: nothing waits for it
			waiting.add(c.Lane, at)
		default:
			first.add(c.Lane, at)
		}
		todo = append(todo, c)
	}
	r.Results = make([]Result, len(todo))
	var watching sync.Mutex
	one := func(i int) {
		res := Result{Meta: todo[i].Meta}
		res.Finding, res.Took = runOne(ctx, todo[i], opts.PerCheck)
		res.clean()
		r.Results[i] = res
		if opts.Progress != nil {
			watching.Lock()
			defer watching.Unlock()
			opts.Progress(res)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { waiting.run(one) })
	first.run(one)
	last.run(one)
	wg.Wait()
	r.Results = slices.DeleteFunc(r.Results, func(res Result) bool {
		if res.Moot && res.Verdict == Unknown {
			r.Inside = append(r.Inside, Inside{Meta: res.Meta, How: res.Got})
			return true
		}
		return false
	})
	return r
}

// lanes are places in a list of checks, by lane.
type lanes map[string][]int

func (l *lanes) add(lane string, i int) {
	if *l == nil {
		*l = lanes{}
	}
	(*l)[lane] = append((*l)[lane], i)
}

// run does the lanes side by side, each in order, and returns when all are done.
func (l lanes) run(one func(int)) {
	var wg sync.WaitGroup
	for _, lane := range l {
		wg.Go(func() {
			for _, i := range lane {
				one(i)
			}
		})
	}
	wg.Wait()
}

// runOne waits until a check may begin, and makes it.
func runOne(ctx context.Context, c Check, limit time.Duration) (Finding, time.Duration) {
	if c.Verify == nil {
		return Unseen("%s has no proof", c.ID), 0
	}
	if ctx.Err() == nil && c.Ready != nil {
		if err := c.Ready(ctx); err != nil && ctx.Err() == nil {
			f := Unseen("not made: %v", err)
			f.Unmade = errors.As(err, new(Spent))
			return f, 0
		}
	}
	switch err := ctx.Err(); {
	case errors.Is(err, context.DeadlineExceeded):
		f := Unseen("not made: the time for all checks (--timeout) was over before it")
		f.Unmade = true
		return f, 0
	case err != nil:
		return Unseen("not made: the run was ended before it (%v)", err), 0
	}
	began := time.Now()
	f := verify(ctx, c, limit)
	return f, time.Since(began)
}

func verify(ctx context.Context, c Check, limit time.Duration) Finding {
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
	case f.Verdict == Pass && ctx.Err() != nil: // what was not answered then was not refused
		return Unseen("its time, or that of the run, was over before it had seen all")
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
