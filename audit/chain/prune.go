package chain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// ErrBroken says that the chain does not hold, and was left as it is.
var ErrBroken = errors.New("it was tampered with, and nothing was removed")

// Prune removes the entries at the beginning of the chain that are older than a
// time, and leaves a chain that Verify takes for whole: before anything is
// removed, an audit.pruned event is appended whose detail is the Anchor of the
// last entry that goes. The first that is not older ends what is removed, and the
// last entry stays. It returns how many were removed, also with an error, and the
// cut; zero when nothing was to be done. After a crash in between, the chain
// verifies and the next Prune removes the rest.
//
// What does not verify is not removed, since it is evidence: ErrBroken.
//
// by is who asked, "" for the server. events are told too: give them the log, and
// not a Sink of this chain.
func Prune(ctx context.Context, st store.Chain, before time.Time, by string, events audit.Sink) (n int, cut Anchor, err error) {
	last, err := firstEntry(ctx, st)
	if err != nil {
		return 0, cut, err
	}
	last = store.Entry{Seq: max(last.Seq-1, 0), Hash: last.Previous}
	for e, err := range entries(ctx, st, math.MinInt64) {
		if err != nil {
			return 0, Anchor{}, err
		}
		if !e.Time.Before(before) {
			break
		}
		if why := follows(last, e); why != "" {
			return 0, Anchor{}, fmt.Errorf("prune the audit chain: %w: %s", ErrBroken, Break{last.Seq + 1, why})
		}
		cut, last = anchorOf(e), e
	}
	if cut == (Anchor{}) {
		return 0, cut, nil
	}
	e := audit.Event{Time: time.Now(), Kind: audit.AuditPruned, Outcome: audit.Success, Subject: by, Detail: cut.String()}
	if err := st.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
		return link(last, []item{{stamp(e.Time), document(Record{Event: e})}}), nil
	}); err != nil {
		return 0, Anchor{}, fmt.Errorf("say in the audit chain that it is pruned: %w", err)
	}
	events.Record(e)
	if n, err = st.PruneEntries(ctx, cut.Seq); err != nil {
		return n, cut, fmt.Errorf("prune the audit chain: %w", err)
	}
	return n, cut, nil
}

const (
	pruneEvery = time.Hour
	// pruneSlack is how much older than it need be the first entry is before the
	// chain is pruned, so that it is done once a day, by one of several processes.
	pruneSlack = 24 * time.Hour
)

// Keep prunes the chain once a day, until ctx ends, so that it holds the entries
// of the time that keep returns, and those of up to a day before.
func (s *Sink) Keep(ctx context.Context, keep func() time.Duration) {
	tick := time.NewTicker(pruneEvery)
	defer tick.Stop()
	for {
		s.prune(ctx, keep())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (s *Sink) prune(ctx context.Context, keep time.Duration) {
	now := time.Now()
	first, err := firstEntry(ctx, s.st)
	if err == nil && first.Seq != 0 && first.Time.Before(now.Add(-keep-pruneSlack)) {
		_, _, err = Prune(ctx, s.st, now.Add(-keep), "", s.events)
	}
	switch {
	case errors.Is(err, ErrBroken):
		s.events.Record(audit.Event{Time: now, Kind: audit.AuditBroken, Outcome: audit.Failure, Detail: err.Error()})
	case err != nil && ctx.Err() == nil:
		s.log.Warn("the audit chain was not pruned", "error", err)
	}
}

// firstEntry is the oldest entry there is, zero for an empty chain.
func firstEntry(ctx context.Context, st store.Chain) (store.Entry, error) {
	all, err := st.Entries(ctx, math.MinInt64, 1)
	if err != nil {
		return store.Entry{}, fmt.Errorf("read the beginning of the audit chain: %w", err)
	}
	if len(all) == 0 {
		return store.Entry{}, nil
	}
	return all[0], nil
}

// findCut finds the last audit.pruned entry that says that all up to seq, or
// more, were removed, and what it names; the zero entry when there is none.
func findCut(ctx context.Context, st store.Chain, seq int64) (cut Anchor, by store.Entry, err error) {
	for e, err := range entries(ctx, st, math.MinInt64) {
		if err != nil {
			return cut, by, err
		}
		if !bytes.Contains(e.Event, []byte(audit.AuditPruned)) {
			continue
		}
		r, err := Decode(e)
		if err != nil || r.Kind != audit.AuditPruned {
			continue
		}
		if a, err := ParseAnchor(r.Detail); err == nil && a.Seq >= seq && a.Seq < e.Seq {
			cut, by = a, e
		}
	}
	return cut, by, nil
}
