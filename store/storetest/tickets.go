package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

func ticket(sum, kind, accountID, email string) store.Ticket {
	return store.Ticket{Sum: []byte(sum), Kind: kind, AccountID: accountID, Email: email, Created: start, Expires: after(time.Hour)}
}

func tickets(t *testing.T, s store.Store) {
	ctx := t.Context()
	_, err := s.TakeTicket(ctx, "reset", []byte("t"), start)
	wants(t, "not there", err, store.ErrNotFound)
	wants(t, "of no account", s.PutTicket(ctx, ticket("t", "reset", "a", "")), store.ErrNotFound)
	put(t, s, account("a"))

	reset, invite := ticket("t\x00\xff", "reset", "a", "a@example.com"), ticket("i", "invite", "", "new@example.com")
	invite.Roles = []string{"admin", "user"}
	put(t, s, reset, invite)
	for name, take := range map[string]struct{ kind, sum string }{
		"another kind": {"verify", "t\x00\xff"}, "another sum": {"reset", "t"}, "no sum": {"reset", ""},
	} {
		_, err := s.TakeTicket(ctx, take.kind, []byte(take.sum), start)
		wants(t, name, err, store.ErrNotFound)
	}
	for _, want := range []store.Ticket{reset, invite} {
		got, err := s.TakeTicket(ctx, want.Kind, want.Sum, after(time.Hour-time.Microsecond))
		wants(t, want.Kind, err, nil)
		same(t, want.Kind, got, want)
		got, err = s.TakeTicket(ctx, want.Kind, want.Sum, start)
		wants(t, want.Kind+" again", err, store.ErrNotFound)
		same(t, want.Kind+" again", got, store.Ticket{})
	}

	put(t, s, reset)
	_, err = s.TakeTicket(ctx, "reset", reset.Sum, after(time.Hour))
	wants(t, "expired", err, store.ErrNotFound)
	old := ticket("old", "verify", "a", "")
	old.Expires = after(-1000)
	put(t, s, old, invite)
	n, err := s.PruneTickets(ctx, start)
	wants(t, "prune", err, nil)
	same(t, "pruned", n, 1)
	_, err = s.TakeTicket(ctx, "invite", invite.Sum, start)
	wants(t, "what is left", err, nil)

	bad := ticket("x", "reset", "a", "")
	bad.Expires = time.Time{}
	fails(t, "no end", s.PutTicket(ctx, bad))
	fails(t, "no sum", s.PutTicket(ctx, ticket("", "reset", "a", "")))
	put(t, s, ticket("twice", "reset", "a", ""))
	wants(t, "a sum twice", s.PutTicket(ctx, ticket("twice", "verify", "a", "")), store.ErrExists)
}

func ticketReplaced(t *testing.T, s store.Store) {
	put(t, s, account("a"), account("b"),
		ticket("1", "reset", "a", "old@example.com"), ticket("2", "verify", "a", ""), ticket("3", "reset", "b", ""),
		ticket("4", "invite", "", "x@example.com"), ticket("5", "invite", "", "y@example.com"))
	// Of the same kind and account, and of an invitation to the same address.
	put(t, s, ticket("6", "reset", "a", "new@example.com"), ticket("7", "invite", "", "x@example.com"))
	for _, tt := range []struct {
		kind, sum string
		want      error
	}{
		{"reset", "1", store.ErrNotFound}, {"verify", "2", nil}, {"reset", "3", nil}, {"invite", "4", store.ErrNotFound},
		{"invite", "5", nil}, {"reset", "6", nil}, {"invite", "7", nil},
	} {
		_, err := s.TakeTicket(t.Context(), tt.kind, []byte(tt.sum), start)
		wants(t, tt.kind+" "+tt.sum, err, tt.want)
	}
	got := atOnce(20, func(i int) error { return s.PutTicket(t.Context(), ticket(fmt.Sprint("at once", i), "reset", "a", "")) })
	same(t, "twenty put one", got, map[error]int{nil: 20})
	left := 0
	for i := range 20 {
		if _, err := s.TakeTicket(t.Context(), "reset", fmt.Append(nil, "at once", i), start); err == nil {
			left++
		}
	}
	same(t, "tickets left of twenty", left, 1)
}

