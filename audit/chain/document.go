package chain

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// version of the document that an entry holds.
const version = 1

// maxField bounds each text of a document, in bytes as written, so that no
// caller makes entries large. A longer one is cut, and ends in an ellipsis.
const maxField = 512

// A Record is what one entry tells: an event or, when Of is set, that Count
// events of the kind Of, from Since to Time, were not stored one by one. Its
// Kind is then audit.AuditSummarised or audit.AuditLost.
type Record struct {
	audit.Event
	Of    audit.Kind
	Count int64
	Since time.Time
}

// document encodes r, without its time, which the entry has. It is one JSON
// object of printable ASCII without spaces, members in the order below, empty
// ones left out; bytes that are no UTF-8 are written as U+FFFD.
func document(r Record) []byte {
	b := make([]byte, 0, 256)
	b = append(b, `{"v":1`...)
	text := func(name, v string) {
		if v == "" {
			return
		}
		b = append(b, `,"`...)
		b = append(b, name...)
		b = append(b, `":`...)
		b = appendText(b, v, maxField)
	}
	text("kind", string(r.Kind))
	text("outcome", string(r.Outcome))
	text("control", r.Control)
	if r.Client.IsValid() {
		text("client", r.Client.String())
	}
	text("subject", r.Subject)
	text("session", r.Session)
	text("request_id", r.RequestID)
	text("method", r.Method)
	text("path", r.Path)
	text("route", r.Route)
	if r.Status != 0 {
		b = append(b, `,"status":`...)
		b = strconv.AppendInt(b, int64(r.Status), 10)
	}
	text("detail", r.Detail)
	if r.Of != "" {
		text("of", string(r.Of))
		b = append(b, `,"count":`...)
		b = strconv.AppendInt(b, r.Count, 10)
		text("since", stamp(r.Since).Format(time.RFC3339Nano))
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// appendText writes s as a JSON string of printable ASCII, cut before it takes
// more than most bytes; 0 means uncut.
func appendText(b []byte, s string, most int) []byte {
	b = append(b, '"')
	start := len(b)
	for i := 0; i < len(s); {
		c, before := s[i], len(b)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case ' ' <= c && c < 0x7f:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			i += size
			if r > 0xffff { // a surrogate pair, RFC 8259 section 7
				r -= 0x10000
				b = appendEscape(b, 0xd800+r>>10)
				r = 0xdc00 + r&0x3ff
			}
			b = appendEscape(b, r)
		}
		if most > 0 && len(b)-start > most {
			b = append(b[:before], `\u2026`...)
			break
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	return append(b, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// Decode reads what an entry tells. It does not judge the entry's place in the
// chain: Verify does.
func Decode(e store.Entry) (Record, error) {
	var d struct {
		V                   int
		Kind, Of            audit.Kind
		Outcome             audit.Outcome
		Control             string
		Client              netip.Addr
		Subject, Session    string
		RequestID           string `json:"request_id"`
		Method, Path, Route string
		Status              int
		Detail              string
		Count               int64
		Since               time.Time
	}
	if err := json.Unmarshal(e.Event, &d); err != nil {
		return Record{}, fmt.Errorf("read audit entry %d: %w", e.Seq, err)
	}
	if d.V != version {
		return Record{}, fmt.Errorf("read audit entry %d: its document has version %d, and this program reads %d: a newer one wrote it", e.Seq, d.V, version)
	}
	return Record{Event: audit.Event{Time: e.Time, Kind: d.Kind, Outcome: d.Outcome, Control: d.Control, Client: d.Client, Subject: d.Subject,
		Session: d.Session, RequestID: d.RequestID, Method: d.Method, Path: d.Path, Route: d.Route, Status: d.Status, Detail: d.Detail},
		Of: d.Of, Count: d.Count, Since: d.Since}, nil
}
