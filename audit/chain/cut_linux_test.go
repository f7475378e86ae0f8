package chain_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/internal/disktest"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// stored writes n entries, each in a transaction of its own, and returns the files
// as they are while the store is open, as the end of the machine finds them.
func stored(t *testing.T, n int) (db, wal []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ringwall.db")
	st, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for i := range n {
		s := chain.New(st, slog.New(slog.DiscardHandler), audit.Discard)
		s.Record(numbered(i))
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	db, derr := os.ReadFile(file)
	wal, werr := os.ReadFile(file + "-wal")
	if err := errors.Join(derr, werr); err != nil {
		t.Fatal(err)
	}
	return db, wal
}

// commits are where in a log a transaction is complete: https://sqlite.org/fileformat2.html#walformat
func commits(wal []byte) (ends []int) {
	page := int(binary.BigEndian.Uint32(wal[8:]))
	for at := 32; at+24+page <= len(wal); at += 24 + page {
		if binary.BigEndian.Uint32(wal[at+4:]) != 0 {
			ends = append(ends, at+24+page)
		}
	}
	return ends
}

// The end of the machine at any byte of the log, with nothing, zeros or anything
// behind it, leaves a chain that verifies, holds what was complete by then, and goes
// on.
func TestCutAtAnyByte(t *testing.T) {
	const n = 6
	db, wal := stored(t, n)
	ends := commits(wal)
	if len(ends) < n {
		t.Fatalf("%d transactions", len(ends))
	}
	begin := ends[len(ends)-n] // of the first entry's end; the schema is before
	var cuts []int
	for at := begin; at <= len(wal); at += 199 {
		cuts = append(cuts, at)
	}
	for _, end := range ends[len(ends)-n:] {
		for _, near := range []int{-4121, -4097, -4096, -1, 0, 1, 23, 24, 25} {
			if at := end + near; at >= begin && at <= len(wal) {
				cuts = append(cuts, at)
			}
		}
	}
	file := filepath.Join(t.TempDir(), "ringwall.db")
	for i, cut := range cuts {
		log := bytes.Clone(wal)
		switch i % 3 {
		case 0:
			log = log[:cut]
		case 1:
			clear(log[cut:])
		case 2:
			for j := cut; j < len(log); j++ {
				log[j] ^= 0xa5
			}
		}
		_ = os.Remove(file + "-shm")
		if err := errors.Join(os.WriteFile(file, db, 0o600), os.WriteFile(file+"-wal", log, 0o600)); err != nil {
			t.Fatal(err)
		}
		st, err := sqlitestore.Open(t.Context(), file)
		if err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		want := int64(0)
		for _, end := range ends[len(ends)-n:] {
			if end <= cut {
				want++
			}
		}
		if r, err := chain.Verify(t.Context(), st); err != nil || r.Break != nil || r.Entries != want {
			t.Errorf("cut at byte %d: %+v, %v; want %d entries", cut, r, err, want)
		}
		s := chain.New(st, slog.New(slog.DiscardHandler), audit.Discard)
		s.Record(numbered(100))
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r, err := chain.Verify(t.Context(), st); err != nil || r.Break != nil || r.Entries != want+1 {
			t.Errorf("cut at byte %d, and gone on with: %+v, %v", cut, r, err)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d cuts", len(cuts))
}

// A disk that is full at any byte, while the same process goes on: nothing is stored
// by halves, and all of it is when there is room.
func TestFullAtAnyByte(t *testing.T) {
	if !disktest.Alone(t) {
		return
	}
	file := filepath.Join(t.TempDir(), "ringwall.db")
	st, err := sqlitestore.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	written, full := int64(0), 0
	for _, more := range []int64{0, 1, 23, 24, 25, 100, 4095, 4096, 4119, 4120, 4121, 5000, 8239, 8240, 8241, 12360} {
		fi, err := os.Stat(file + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		events := make(chan audit.Event, 100)
		s := chain.New(st, slog.New(slog.DiscardHandler), sink(func(e audit.Event) { events <- e }))
		var told audit.Event
		_ = disktest.Full(t, fi.Size()+more, func() error {
			for i := range 40 {
				s.Record(numbered(i))
			}
			select {
			case told = <-events:
			case <-time.After(30 * time.Second):
			}
			return nil
		})
		if told.Kind != audit.StoreFailed {
			t.Fatalf("full after %d bytes more: %+v", more, told)
		}
		full++
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		written += 41 // with what was told
		if r, err := chain.Verify(t.Context(), st); err != nil || r.Break != nil || r.Entries != written {
			t.Fatalf("full after %d bytes more: %+v, %v; want %d entries", more, r, err, written)
		}
	}
	t.Logf("full %d times", full)
}

type sink func(audit.Event)

func (f sink) Record(e audit.Event) { f(e) }
