package sqlstore

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// A Table is what a table held at one moment. Sum covers every column of every
// row in the order of the key, so that equal sums mean equal content, in
// whatever database it is.
type Table struct {
	Name string
	Rows int
	Sum  [sha256.Size]byte
}

// tables are in the order in which they can be filled.
var tables = []struct{ name, columns, key string }{
	{"accounts", accountColumns, "id"},
	{"sessions", sessionColumns, "id"},
	{"tickets", ticketColumns, "sum"},
	{"attempts", "key, failures, last, until", "key"},
	{"entries", entryColumns, "seq"},
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// eachRow calls f with the values of every row, in the order of the key: int64,
// string, []byte or nil each.
func eachRow(ctx context.Context, q querier, columns, table, key string, f func([]any) error) error {
	rows, err := q.QueryContext(ctx, "SELECT "+columns+" FROM "+table+" ORDER BY "+key)
	if err != nil {
		return err
	}
	defer rows.Close()
	values := make([]any, strings.Count(columns, ",")+1)
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := f(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// sums reads all tables; q is one transaction.
func sums(ctx context.Context, q querier) (all []Table, err error) {
	for _, t := range tables {
		hash := sha256.New()
		got := Table{Name: t.name}
		var buf []byte
		if err := eachRow(ctx, q, t.columns, t.name, t.key, func(values []any) (err error) {
			got.Rows++
			buf = buf[:0]
			for _, v := range values {
				if buf, err = appendValue(buf, v); err != nil {
					return fmt.Errorf("table %s: %w", t.name, err)
				}
			}
			hash.Write(buf)
			return nil
		}); err != nil {
			return nil, err
		}
		hash.Sum(got.Sum[:0])
		all = append(all, got)
	}
	return all, nil
}

// appendValue writes a value so that no two lists of values look alike.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, 'n'), nil
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 'i'), uint64(v)), nil
	case string:
		return append(binary.BigEndian.AppendUint64(append(b, 't'), uint64(len(v))), v...), nil
	case []byte:
		return append(binary.BigEndian.AppendUint64(append(b, 'b'), uint64(len(v))), v...), nil
	}
	return nil, fmt.Errorf("a value of the type %T", v)
}

// Tables reads everything, at one moment.
func (s *Store) Tables(ctx context.Context) (all []Table, err error) {
	err = s.read(ctx, "read all tables", func() error {
		t, err := s.snapshot(ctx)
		if err != nil {
			return err
		}
		defer func() { _ = t.Rollback() }()
		all, err = sums(ctx, t)
		return err
	})
	return all, err
}

func (s *Store) snapshot(ctx context.Context) (*sql.Tx, error) {
	return s.reads.BeginTx(ctx, &sql.TxOptions{Isolation: s.dialect.Snapshot, ReadOnly: true})
}

// CopyFrom takes over everything from another store, in one transaction, and
// compares the counts and sums of all tables before it commits. It is an error
// when there is anything here already. Nobody may write to either meanwhile; who
// does is found by the comparison.
func (s *Store) CopyFrom(ctx context.Context, from *Store) (all []Table, err error) {
	if err := from.enter("copy the store"); err != nil {
		return nil, err
	}
	defer from.mu.RUnlock()
	err = s.change(ctx, "copy the store", func(t tx) (bool, error) {
		source, err := from.snapshot(ctx)
		if err != nil {
			return false, err
		}
		defer func() { _ = source.Rollback() }()
		for _, table := range tables {
			var used bool
			if err := t.row("SELECT EXISTS (SELECT 1 FROM " + table.name + ")").Scan(&used); err != nil {
				return false, err
			}
			if used {
				return false, fmt.Errorf("the table %s there is not empty", table.name)
			}
		}
		for _, table := range tables {
			in := inserter{tx: t, table: table.name, columns: table.columns}
			if err := eachRow(ctx, source, table.columns, table.name, table.key, in.add); err != nil {
				return false, err
			}
			if err := in.flush(); err != nil {
				return false, err
			}
		}
		want, err := sums(ctx, source)
		if err != nil {
			return false, err
		}
		if all, err = sums(ctx, t); err != nil {
			return false, err
		}
		for i, got := range all {
			if got != want[i] {
				return false, fmt.Errorf("the table %s has %d rows with the sum %x, and its copy %d with %x", got.Name, want[i].Rows, want[i].Sum, got.Rows, got.Sum)
			}
		}
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// An inserter writes many rows with one statement.
type inserter struct {
	tx
	table, columns string
	rows           int
	values         []any
}

func (in *inserter) add(values []any) error {
	in.rows++
	in.values = append(in.values, slices.Clone(values)...)
	if in.rows < 100 {
		return nil
	}
	return in.flush()
}

func (in *inserter) flush() error {
	if in.rows == 0 {
		return nil
	}
	q := fmt.Appendf(nil, "INSERT INTO %s (%s) VALUES ", in.table, in.columns)
	width := len(in.values) / in.rows
	for i := range in.values {
		switch {
		case i == 0:
			q = append(q, '(')
		case i%width == 0:
			q = append(q, "), ("...)
		default:
			q = append(q, ", "...)
		}
		q = fmt.Appendf(q, "$%d", i+1)
	}
	_, err := in.exec(string(append(q, ')')), in.values...)
	in.rows, in.values = 0, in.values[:0]
	return err
}