func ticketRace(t *testing.T, s store.Store) {
	put(t, s, account("a"), ticket("t", "reset", "a", ""))
	got := atOnce(20, func(int) error {
		_, err := s.TakeTicket(t.Context(), "reset", []byte("t"), start)
		return err
	})
	same(t, "twenty take one ticket", got, map[error]int{nil: 1, store.ErrNotFound: 19})
}

// A ticket that was mailed before the password or the address changed is good
// no more; other changes, and changes of other accounts, leave it.
func ticketOutlived(t *testing.T, s store.Store) {
	ctx := t.Context()
	put(t, s, account("a"), account("b"))
	wants(t, "a's", s.PutTicket(ctx, ticket("ta", "reset", "a", "a@example.com")), nil)
	wants(t, "b's", s.PutTicket(ctx, ticket("tb", "reset", "b", "b@example.com")), nil)
	change := func(f func(*store.Account)) {
		_, err := s.UpdateAccount(ctx, "a", start, func(a *store.Account) (store.End, error) { f(a); return store.End{}, nil })
		wants(t, "change", err, nil)
	}
	take := func(sum string) error { _, err := s.TakeTicket(ctx, "reset", []byte(sum), start); return err }

	change(func(a *store.Account) { a.Name, a.Roles, a.Locked = "other", nil, start })
	wants(t, "after a lock", take("ta"), nil)
	for name, f := range map[string]func(*store.Account){
		"password": func(a *store.Account) { a.PasswordHash += "new" },
		"address":  func(a *store.Account) { a.Email = "new@example.com" },
	} {
		wants(t, "again", s.PutTicket(ctx, ticket("ta", "reset", "a", "a@example.com")), nil)
		change(f)
		wants(t, "after a new "+name, take("ta"), store.ErrNotFound)
	}
	wants(t, "another account's", take("tb"), nil)
}

func ticketList(t *testing.T, s store.Store) {
	ctx := t.Context()
	put(t, s, account("a"))
	over := ticket("over", "invite", "", "0@example.com")
	over.Expires = start
	x, y, z := ticket("x", "invite", "", "x@example.com"), ticket("y", "invite", "", "y@example.com"), ticket("z", "invite", "", "z@example.com")
	y.Roles = []string{"b", "a"}
	put(t, s, z, x, y, over, ticket("v", "verify", "a", "v@example.com"), ticket("other", "other", "", "x@example.com"))
	list := func(after string, limit int) []store.Ticket {
		t.Helper()
		all, err := s.ListTickets(ctx, "invite", after, limit, start)
		wants(t, "list", err, nil)
		return all
	}
	same(t, "all", list("", 9), []store.Ticket{x, y, z})
	same(t, "one after x", list("x@example.com", 1), []store.Ticket{y})
	same(t, "none", list("z@example.com", 9), []store.Ticket(nil))
	same(t, "no room", list("", -1), []store.Ticket(nil))

	for name, d := range map[string]struct{ kind, email string }{
		"expired": {"invite", "0@example.com"}, "not there": {"invite", "w@example.com"}, "an account's": {"verify", "v@example.com"}, "no text": {"invite", "x\x00"},
	} {
		wants(t, name, s.DropTicket(ctx, d.kind, d.email, start), store.ErrNotFound)
	}
	wants(t, "drop", s.DropTicket(ctx, "invite", "y@example.com", start), nil)
	wants(t, "again", s.DropTicket(ctx, "invite", "y@example.com", start), store.ErrNotFound)
	same(t, "left", list("", 9), []store.Ticket{x, z})
	_, err := s.TakeTicket(ctx, "invite", []byte("y"), start)
	wants(t, "take what was dropped", err, store.ErrNotFound)
	_, err = s.TakeTicket(ctx, "verify", []byte("v"), start)
	wants(t, "the account's", err, nil)
	_, err = s.TakeTicket(ctx, "other", []byte("other"), start)
	wants(t, "of another kind", err, nil)
}

