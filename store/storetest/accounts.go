package storetest

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

func accounts(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.Account(ctx, "a")
	wants(t, "account that is not there", err, store.ErrNotFound)
	_, err = s.AccountByEmail(ctx, "a@example.com")
	wants(t, "address that is not there", err, store.ErrNotFound)

	a := account("a")
	put(t, s, a, account("b"))
	same(t, "by ID", getAccount(t, s, "a"), a)
	got, err := s.AccountByEmail(ctx, "a@example.com")
	wants(t, "by address", err, nil)
	same(t, "by address", got, a)
	_, err = s.AccountByEmail(ctx, "A@example.com")
	wants(t, "the address with another letter case", err, store.ErrNotFound)

	wants(t, "the ID again", s.CreateAccount(ctx, store.Account{ID: "a", Email: "new@example.com"}), store.ErrExists)
	wants(t, "the address again", s.CreateAccount(ctx, store.Account{ID: "new", Email: "a@example.com"}), store.ErrExists)
	same(t, "after refusals", getAccount(t, s, "a"), a)
	_, err = s.Account(ctx, "new")
	wants(t, "the refused account", err, store.ErrNotFound)

	fails(t, "no ID", s.CreateAccount(ctx, store.Account{Email: "x@example.com"}))
	fails(t, "no address", s.CreateAccount(ctx, store.Account{ID: "x"}))
	n, err := s.CountAccounts(ctx)
	wants(t, "count", err, nil)
	same(t, "count", n, 2)
}

func accountRoundTrip(t *testing.T, s store.Store) {
	zone := time.FixedZone("", 3*3600)
	for name, tt := range map[string]struct{ in, out store.Account }{
		"zero times, no roles": {store.Account{ID: "1", Email: "1"}, store.Account{ID: "1", Email: "1"}},
		"empty roles are nil":  {store.Account{ID: "2", Email: "2", Roles: []string{}}, store.Account{ID: "2", Email: "2"}},
		"roles keep their order and letters": {
			store.Account{ID: "3", Email: "3", Roles: []string{"b", "a", "a", "", `"\,[]<&`, "ß\u2028"}},
			store.Account{ID: "3", Email: "3", Roles: []string{"b", "a", "a", "", `"\,[]<&`, "ß\u2028"}}},
		"Unicode": {
			store.Account{ID: "4", Email: "ü@例え.jp", Name: "a\u0301 \u202e 🧱\n\t'; DROP TABLE accounts; --", PasswordHash: "$1"},
			store.Account{ID: "4", Email: "ü@例え.jp", Name: "a\u0301 \u202e 🧱\n\t'; DROP TABLE accounts; --", PasswordHash: "$1"}},
		"times become UTC, cut to microseconds": {
			store.Account{ID: "5", Email: "5", Created: start.Add(789).In(zone), Locked: time.Unix(0, 0), Verified: time.Date(1969, 12, 31, 23, 59, 59, 999999999, time.UTC)},
			store.Account{ID: "5", Email: "5", Created: start, Locked: time.Unix(0, 0).UTC(), Verified: time.Date(1969, 12, 31, 23, 59, 59, 999999000, time.UTC)}},
		"far times": {
			store.Account{ID: "6", Email: "6", Created: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), Updated: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)},
			store.Account{ID: "6", Email: "6", Created: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC), Updated: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)}},
	} {
		put(t, s, tt.in)
		same(t, name, getAccount(t, s, tt.in.ID), tt.out)
	}
}

