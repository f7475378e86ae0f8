package watch

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/audit"
)

const (
	settle  = time.Second // the first event waits so long for those that come with it
	perKind = 20          // subjects of one kind that are listed; further ones are counted
)

// A digest collects events until they may be told, in bounded memory: 20
// subjects of each kind and a count of the rest.
type digest struct {
	gap    time.Duration // least time between two messages
	window time.Duration // least time between two notices of the same thing

	notices map[thing]*notice
	of      map[audit.Kind]int // notices by kind
	more    map[audit.Kind]int // events that were only counted
	moreDue time.Time
	lost    int       // events of messages that were given up
	next    time.Time // no message before
}

// A thing is what events of one kind have in common.
type thing struct {
	kind audit.Kind
	who  string
}

// A notice is events about one thing that are told together.
type notice struct {
	event       audit.Event // the first of them
	count       int         // 0: told, and nothing since
	first, last time.Time
	due         time.Time
}

// thingOf tells events apart by the caller, else the client, else what their
// detail is about: the part before its first colon.
func thingOf(e audit.Event) thing {
	who := e.Subject
	if who == "" && e.Client.IsValid() {
		who = e.Client.String()
	} else if who == "" {
		who, _, _ = strings.Cut(e.Detail, ":")
	}
	return thing{e.Kind, cut(who, 100)}
}

// add takes an event.
func (d *digest) add(e audit.Event, now time.Time) {
	if d.notices == nil {
		d.notices, d.of, d.more = map[thing]*notice{}, map[audit.Kind]int{}, map[audit.Kind]int{}
	}
	if e.Time.IsZero() {
		e.Time = now
	}
	t := thingOf(e)
	n := d.notices[t]
	if n == nil {
		if d.of[e.Kind] >= perKind {
			d.forget(now)
		}
		if d.of[e.Kind] >= perKind {
			if len(d.more) == 0 && d.moreDue.Before(now) {
				d.moreDue = now.Add(settle)
			}
			d.more[e.Kind]++
			return
		}
		n = &notice{due: now.Add(settle)}
		d.notices[t] = n
		d.of[e.Kind]++
	}
	if n.count == 0 {
		n.event, n.first = kept(e), e.Time
	}
	n.count++
	n.last = e.Time
}

// kept is the part of an event that is told, in memory of its own.
func kept(e audit.Event) audit.Event {
	return audit.Event{Time: e.Time, Kind: e.Kind, Outcome: e.Outcome, Control: e.Control, Client: e.Client, Status: e.Status,
		Subject: cut(e.Subject, 100), RequestID: cut(e.RequestID, 100), Detail: cut(e.Detail, 300)}
}

// cut copies at most n bytes of s.
func cut(s string, n int) string {
	if len(s) > n {
		s = s[:n]
	}
	return strings.Clone(s)
}

// forget drops what was told and has not come again.
func (d *digest) forget(now time.Time) {
	for t, n := range d.notices {
		if n.count == 0 && !n.due.After(now) {
			delete(d.notices, t)
			d.of[t.kind]--
		}
	}
}

// at is when take has something; false: when nothing more comes, never.
func (d *digest) at() (t time.Time, ok bool) {
	for _, n := range d.notices {
		if n.count > 0 && (!ok || n.due.Before(t)) {
			t, ok = n.due, true
		}
	}
	if len(d.more) > 0 && (!ok || d.moreDue.Before(t)) {
		t, ok = d.moreDue, true
	}
	if t.Before(d.next) {
		t = d.next
	}
	return t, ok
}

// waiting counts the events that are not told yet.
func (d *digest) waiting() (n int) {
	for _, x := range d.notices {
		n += x.count
	}
	for _, c := range d.more {
		n += c
	}
	return n
}

// take returns what is due, oldest first, or nil. all: what is not due yet, too.
func (d *digest) take(now time.Time, all bool) *message {
	if t, ok := d.at(); !ok || t.After(now) && !all {
		return nil
	}
	m := &message{time: now, more: map[audit.Kind]int{}, lost: d.lost}
	for _, n := range d.notices {
		if n.count > 0 && (all || !n.due.After(now)) {
			m.notices = append(m.notices, *n)
			n.count, n.due = 0, now.Add(d.window)
		}
	}
	slices.SortFunc(m.notices, func(a, b notice) int {
		return cmp.Or(a.first.Compare(b.first), cmp.Compare(a.event.Kind, b.event.Kind), cmp.Compare(a.event.Detail, b.event.Detail))
	})
	if len(d.more) > 0 && (all || !d.moreDue.After(now)) {
		m.more, d.more = d.more, map[audit.Kind]int{}
		d.moreDue = now.Add(d.window)
	}
	d.lost = 0
	d.next = now.Add(d.gap)
	d.forget(now)
	return m
}
