package identity

import (
	"context"
	"fmt"
	"time"

	"github.com/ringwall/ringwall/audit"
)

const (
	// endedLook is how often Follow asks which sessions ended.
	endedLook = 500 * time.Millisecond

	// endedOverlap is how far each question reaches back behind the one before:
	// another machine's clock may be behind, and a transaction may have been slow.
	endedOverlap = 2 * Leeway

	// endedPage is how many sessions are asked for at first.
	endedPage = 1000

	// endedWait is how long an answer may take.
	endedWait = 15 * time.Second
)

// End makes the access tokens of these sessions bad at once, also those that
// were minted in the same instant: once it has returned, Verify answers
// bearer.ErrRevoked. It is remembered for longer than MaxLifetime, in fixed
// memory: see endedSessions for what a million of them cost.
func (v *Verifier) End(sessions ...string) {
	if len(sessions) > 0 {
		v.ended.add(v.now(), sessions)
	}
}

// EndedSince lists sessions that ended at since or later, at most limit; more
// says that there are others. The method of store.Sessions is one.
type EndedSince func(ctx context.Context, since time.Time, limit int) (ids []string, more bool, err error)

// CatchUp asks once which sessions ended since the last time, or within the
// life of a token, and ends them. On an error nothing is lost: the next CatchUp
// asks for the same time again.
func (v *Verifier) CatchUp(ctx context.Context, ended EndedSince) error {
	now := v.now()
	since := now.Add(-endedKept)
	// The clock may have been set back.
	if last := v.caught.Load(); last != nil && last.Before(now) {
		since = later(since, last.Add(-endedOverlap))
	}
	for limit := endedPage; ; limit *= 10 {
		ids, more, err := ended(ctx, since, limit)
		if err != nil {
			return fmt.Errorf("ask which sessions ended: %w", err)
		}
		v.End(ids...)
		if !more {
			v.caught.Store(&now)
			return nil
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Follow does CatchUp twice a second until ctx ends, so that sessions that
// another process ended are refused within a second. While the store does not
// answer, tokens stay good until they end, and sink gets one event for each
// such time. After a long answer it waits twice as long as that took.
func (v *Verifier) Follow(ctx context.Context, ended EndedSince, sink audit.Sink) {
	for failed := false; ; {
		began := time.Now()
		asked, cancel := context.WithTimeout(ctx, endedWait)
		err := v.CatchUp(asked, ended)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failed {
			sink.Record(audit.Event{Time: v.now(), Kind: audit.StoreFailed, Outcome: audit.Failure, Detail: err.Error()})
		}
		failed = err != nil
		wait := time.NewTimer(max(endedLook, 2*time.Since(began)))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}