func accountChanges(t *testing.T, s store.Store) {
	ctx, now := t.Context(), after(time.Minute)
	_, err := s.UpdateAccount(ctx, "a", now, func(*store.Account) (store.End, error) {
		t.Error("called for an account that is not there")
		return store.End{}, nil
	})
	wants(t, "not there", err, store.ErrNotFound)

	put(t, s, account("a"), account("b"))
	want := store.Account{ID: "a", Email: "new@example.com", Name: "N", Locked: now, Created: start, Updated: now}
	got, err := s.UpdateAccount(ctx, "a", now.Add(99), func(a *store.Account) (store.End, error) { // 99 ns are cut
		same(t, "what change is given", *a, account("a"))
		a.Email, a.Name, a.PasswordHash, a.Roles, a.Verified, a.Locked = want.Email, want.Name, "", []string{}, time.Time{}, now
		return store.End{}, nil
	})
	wants(t, "change", err, nil)
	same(t, "returned", got, want)
	same(t, "stored", getAccount(t, s, "a"), want)
	same(t, "another account", getAccount(t, s, "b"), account("b"))

	for name, tt := range map[string]struct {
		change func(*store.Account) error
		want   error
	}{
		"refused":           {func(a *store.Account) error { a.Name = "x"; return errRefused }, errRefused},
		"refused, not ours": {func(a *store.Account) error { a.Name = "x"; return store.ErrExists }, store.ErrExists},
		"address is taken":  {func(a *store.Account) error { a.Email = "b@example.com"; return nil }, store.ErrExists},
	} {
		got, err := s.UpdateAccount(ctx, "a", now.Add(time.Hour), func(a *store.Account) (store.End, error) {
			return store.End{Reason: "locked"}, tt.change(a)
		})
		wants(t, name, err, tt.want)
		same(t, name, got, store.Account{})
		same(t, name, getAccount(t, s, "a"), want)
	}
	for name, change := range map[string]func(*store.Account){
		"another ID": func(a *store.Account) { a.ID = "c" },
		"no address": func(a *store.Account) { a.Email = "" },
	} {
		_, err := s.UpdateAccount(ctx, "a", now, func(a *store.Account) (store.End, error) { change(a); return store.End{}, nil })
		fails(t, name, err)
		same(t, name, getAccount(t, s, "a"), want)
	}

	_, err = s.UpdateAccount(ctx, "a", now, func(a *store.Account) (store.End, error) {
		a.Name = "kept"
		return store.End{}, store.Keep{Err: errRefused}
	})
	if err != errRefused {
		t.Errorf("kept: got the error %v, want the one that Keep holds", err)
	}
	same(t, "kept", getAccount(t, s, "a").Name, "kept")
}

// accountEnd: the sessions end in the same transaction as the change.
func accountEnd(t *testing.T, s store.Store) {
	now := after(time.Minute)
	old, expired := session("old", "a"), session("expired", "a")
	old.Ended, old.EndReason = start, "logout"
	expired.Expires = now
	put(t, s, account("a"), account("b"), session("1", "a"), session("2", "a"), old, expired, session("other", "b"))

	update := func(end store.End, err error) {
		_, got := s.UpdateAccount(t.Context(), "a", now, func(*store.Account) (store.End, error) { return end, err })
		wants(t, fmt.Sprint(end), got, err)
	}
	ended := func() map[string]string {
		m := map[string]string{}
		for _, id := range []string{"1", "2", "old", "expired", "other"} {
			if v := getSession(t, s, id); !v.Ended.IsZero() {
				m[id] = v.EndReason + v.Ended.Sub(start).String()
			}
		}
		return m
	}
	update(store.End{}, nil)
	update(store.End{Except: "1"}, nil)
	update(store.End{Reason: "locked"}, errRefused)
	if got, want := ended(), map[string]string{"old": "logout0s"}; !maps.Equal(got, want) {
		t.Errorf("none asked for: ended %v, want %v", got, want)
	}
	update(store.End{Reason: "password", Except: "1"}, nil)
	if got, want := ended(), map[string]string{"old": "logout0s", "2": "password1m0s"}; !maps.Equal(got, want) {
		t.Errorf("all but one: ended %v, want %v", got, want)
	}
	update(store.End{Reason: "roles"}, nil)
	if got, want := ended(), map[string]string{"old": "logout0s", "2": "password1m0s", "1": "roles1m0s"}; !maps.Equal(got, want) {
		t.Errorf("all: ended %v, want %v", got, want)
	}
}

func accountDeletion(t *testing.T, s store.Store) {
	ctx, now := t.Context(), after(time.Minute)
	wants(t, "not there", s.DeleteAccount(ctx, "a", now, nil), store.ErrNotFound)
	old := session("old", "a")
	old.Ended, old.EndReason = start, "logout"
	ticket := store.Ticket{Sum: []byte("t"), Kind: "reset", AccountID: "a", Email: "a@example.com", Expires: after(time.Hour)}
	put(t, s, account("a"), account("b"), session("1", "a"), old, session("other", "b"), ticket)

	wants(t, "refused", s.DeleteAccount(ctx, "a", now, func(a store.Account) error {
		same(t, "what check is given", a, account("a"))
		return errRefused
	}), errRefused)
	same(t, "after a refusal", getAccount(t, s, "a"), account("a"))
	same(t, "after a refusal", getSession(t, s, "1"), session("1", "a"))

	wants(t, "delete", s.DeleteAccount(ctx, "a", now, func(store.Account) error { return nil }), nil)
	_, err := s.Account(ctx, "a")
	wants(t, "the account", err, store.ErrNotFound)
	_, err = s.TakeTicket(ctx, "reset", []byte("t"), now)
	wants(t, "its ticket", err, store.ErrNotFound)
	bare := func(v store.Session) store.Session {
		v.Device, v.UserAgent = "", ""
		v.Client = store.Session{}.Client
		return v
	}
	want := bare(session("1", "a"))
	want.Ended, want.EndReason = now, "deleted"
	same(t, "its living session", getSession(t, s, "1"), want)
	same(t, "its ended session", getSession(t, s, "old"), bare(old))
	same(t, "another's session", getSession(t, s, "other"), session("other", "b"))
	ids, _, err := s.EndedSince(ctx, now, 10)
	wants(t, "ended", err, nil)
	same(t, "ended", ids, []string{"1"})
	put(t, s, store.Account{ID: "new", Email: "a@example.com"}) // the address is free again
}

