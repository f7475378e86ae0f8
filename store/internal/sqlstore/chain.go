package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/ringwall/ringwall/store"
)

const (
	entryColumns = "seq, at, event, previous, hash"
	lastEntry    = "SELECT " + entryColumns + " FROM entries ORDER BY seq DESC LIMIT 1"
)

func scanEntry(r scanner) (e store.Entry, err error) {
	err = r.Scan(&e.Seq, since{&e.Time}, &e.Event, &e.Previous, &e.Hash)
	return e, err
}

func (s *Store) Append(ctx context.Context, link func(last store.Entry) ([]store.Entry, error)) error {
	return s.change(ctx, "append to the audit chain", func(t tx) (bool, error) {
		if t.dialect.LockChain != "" {
			if _, err := t.exec(t.dialect.LockChain); err != nil {
				return false, err
			}
		}
		last, err := scanEntry(t.row(lastEntry))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return false, err
		}
		seq := last.Seq
		next, err := link(last)
		if err != nil {
			return false, refuse(err)
		}
		for _, e := range next {
			switch seq++; {
			case e.Seq != seq:
				return false, fmt.Errorf("entry %d comes after %d", e.Seq, seq-1)
			case e.Time.Nanosecond()%1000 != 0:
				return false, fmt.Errorf("the time of entry %d has parts of a microsecond, which would be lost: truncate it before it is hashed", e.Seq)
			}
			if _, err := t.exec("INSERT INTO entries ("+entryColumns+") VALUES ($1, $2, $3, $4, $5)", e.Seq, micros(e.Time), e.Event, blob(e.Previous), e.Hash); err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

func (s *Store) Entries(ctx context.Context, after int64, limit int) (all []store.Entry, err error) {
	err = s.read(ctx, "read the audit chain", func() (err error) {
		rows, err := s.query(ctx, "SELECT "+entryColumns+" FROM entries WHERE seq > $1 ORDER BY seq LIMIT $2", after, max(limit, 0))
		all, err = collect(rows, err, scanEntry)
		return err
	})
	return all, err
}

func (s *Store) LastEntry(ctx context.Context) (e store.Entry, err error) {
	err = s.read(ctx, "read the audit chain", func() (err error) {
		e, err = scanEntry(s.row(ctx, lastEntry))
		return err
	})
	return e, err
}

func (s *Store) PruneEntries(ctx context.Context, through int64) (n int, err error) {
	for {
		var step int
		err = s.change(ctx, "prune the audit chain", func(t tx) (_ bool, err error) {
			step, err = count(t.exec(`DELETE FROM entries WHERE seq IN (SELECT seq FROM entries
				WHERE seq <= $1 AND seq < (SELECT max(seq) FROM entries) ORDER BY seq LIMIT $2)`, through, pruneStep))
			return err == nil, err
		})
		if err != nil {
			return n, err
		}
		if n += step; step < pruneStep {
			return n, nil
		}
	}
}
