package storetest

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ringwall/ringwall/store"
)

func sessions(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.Session(ctx, "1")
	wants(t, "not there", err, store.ErrNotFound)
	wants(t, "no account", s.CreateSession(ctx, session("1", "a"), 0, nil), store.ErrNotFound)
	put(t, s, account("a"), account("b"), session("1", "a"))
	same(t, "stored", getSession(t, s, "1"), session("1", "a"))
	wants(t, "the ID again", s.CreateSession(ctx, session("1", "b"), 1, nil), store.ErrExists)
	same(t, "after a refusal", getSession(t, s, "1"), session("1", "a"))
	for name, change := range map[string]func(*store.Session){
		"no ID":        func(v *store.Session) { v.ID = "" },
		"no beginning": func(v *store.Session) { v.Created = time.Time{} },
		"no end":       func(v *store.Session) { v.Expires = time.Time{} },
	} {
		v := session("2", "a")
		change(&v)
		fails(t, name, s.CreateSession(ctx, v, 0, nil))
	}
}

func sessionRoundTrip(t *testing.T, s store.Store) {
	put(t, s, account("a"))
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	least := store.Session{ID: "least", AccountID: "a", Created: start, Expires: after(1000)}
	empty := least
	empty.ID, empty.Current, empty.Previous, empty.Successor = "empty", []byte{}, []byte{}, []byte{}
	emptyRead := least
	emptyRead.ID = "empty"
	full := store.Session{ID: "full", AccountID: "a", Device: "d", UserAgent: "Mozilla/5.0 (日本)", Client: netip.MustParseAddr("2001:db8::1"),
		Created: start, Used: after(1000), Expires: after(2000), Ended: after(3000), EndReason: "reuse", Generation: 1<<63 - 1,
		Current: all, Previous: all[1:], Rotated: after(4000), Successor: []byte{0}}
	for _, tt := range []struct{ in, out store.Session }{{least, least}, {empty, emptyRead}, {full, full}} {
		put(t, s, tt.in)
		same(t, tt.in.ID, getSession(t, s, tt.in.ID), tt.out)
	}
	for i, addr := range []string{"0.0.0.0", "::", "::ffff:192.0.2.1", "fe80::1%eth0"} {
		v := session(fmt.Sprint("client", i), "a")
		v.Client = netip.MustParseAddr(addr)
		put(t, s, v)
		same(t, addr, getSession(t, s, v.ID).Client, v.Client)
	}
}

// sessionUserAgent: what a client calls itself is a stranger's bytes.
func sessionUserAgent(t *testing.T, s store.Store) {
	put(t, s, account("a"))
	for i, tt := range []struct{ in, out string }{
		{strings.Repeat("x", 256), strings.Repeat("x", 256)},
		{strings.Repeat("x", 257), strings.Repeat("x", 256)},
		{strings.Repeat("x", 255) + "é", strings.Repeat("x", 255)},
		{strings.Repeat("x", 254) + "éz", strings.Repeat("x", 254) + "é"},
		{strings.Repeat("🧱", 100), strings.Repeat("🧱", 64)},
		{"a\x00b", "a\uFFFDb"},
		{"a\xff\xfeb", "a\uFFFDb"},
		{strings.Repeat("\x00", 300), strings.Repeat("\uFFFD", 85)},
	} {
		v := session(fmt.Sprint(i), "a")
		v.UserAgent = tt.in
		put(t, s, v)
		got := getSession(t, s, v.ID).UserAgent
		if got != tt.out || !utf8.ValidString(got) {
			t.Errorf("%q became %q, want %q", tt.in, got, tt.out)
		}
	}
}

func sessionRefused(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("before", "a"))
	err := s.CreateSession(t.Context(), session("1", "a"), 1, func(a store.Account) error {
		same(t, "what allowed is given", a, account("a"))
		return errRefused
	})
	wants(t, "refused", err, errRefused)
	_, err = s.Session(t.Context(), "1")
	wants(t, "the refused session", err, store.ErrNotFound)
	same(t, "the session before", getSession(t, s, "before"), session("before", "a"))
	wants(t, "allowed", s.CreateSession(t.Context(), session("1", "a"), 0, func(store.Account) error { return nil }), nil)
	same(t, "the allowed session", getSession(t, s, "1"), session("1", "a"))
}

