package storetest

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

func entry(last store.Entry) store.Entry {
	seq := last.Seq + 1
	return store.Entry{Seq: seq, Time: after(time.Duration(seq) * time.Microsecond), Event: fmt.Appendf(nil, `{"b":%d,  "a":"ü","a":1}`, seq),
		Previous: last.Hash, Hash: append(fmt.Appendf(nil, "%d after ", seq), last.Hash[:min(8, len(last.Hash))]...)}
}

func chain(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.LastEntry(ctx)
	wants(t, "last of an empty chain", err, store.ErrNotFound)
	all, err := s.Entries(ctx, 0, 10)
	wants(t, "empty chain", err, nil)
	same(t, "empty chain", len(all), 0)

	var want []store.Entry
	for n := range 4 {
		wants(t, "append", s.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
			if len(want) == 0 {
				same(t, "the first is given", last, store.Entry{})
			} else {
				same(t, "what link is given", last, want[len(want)-1])
			}
			var next []store.Entry
			for range n {
				last = entry(last)
				next = append(next, last)
			}
			want = append(want, next...)
			return next, nil
		}), nil)
	}
	all, err = s.Entries(ctx, 0, 10)
	wants(t, "entries", err, nil)
	same(t, "entries, with their bytes as they were", all, want)
	all, err = s.Entries(ctx, 2, 3)
	wants(t, "entries", err, nil)
	same(t, "three after the second", all, want[2:5])
	all, err = s.Entries(ctx, 6, 3)
	wants(t, "entries", err, nil)
	same(t, "after the last", len(all), 0)
	last, err := s.LastEntry(ctx)
	wants(t, "last", err, nil)
	same(t, "last", last, want[5])
}

func chainRefusals(t *testing.T, s store.Store) {
	ctx := t.Context()
	wants(t, "append", s.Append(ctx, func(last store.Entry) ([]store.Entry, error) { return []store.Entry{entry(last)}, nil }), nil)
	first := entry(store.Entry{})
	wants(t, "refused", s.Append(ctx, func(last store.Entry) ([]store.Entry, error) { return []store.Entry{entry(last)}, errRefused }), errRefused)
	for name, change := range map[string]func(*store.Entry){
		"a gap":                               func(e *store.Entry) { e.Seq++ },
		"the same number":                     func(e *store.Entry) { e.Seq-- },
		"a time that would come back changed": func(e *store.Entry) { e.Time = e.Time.Add(1) },
	} {
		fails(t, name, s.Append(ctx, func(last store.Entry) ([]store.Entry, error) {
			good := entry(last)
			bad := entry(good)
			change(&bad)
			return []store.Entry{good, bad}, nil
		}))
		all, err := s.Entries(ctx, 0, 10)
		wants(t, name, err, nil)
		same(t, name+": nothing was appended", all, []store.Entry{first})
	}
}

func chainRace(t *testing.T, s store.Store) {
	got := atOnce(20, func(i int) error {
		return s.Append(t.Context(), func(last store.Entry) ([]store.Entry, error) {
			var next []store.Entry
			for range i%3 + 1 {
				last = entry(last)
				next = append(next, last)
			}
			return next, nil
		})
	})
	same(t, "twenty append", got, map[error]int{nil: 20})
	all, err := s.Entries(t.Context(), 0, 100)
	wants(t, "entries", err, nil)
	same(t, "entries", len(all), 39)
	var last store.Entry
	for i, e := range all {
		if e.Seq != int64(i+1) || !bytes.Equal(e.Previous, last.Hash) {
			t.Fatalf("entry %d has the number %d and follows %q, want %q", i+1, e.Seq, e.Previous, last.Hash)
		}
		last = e
	}
}

func chainPruning(t *testing.T, s store.Store) {
	ctx := t.Context()
	add := func(n int) {
		t.Helper()
		wants(t, "append", s.Append(ctx, func(last store.Entry) (next []store.Entry, _ error) {
			for range n {
				last = entry(last)
				next = append(next, last)
			}
			return next, nil
		}), nil)
	}
	prune := func(through int64, want int) {
		t.Helper()
		n, err := s.PruneEntries(ctx, through)
		wants(t, "prune", err, nil)
		same(t, fmt.Sprint("pruned through ", through), n, want)
	}
	prune(10, 0)
	add(2100)
	all, err := s.Entries(ctx, 0, 3000)
	wants(t, "entries", err, nil)
	prune(0, 0)
	prune(1500, 1500) // more than one step
	prune(1500, 0)
	left, err := s.Entries(ctx, 0, 3000)
	wants(t, "entries", err, nil)
	same(t, "what is left", left, all[1500:])
	prune(9999, 599) // all but the last
	add(1)
	left, err = s.Entries(ctx, 0, 10)
	wants(t, "entries", err, nil)
	same(t, "what follows the last", left, []store.Entry{all[2099], entry(all[2099])})
}