func attempts(t *testing.T, s store.Store) {
	ctx := t.Context()
	a, err := s.Attempt(ctx, "k")
	wants(t, "not there", err, nil)
	same(t, "not there", a, store.Attempt{Key: "k"})

	want := store.Attempt{Key: "k", Failures: 5, Last: start, Until: after(time.Second)}
	a, err = s.UpdateAttempt(ctx, "k", func(a *store.Attempt) error {
		same(t, "what change is given at first", *a, store.Attempt{Key: "k"})
		a.Failures, a.Last, a.Until = 5, start.Add(99), after(time.Second)
		return nil
	})
	wants(t, "change", err, nil)
	same(t, "returned", a, want)
	a, err = s.Attempt(ctx, "k")
	wants(t, "stored", err, nil)
	same(t, "stored", a, want)

	a, err = s.UpdateAttempt(ctx, "k", func(a *store.Attempt) error { a.Failures++; return errRefused })
	wants(t, "refused", err, errRefused)
	same(t, "refused", a, store.Attempt{})
	_, err = s.UpdateAttempt(ctx, "new", func(a *store.Attempt) error { a.Failures++; return errRefused })
	wants(t, "refused at first", err, errRefused)
	_, err = s.UpdateAttempt(ctx, "k", func(a *store.Attempt) error { a.Failures++; return store.Keep{Err: errRefused} })
	if err != errRefused {
		t.Errorf("kept: got the error %v, want the one that Keep holds", err)
	}
	a, _ = s.Attempt(ctx, "k")
	same(t, "kept", a.Failures, 6)
	_, err = s.UpdateAttempt(ctx, "k", func(a *store.Attempt) error { a.Key = "other"; return nil })
	fails(t, "another key", err)
	_, err = s.UpdateAttempt(ctx, "", func(*store.Attempt) error { return nil })
	fails(t, "no key", err)

	for prefix, want := range map[string]int{"": 1, "k": 1, "kk": 0, "l": 0, "k\x00": 0} {
		n, err := s.CountAttempts(ctx, prefix)
		wants(t, "count", err, nil)
		same(t, "those that begin with "+prefix, n, want)
	}
	for key, v := range map[string]store.Attempt{
		"old": {Last: after(-1000), Failures: 1}, "delayed": {Last: after(-1000), Until: start}, "no longer": {Last: after(-2000), Until: after(-1000)},
		"recent": {Last: start}, "reset": {},
	} {
		_, err := s.UpdateAttempt(ctx, key, func(a *store.Attempt) error { v.Key = key; *a = v; return nil })
		wants(t, key, err, nil)
	}
	_, err = s.UpdateAttempt(ctx, "k", func(a *store.Attempt) error { *a = store.Attempt{Key: "k"}; return nil })
	wants(t, "reset", err, nil)
	n, err := s.PruneAttempts(ctx, start)
	wants(t, "prune", err, nil)
	same(t, "pruned: old, no longer", n, 2)
	n, err = s.PruneAttempts(ctx, after(time.Hour))
	wants(t, "prune", err, nil)
	same(t, "pruned: delayed, recent; not those that were reset or refused, which are gone", n, 2)
}

// More than one step of pruning removes: all that is old, and nothing else.
func attemptsPruned(t *testing.T, s store.Store) {
	const old = 2100
	for i := range old + 1 {
		last := start
		if i == old {
			last = after(time.Hour)
		}
		_, err := s.UpdateAttempt(t.Context(), fmt.Sprint(i), func(a *store.Attempt) error { a.Failures, a.Last = 1, last; return nil })
		wants(t, "put", err, nil)
	}
	n, err := s.PruneAttempts(t.Context(), after(time.Minute))
	wants(t, "prune", err, nil)
	same(t, "pruned", n, old)
	a, err := s.Attempt(t.Context(), fmt.Sprint(old))
	wants(t, "recent", err, nil)
	same(t, "recent", a.Failures, 1)
}

func attemptRace(t *testing.T, s store.Store) {
	got := atOnce(50, func(int) error {
		_, err := s.UpdateAttempt(t.Context(), "k", func(a *store.Attempt) error { a.Failures++; a.Last = start; return nil })
		return err
	})
	same(t, "fifty failures", got, map[error]int{nil: 50})
	a, err := s.Attempt(t.Context(), "k")
	wants(t, "count", err, nil)
	same(t, "count", a.Failures, 50)

	// Counted, reset and pruned at once: nothing fails, nothing waits for ever.
	got = atOnce(40, func(i int) error {
		if i%4 == 0 {
			_, err := s.PruneAttempts(t.Context(), after(time.Hour))
			return err
		}
		_, err := s.UpdateAttempt(t.Context(), "k", func(a *store.Attempt) error {
			if i%4 == 1 {
				*a = store.Attempt{Key: "k"}
			} else {
				a.Failures, a.Last = a.Failures+1, start
			}
			return nil
		})
		return err
	})
	same(t, "count, reset and prune", got, map[error]int{nil: 40})
}