func sessionMost(t *testing.T, s store.Store) {
	ctx := t.Context()
	put(t, s, account("a"), account("b"), session("other", "b"))
	// In the order of their beginnings: 3, then 1 and 2 at one time.
	for id, at := range map[string]time.Duration{"3": -3, "1": -2, "2": -2, "ended": -1, "expired": -1} {
		v := session(id, "a")
		v.Created = after(at * time.Second)
		switch id {
		case "ended":
			v.Ended, v.EndReason = start, "logout"
		case "expired":
			v.Expires = start
		}
		put(t, s, v)
	}
	wants(t, "create", s.CreateSession(ctx, session("new", "a"), 3, nil), nil)
	v := getSession(t, s, "3")
	same(t, "the oldest ended", []any{v.Ended, v.EndReason}, []any{start, "replaced"})
	for _, id := range []string{"1", "2", "expired", "new", "other"} {
		if v := getSession(t, s, id); !v.Ended.IsZero() {
			t.Errorf("session %s ended: %+v", id, v)
		}
	}
	same(t, "an ended one", getSession(t, s, "ended").EndReason, "logout")

	wants(t, "create", s.CreateSession(ctx, session("only", "a"), 1, nil), nil)
	all, err := s.ListSessions(ctx, "a", start)
	wants(t, "list", err, nil)
	if len(all) != 1 || all[0].ID != "only" {
		t.Errorf("living sessions with at most one: %+v", all)
	}
}

func sessionChanges(t *testing.T, s store.Store) {
	ctx := t.Context()
	wants(t, "not there", s.UpdateSession(ctx, "1", func(*store.Session, store.Account) error { return errRefused }), store.ErrNotFound)
	put(t, s, account("a"), account("b"), session("1", "a"), session("2", "a"))
	want := store.Session{ID: "1", AccountID: "a", Device: "d", UserAgent: "u", Client: netip.MustParseAddr("2001:db8::2"), Created: after(-1000),
		Used: after(1000), Expires: after(2000), Ended: after(3000), EndReason: "reuse", Generation: 2, Current: []byte("c"), Previous: []byte("p"),
		Rotated: after(4000), Successor: []byte("s")}
	wants(t, "change", s.UpdateSession(ctx, "1", func(v *store.Session, a store.Account) error {
		same(t, "the session that change is given", *v, session("1", "a"))
		same(t, "the account that change is given", a, account("a"))
		*v = want
		return nil
	}), nil)
	same(t, "stored", getSession(t, s, "1"), want)
	same(t, "another session", getSession(t, s, "2"), session("2", "a"))

	wants(t, "refused", s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error { v.Generation = 9; return errRefused }), errRefused)
	same(t, "refused", getSession(t, s, "1"), want)
	for name, keep := range map[string]error{"kept": store.Keep{Err: errRefused}, "kept, wrapped": fmt.Errorf("refresh: %w", store.Keep{Err: errRefused})} {
		want.Generation++
		err := s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error { v.Generation++; return keep })
		if err != errRefused {
			t.Errorf("%s: got the error %v, want the one that Keep holds", name, err)
		}
		same(t, name, getSession(t, s, "1"), want)
	}
	for name, change := range map[string]func(*store.Session){
		"another ID":      func(v *store.Session) { v.ID = "9" },
		"another account": func(v *store.Session) { v.AccountID = "b" },
		"no end":          func(v *store.Session) { v.Expires = time.Time{} },
	} {
		fails(t, name, s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error { change(v); return nil }))
		same(t, name, getSession(t, s, "1"), want)
	}
}

// sessionAccount: a change of a session sees its account as it is now.
func sessionAccount(t *testing.T, s store.Store) {
	ctx := t.Context()
	put(t, s, account("a"), session("1", "a"))
	sees := func() (got store.Account) {
		wants(t, "change", s.UpdateSession(ctx, "1", func(_ *store.Session, a store.Account) error { got = a; return nil }), nil)
		return got
	}
	if _, err := s.UpdateAccount(ctx, "a", start, func(a *store.Account) (store.End, error) { a.Roles = []string{"admin"}; return store.End{}, nil }); err != nil {
		t.Fatal(err)
	}
	same(t, "new roles", sees().Roles, []string{"admin"})
	wants(t, "delete", s.DeleteAccount(ctx, "a", start, nil), nil)
	same(t, "after deletion", sees(), store.Account{})
}

