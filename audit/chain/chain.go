// Package chain keeps audit events in a store so that tampering shows: each
// entry holds the SHA-256 of the one before it.
//
// A Sink writes the chain, Verify judges it, Prune takes off its beginning, and
// Export hands it to others.
//
// The chain has no key. Who can write the database can also compute a new chain
// from any entry on, and cut off its end. Against that the Sink tells the log
// the last entry's number and hash (an Anchor, in an audit.anchored event) once
// a minute while there is something new, and when it closes. A chain that was
// rewritten, or cut, before an anchor that is kept elsewhere does not hold it
// any more, and Verify says so. What was written after the last anchor that the
// attacker cannot reach is as trustworthy as the database, no more.
package chain

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/store"
)

// domain keeps a hash of the chain from being one of anything else.
const domain = "ringwall audit chain 1"

// Sum is the hash that e must have: SHA-256 of five fields, each after its
// length in bytes as eight bytes, most significant first. The fields are
//
//	the text "ringwall audit chain 1"
//	Previous, empty for the first entry
//	Seq, eight bytes, most significant first
//	Time, microseconds since 1970 in UTC, eight bytes, most significant first
//	Event, byte for byte
func Sum(e store.Entry) []byte {
	h := sha256.New()
	var n [8]byte
	field := func(b []byte) {
		binary.BigEndian.PutUint64(n[:], uint64(len(b)))
		h.Write(n[:])
		h.Write(b)
	}
	var v [8]byte
	field([]byte(domain))
	field(e.Previous)
	binary.BigEndian.PutUint64(v[:], uint64(e.Seq))
	field(v[:])
	binary.BigEndian.PutUint64(v[:], uint64(e.Time.UnixMicro()))
	field(v[:])
	field(e.Event)
	return h.Sum(nil)
}

// An Anchor names one entry for good: whoever keeps it elsewhere can tell later
// whether the chain up to this entry is still the same.
type Anchor struct {
	Seq  int64
	Hash [sha256.Size]byte
}

// String is what ParseAnchor reads: "SEQ:HASH".
func (a Anchor) String() string { return fmt.Sprintf("%d:%x", a.Seq, a.Hash) }

// ParseAnchor reads "SEQ:HASH", a number from 1 and 64 hexadecimal digits.
func ParseAnchor(s string) (Anchor, error) {
	seq, sum, ok := strings.Cut(strings.TrimSpace(s), ":")
	var a Anchor
	if ok {
		n, err := strconv.ParseInt(seq, 10, 64)
		raw, herr := hex.DecodeString(sum)
		if err == nil && herr == nil && n > 0 && len(raw) == sha256.Size {
			a.Seq = n
			copy(a.Hash[:], raw)
			return a, nil
		}
	}
	return a, fmt.Errorf("%q is no anchor: SEQ:HASH is wanted, a number and 64 hexadecimal digits, as in the log's audit.anchored events", s)
}

// anchorOf names an entry by the hash that is stored with it.
func anchorOf(e store.Entry) Anchor {
	a := Anchor{Seq: e.Seq}
	copy(a.Hash[:], e.Hash)
	return a
}

// link makes the entries that follow last.
func link(last store.Entry, items []item) []store.Entry {
	entries := make([]store.Entry, len(items))
	for i, it := range items {
		e := store.Entry{Seq: last.Seq + 1, Time: it.at, Event: it.document, Previous: last.Hash}
		e.Hash = Sum(e)
		entries[i], last = e, e
	}
	return entries
}

// An item is an entry that has no place yet.
type item struct {
	at       time.Time
	document []byte
}

// stamp is a time as the store keeps it.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Microsecond) }

// A Log is what a server's log tells of the chain.
type Log struct {
	Anchors []Anchor // of audit.anchored events
	Cuts    []Anchor // of audit.pruned events: the last entry that was removed
}

// ReadLog finds the anchors and cuts in a log of JSON lines. Other lines are
// passed over. What reads as such an event and names no entry is an error.
func ReadLog(r io.Reader) (all Log, err error) {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if bytes.Contains(line, []byte(audit.AuditAnchored)) || bytes.Contains(line, []byte(audit.AuditPruned)) {
			var l struct {
				Name   audit.Kind `json:"event.name"`
				Detail string     `json:"ringwall.detail"`
			}
			if json.Unmarshal(line, &l) == nil && (l.Name == audit.AuditAnchored || l.Name == audit.AuditPruned) {
				a, err := ParseAnchor(l.Detail)
				if err != nil {
					return Log{}, fmt.Errorf("line %d: %w", n, err)
				}
				if l.Name == audit.AuditPruned {
					all.Cuts = append(all.Cuts, a)
				} else {
					all.Anchors = append(all.Anchors, a)
				}
			}
		}
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return Log{}, err
		}
	}
}