func accountList(t *testing.T, s store.Store) {
	ctx := t.Context()
	// Digits come before letters, whatever the database's language is.
	ids := []string{"0a", "1", "9", "a", "a0", "aa", "b"}
	made := map[string]store.Account{}
	for n, i := range []int{3, 0, 6, 2, 5, 1, 4} {
		a := account(ids[i])
		a.Created = after(time.Duration(n) * time.Second) // not in the order of the IDs
		made[a.ID] = a
		put(t, s, a)
	}
	for _, tt := range []struct {
		after string
		limit int
		want  []string
	}{
		{"", 100, ids}, {"", 3, ids[:3]}, {"9", 2, ids[3:5]}, {"a0z", 9, ids[5:]}, {"b", 9, nil}, {"", 0, nil}, {"", -1, nil},
	} {
		all, err := s.ListAccounts(ctx, tt.after, tt.limit)
		wants(t, "list", err, nil)
		var got []string
		for _, a := range all {
			got = append(got, a.ID)
			same(t, "listed account", a, made[a.ID])
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%d after %q: got %v, want %v", tt.limit, tt.after, got, tt.want)
		}
	}
}

func accountRace(t *testing.T, s store.Store) {
	got := atOnce(20, func(i int) error {
		return s.CreateAccount(t.Context(), store.Account{ID: fmt.Sprint(i), Email: "one@example.com"})
	})
	same(t, "twenty make an account with one address", got, map[error]int{nil: 1, store.ErrExists: 19})

	put(t, s, account("a"))
	got = atOnce(30, func(int) error {
		_, err := s.UpdateAccount(t.Context(), "a", start, func(a *store.Account) (store.End, error) { a.Name += "x"; return store.End{}, nil })
		return err
	})
	same(t, "changes", got, map[error]int{nil: 30})
	if n := len(getAccount(t, s, "a").Name); n != len(account("a").Name)+30 {
		t.Errorf("changes were lost: the name has %d characters", n)
	}
}

func accountPruning(t *testing.T, s store.Store) {
	ctx, now := t.Context(), after(time.Hour)
	fresh := func(id string) store.Account {
		a := account(id)
		a.Verified, a.Expires = time.Time{}, after(time.Minute)
		return a
	}
	late, never, proved, locked, used := fresh("late"), fresh("never"), fresh("proved"), fresh("locked"), fresh("used")
	late.Expires, never.Expires, locked.Locked = now, time.Time{}, start
	proved.Verified = start
	ended := session("s", "used")
	ended.Ended, ended.EndReason = start, "logout"
	put(t, s, fresh("old"), late, never, proved, locked, used, ended, ticket("t", "verify", "old", "old@example.com"))
	same(t, "one that waits", getAccount(t, s, "old"), fresh("old"))
	same(t, "what a proved one has of it", getAccount(t, s, "proved").Expires, time.Time{})
	for i := range 1100 { // more than one step
		put(t, s, fresh(fmt.Sprint("x", i)))
	}
	// One that is proved in time stays, though nobody says that it does not expire.
	put(t, s, fresh("saved"))
	_, err := s.UpdateAccount(ctx, "saved", start, func(a *store.Account) (store.End, error) { a.Verified = start; return store.End{}, nil })
	wants(t, "prove", err, nil)

	n, err := s.PruneAccounts(ctx, now)
	wants(t, "prune", err, nil)
	same(t, "pruned", n, 1101)
	all, err := s.ListAccounts(ctx, "", 100)
	wants(t, "list", err, nil)
	var left []string
	for _, a := range all {
		left = append(left, a.ID)
	}
	same(t, "left", left, []string{"late", "locked", "never", "proved", "saved", "used"})
	_, err = s.TakeTicket(ctx, "verify", []byte("t"), start)
	wants(t, "its ticket", err, store.ErrNotFound)
	put(t, s, account("new"), store.Account{ID: "again", Email: "old@example.com"}) // the address is free
}