func sessionList(t *testing.T, s store.Store) {
	ctx := t.Context()
	all, err := s.ListSessions(ctx, "a", start)
	wants(t, "no account", err, nil)
	same(t, "no account", len(all), 0)
	put(t, s, account("a"), account("b"), session("other", "b"))
	var want []store.Session
	for i, id := range []string{"c", "d", "a", "b"} {
		v := session(id, "a")
		v.Created = after(time.Duration(i/2) * time.Second) // two at one time
		put(t, s, v)
		want = append(want, v)
	}
	ended, expired := session("ended", "a"), session("expired", "a")
	ended.Ended, expired.Expires = start, after(time.Minute)
	put(t, s, ended, expired)
	all, err = s.ListSessions(ctx, "a", after(time.Minute))
	wants(t, "list", err, nil)
	same(t, "newest first, by ID when at one time", all, []store.Session{want[3], want[2], want[1], want[0]})
}

func sessionEnd(t *testing.T, s store.Store) {
	ctx, now := t.Context(), after(time.Minute)
	expired := session("expired", "a")
	expired.Expires = now
	put(t, s, account("a"), account("b"), session("1", "a"), session("2", "a"), session("3", "a"), expired, session("other", "b"))

	wants(t, "another's session", s.EndSession(ctx, "a", "other", "logout", now), store.ErrNotFound)
	wants(t, "not there", s.EndSession(ctx, "a", "9", "logout", now), store.ErrNotFound)
	wants(t, "expired", s.EndSession(ctx, "a", "expired", "logout", now), store.ErrNotFound)
	fails(t, "for no reason", s.EndSession(ctx, "a", "1", "", now))
	same(t, "after refusals", getSession(t, s, "1"), session("1", "a"))
	wants(t, "end", s.EndSession(ctx, "a", "1", "logout", now), nil)
	want := session("1", "a")
	want.Ended, want.EndReason = now, "logout"
	same(t, "ended", getSession(t, s, "1"), want)
	wants(t, "again", s.EndSession(ctx, "a", "1", "revoked", now.Add(time.Second)), store.ErrNotFound)
	same(t, "the first end counts", getSession(t, s, "1"), want)

	for _, tt := range []struct {
		end  store.End
		want []string
	}{
		{store.End{}, nil}, {store.End{Reason: "revoked", Except: "3"}, []string{"2"}}, {store.End{Reason: "revoked"}, []string{"3"}}, {store.End{Reason: "revoked"}, nil},
	} {
		ids, err := s.EndSessions(ctx, "a", tt.end, now)
		wants(t, "end sessions", err, nil)
		same(t, fmt.Sprintf("%+v ended", tt.end), ids, tt.want)
	}
	same(t, "another's session", getSession(t, s, "other"), session("other", "b"))
	same(t, "expired session", getSession(t, s, "expired"), expired)
	ids, err := s.EndSessions(ctx, "nobody", store.End{Reason: "revoked"}, now)
	wants(t, "no account", err, nil)
	same(t, "no account", len(ids), 0)
}

func sessionsEndedSince(t *testing.T, s store.Store) {
	put(t, s, account("a"))
	for i := range 5 {
		v := session(fmt.Sprint(i), "a")
		if i > 0 {
			v.Ended, v.EndReason = after(time.Duration(i)*time.Microsecond), "logout"
		}
		put(t, s, v)
	}
	for _, tt := range []struct {
		since time.Duration // microseconds
		limit int
		want  []string
		more  bool
	}{
		{0, 10, []string{"1", "2", "3", "4"}, false}, {0, 4, []string{"1", "2", "3", "4"}, false}, {3, 10, []string{"3", "4"}, false}, {4, 1, []string{"4"}, false}, {5, 10, nil, false},
	} {
		ids, more, err := s.EndedSince(t.Context(), after(tt.since*time.Microsecond), tt.limit)
		wants(t, "ended since", err, nil)
		slices.Sort(ids)
		if !slices.Equal(ids, tt.want) || more != tt.more {
			t.Errorf("%d since %dus: got %v, %v, want %v, %v", tt.limit, tt.since, ids, more, tt.want, tt.more)
		}
	}
	if ids, more, err := s.EndedSince(t.Context(), start, 3); err != nil || len(ids) != 3 || !more {
		t.Errorf("3 of 4: got %v, %v, %v", ids, more, err)
	}
}

