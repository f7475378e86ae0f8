package chain

import (
	"bufio"
	"context"
	"encoding/csv"
	"encoding/hex"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ringwall/ringwall/store"
)

// stampFormat has always six digits of a second.
const stampFormat = "2006-01-02T15:04:05.000000Z"

// ExportJSONL writes one JSON object a line for each entry: seq, time, event,
// previous and hash. It is all that somebody else needs to verify the chain:
// event is the stored document as a string, so that its bytes survive, and the
// hashes are hexadecimal (docs/decisions/0011). Lines are printable ASCII.
//
// What is written is one unbroken part of the chain: from the first entry at or
// after from up to the last one before to. A zero time is no bound. An entry
// between the two whose own time is out of order is in it. The number of
// entries is returned.
func ExportJSONL(ctx context.Context, st store.Chain, from, to time.Time, w io.Writer) (int64, error) {
	out := bufio.NewWriter(w)
	var b []byte
	n, err := export(ctx, st, from, to, func(e store.Entry) error {
		b = append(b[:0], `{"seq":`...)
		b = strconv.AppendInt(b, e.Seq, 10)
		b = append(b, `,"time":"`...)
		b = e.Time.UTC().AppendFormat(b, stampFormat)
		b = append(b, `","event":`...)
		b = appendText(b, string(e.Event), 0)
		b = append(b, `,"previous":"`...)
		b = hex.AppendEncode(b, e.Previous)
		b = append(b, `","hash":"`...)
		b = hex.AppendEncode(b, e.Hash)
		b = append(b, "\"}\n"...)
		_, err := out.Write(b)
		return err
	})
	if err != nil {
		return n, err
	}
	return n, out.Flush()
}

var csvHeader = []string{"seq", "time", "kind", "outcome", "control", "client", "subject", "session", "request_id", "method", "path",
	"route", "status", "detail", "of", "count", "since", "hash"}

// ExportCSV writes the same entries for a spreadsheet, RFC 4180 with a header.
// It is for reading: what is not printable is escaped with a backslash, and a
// cell that a spreadsheet would take for a formula begins with an apostrophe
// (CWE-1236). A document that cannot be read is the detail of its row.
func ExportCSV(ctx context.Context, st store.Chain, from, to time.Time, w io.Writer) (int64, error) {
	out := csv.NewWriter(w)
	if err := out.Write(csvHeader); err != nil {
		return 0, err
	}
	n, err := export(ctx, st, from, to, func(e store.Entry) error {
		r, err := Decode(e)
		if err != nil {
			r.Kind, r.Detail = unreadable, string(e.Event)
		}
		row := []string{strconv.FormatInt(e.Seq, 10), e.Time.UTC().Format(stampFormat), string(r.Kind), string(r.Outcome), r.Control, clientOf(r),
			r.Subject, r.Session, r.RequestID, r.Method, r.Path, r.Route, "", r.Detail, string(r.Of), "", "", hex.EncodeToString(e.Hash)}
		if r.Status != 0 {
			row[12] = strconv.Itoa(r.Status)
		}
		if r.Of != "" {
			row[15], row[16] = strconv.FormatInt(r.Count, 10), r.Since.Format(stampFormat)
		}
		for i, c := range row {
			row[i] = cell(c)
		}
		return out.Write(row)
	})
	out.Flush()
	if err == nil {
		err = out.Error()
	}
	return n, err
}

// unreadable is the kind shown for a document that Decode refuses.
const unreadable = "unreadable"

func clientOf(r Record) string {
	if !r.Client.IsValid() {
		return ""
	}
	return r.Client.String()
}

func cell(s string) string {
	s = visible(s)
	switch r, _ := utf8.DecodeRuneInString(s); r {
	case '=', '+', '-', '@', '＝', '＋', '－', '＠':
		return "'" + s
	}
	return s
}

// visible escapes what is not printable, and the backslash.
func visible(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			b.WriteString(`\x` + hex.EncodeToString([]byte{s[i]}))
		case r == '\\':
			b.WriteString(`\\`)
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
		}
		i += size
	}
	return b.String()
}

// Text writes one entry as a line for a terminal, without its end: number,
// time, kind, outcome, and the fields that are not empty. Every character of it
// is printable; a value that is more than one plain word is quoted.
func Text(e store.Entry) string {
	r, err := Decode(e)
	if err != nil {
		r.Kind, r.Detail = unreadable, string(e.Event)
	}
	var b strings.Builder
	b.WriteString(strconv.FormatInt(e.Seq, 10) + " " + e.Time.UTC().Format(stampFormat) + " " + word(string(r.Kind)))
	if r.Outcome != "" {
		b.WriteString(" " + word(string(r.Outcome)))
	}
	field := func(name, v string) {
		if v != "" {
			b.WriteString(" " + name + "=" + word(v))
		}
	}
	if r.Of != "" {
		field("of", string(r.Of))
		field("count", strconv.FormatInt(r.Count, 10))
		field("since", r.Since.Format(stampFormat))
	}
	field("client", clientOf(r))
	field("subject", r.Subject)
	field("session", r.Session)
	field("method", r.Method)
	field("path", r.Path)
	field("route", r.Route)
	if r.Status != 0 {
		field("status", strconv.Itoa(r.Status))
	}
	field("control", r.Control)
	field("request_id", r.RequestID)
	field("detail", r.Detail)
	return b.String()
}

func word(s string) string {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '=' {
			return strconv.Quote(s)
		}
	}
	return s
}

// export gives take the part of the chain from one time to another. The part is
// found first, in a reading of its own.
func export(ctx context.Context, st store.Chain, from, to time.Time, take func(store.Entry) error) (n int64, err error) {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	for e, err := range entries(ctx, st, math.MinInt64) {
		if err != nil {
			return 0, err
		}
		if first > e.Seq && !e.Time.Before(from) {
			first = e.Seq
		}
		if to.IsZero() || e.Time.Before(to) {
			last = e.Seq
		}
	}
	if first > last {
		return 0, nil
	}
	for e, err := range entries(ctx, st, first-1) {
		if err != nil || e.Seq > last {
			return n, err
		}
		if err := take(e); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
