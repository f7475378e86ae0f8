package chain

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ringwall/ringwall/store"
)

// pageSize is how many entries are in memory at a time.
const pageSize = 1000

// A Report is what Verify saw.
type Report struct {
	Entries     int64 // good ones, from the first on
	First, Last time.Time
	Head        Anchor    // the last good entry; zero for an empty chain
	Base        Anchor    // the last entry that was pruned; zero when the chain has its beginning
	Pruned      time.Time // when, as an entry of the chain tells
	Unseen      int       // anchors of entries that were pruned, which cannot be judged any more
	Break       *Break    // nil: every entry is as it was written
}

// A Break is the first place where the chain does not hold.
type Break struct {
	Seq int64
	Why string
}

func (b Break) String() string { return fmt.Sprintf("entry %d: %s", b.Seq, b.Why) }

// Verify reads the whole chain, a page at a time, and judges every entry. It
// finds an entry that was changed, in its event, time, number or hash, and one
// that is missing, inserted or in another's place. That the end was cut off,
// or everything from some entry on written anew, it finds with anchors only.
//
// A chain that was pruned begins after the last entry that was removed, and
// holds an audit.pruned entry that names it or a later one: without, its
// beginning is missing.
//
// An empty chain is no Break, unless there is an anchor: look at Entries. The
// error is the store's, when the chain could not be read to its end; the Report
// is then of what was read.
func Verify(ctx context.Context, st store.Chain, anchors ...Anchor) (Report, error) {
	return VerifyLog(ctx, st, Log{}, anchors...)
}

// VerifyLog is Verify that holds the chain also against a log. Who can write the
// database can add an audit.pruned entry and cut off what he likes, but not tell
// the log of it: when the log goes back to before that entry it must know the
// cut, or one of anchors must.
func VerifyLog(ctx context.Context, st store.Chain, log Log, anchors ...Anchor) (Report, error) {
	for try := 1; ; try++ {
		r, first, err := verify(ctx, st, log, anchors)
		if err != nil || r.Break == nil || try == 5 {
			return r, err
		}
		// Was it pruned while it was read?
		now, err := firstEntry(ctx, st)
		if err != nil || now.Seq == first.Seq {
			return r, err
		}
	}
}

func verify(ctx context.Context, st store.Chain, log Log, named []Anchor) (r Report, first store.Entry, err error) {
	if first, err = firstEntry(ctx, st); err != nil {
		return r, first, err
	}
	anchors := slices.Concat(named, log.Anchors)
	var last store.Entry
	if first.Seq > 1 {
		last = store.Entry{Seq: first.Seq - 1, Hash: first.Previous}
		r.Base = anchorOf(last)
		cut, entry, err := findCut(ctx, st, r.Base.Seq)
		switch {
		case err != nil:
			return r, first, err
		case entry.Seq == 0:
			r.Break = &Break{1, fmt.Sprintf("it is missing: the next one is entry %d, and no audit.pruned event tells of it", first.Seq)}
			return r, first, nil
		case slices.ContainsFunc(log.Anchors, func(a Anchor) bool { return a.Seq < entry.Seq }) && !slices.Contains(slices.Concat(log.Cuts, named), cut):
			r.Break = &Break{1, fmt.Sprintf("it is missing, up to entry %d: entry %d says that they were pruned, and the log of that time does not", r.Base.Seq, entry.Seq)}
			return r, first, nil
		}
		r.Pruned = entry.Time
		anchors = append(anchors, cut)
	}
	slices.SortFunc(anchors, func(a, b Anchor) int { return cmp.Compare(a.Seq, b.Seq) })
	for ; len(anchors) > 0 && anchors[0].Seq <= r.Base.Seq; anchors = anchors[1:] {
		switch a := anchors[0]; {
		case a.Seq < r.Base.Seq:
			r.Unseen++
		case a != r.Base:
			r.Break = &Break{first.Seq, fmt.Sprintf("it follows an entry with the hash %x, the anchor's is %x: it, or one before it, was written anew", r.Base.Hash, a.Hash)}
			return r, first, nil
		}
	}
	for e, err := range entries(ctx, st, math.MinInt64) {
		if err != nil {
			return r, first, err
		}
		if why := follows(last, e); why != "" {
			r.Break = &Break{last.Seq + 1, why}
			return r, first, nil
		}
		for ; len(anchors) > 0 && anchors[0].Seq <= e.Seq; anchors = anchors[1:] {
			if a := anchors[0]; a != anchorOf(e) {
				r.Break = &Break{e.Seq, fmt.Sprintf("its hash is %x, the anchor's is %x: it, or one before it, was written anew", e.Hash, a.Hash)}
				return r, first, nil
			}
		}
		if r.Entries == 0 {
			r.First = e.Time
		}
		r.Entries++
		r.Last, r.Head, last = e.Time, anchorOf(e), e
	}
	if len(anchors) > 0 {
		r.Break = &Break{last.Seq + 1, fmt.Sprintf("it is missing: the chain ends here, and an anchor names entry %d", anchors[len(anchors)-1].Seq)}
	}
	return r, first, nil
}

// follows says why e cannot be the entry after last, "" when it can.
func follows(last, e store.Entry) string {
	switch {
	case e.Seq > last.Seq+1:
		return fmt.Sprintf("it is missing: the next one is entry %d", e.Seq)
	case e.Seq <= last.Seq:
		return fmt.Sprintf("entry %d stands in its place", e.Seq)
	case !bytes.Equal(e.Hash, Sum(e)):
		return "its hash is not that of what it holds: it was changed"
	case !bytes.Equal(e.Previous, last.Hash):
		return "it does not follow the entry before it: one of the two was replaced"
	}
	return ""
}

// entries reads the chain after the entry with this Seq. It ends at the first error.
func entries(ctx context.Context, st store.Chain, after int64) func(yield func(store.Entry, error) bool) {
	return func(yield func(store.Entry, error) bool) {
		for {
			page, err := st.Entries(ctx, after, pageSize)
			if err != nil {
				yield(store.Entry{}, fmt.Errorf("read the audit chain after entry %d: %w", max(after, 0), err))
				return
			}
			for _, e := range page {
				if !yield(e, nil) {
					return
				}
			}
			if len(page) < pageSize {
				return
			}
			after = page[len(page)-1].Seq
		}
	}
}