func knownDevice(t *testing.T, s store.Store) {
	none, ended := session("none", "a"), session("ended", "a")
	none.Device = ""
	ended.Ended, ended.EndReason = start, "logout"
	put(t, s, account("a"), account("b"), none, ended)
	for _, tt := range []struct {
		account, device string
		want            bool
	}{
		{"a", "device of ended", true}, {"a", "", false}, {"a", "device", false}, {"b", "device of ended", false}, {"nobody", "device of ended", false},
	} {
		got, err := s.KnownDevice(t.Context(), tt.account, tt.device)
		wants(t, "known device", err, nil)
		same(t, fmt.Sprintf("%q of %s", tt.device, tt.account), got, tt.want)
	}
}

func sessionPruning(t *testing.T, s store.Store) {
	ended, kept, expired := session("ended", "a"), session("kept", "a"), session("expired", "a")
	ended.Ended, ended.EndReason = after(-1000), "logout"
	kept.Ended, kept.EndReason = start, "logout"
	expired.Expires = after(-1000)
	put(t, s, account("a"), ended, kept, expired, session("living", "a"))
	n, err := s.PruneSessions(t.Context(), start)
	wants(t, "prune", err, nil)
	same(t, "pruned", n, 2)
	for id, want := range map[string]error{"ended": store.ErrNotFound, "expired": store.ErrNotFound, "kept": nil, "living": nil} {
		_, err := s.Session(t.Context(), id)
		wants(t, id, err, want)
	}
}

func sessionRace(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	inside := make(chan struct{}, 1)
	got := atOnce(50, func(int) error {
		return s.UpdateSession(t.Context(), "1", func(v *store.Session, _ store.Account) error {
			select {
			case inside <- struct{}{}:
			default:
				t.Error("two changes of one session at once")
			}
			v.Generation++
			<-inside
			return nil
		})
	})
	same(t, "fifty changes", got, map[error]int{nil: 50})
	same(t, "fifty changes", getSession(t, s, "1").Generation, int64(51))
}

func sessionMostRace(t *testing.T, s store.Store) {
	put(t, s, account("a"))
	got := atOnce(20, func(i int) error { return s.CreateSession(t.Context(), session(fmt.Sprint(i), "a"), 3, nil) })
	same(t, "twenty sign in", got, map[error]int{nil: 20})
	all, err := s.ListSessions(t.Context(), "a", start)
	wants(t, "list", err, nil)
	same(t, "living sessions", len(all), 3)
}

// lockRace: whichever comes first, of a lock and of sign-ins and refreshes at
// the same time, no session of a locked account goes on.
func lockRace(t *testing.T, s store.Store) {
	ctx := t.Context()
	for round := range 10 {
		id := fmt.Sprint("account", round)
		put(t, s, account(id), session(id, id))
		atOnce(6, func(i int) error {
			switch {
			case i == 0:
				_, err := s.UpdateAccount(ctx, id, start, func(a *store.Account) (store.End, error) { a.Locked = start; return store.End{Reason: "locked"}, nil })
				wants(t, "lock", err, nil)
			case i%2 == 0:
				_ = s.UpdateSession(ctx, id, func(v *store.Session, a store.Account) error {
					if a.Locked.IsZero() != v.Ended.IsZero() {
						t.Error("a refresh saw the lock without the end of the session, or the other way round")
					}
					v.Generation++
					return nil
				})
			default:
				_ = s.CreateSession(ctx, session(fmt.Sprint(id, "+", i), id), 0, func(a store.Account) error {
					if !a.Locked.IsZero() {
						return errRefused
					}
					return nil
				})
			}
			return nil
		})
		if all, err := s.ListSessions(ctx, id, start); err != nil || len(all) > 0 {
			t.Fatalf("sessions of a locked account live: %+v, %v", all, err)
		}
	}
}
