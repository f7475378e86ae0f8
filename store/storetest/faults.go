package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

// notText: what is no text is found nowhere, and is stored nowhere.
func notText(t *testing.T, s store.Store) {
	ctx := t.Context()
	put(t, s, account("a"), session("1", "a"))
	for _, bad := range []string{"a\x00", "a\xff", "\xed\xa0\x80"} {
		_, err := s.Account(ctx, bad)
		wants(t, "account", err, store.ErrNotFound)
		_, err = s.AccountByEmail(ctx, bad)
		wants(t, "address", err, store.ErrNotFound)
		_, err = s.Session(ctx, bad)
		wants(t, "session", err, store.ErrNotFound)
		_, err = s.TakeTicket(ctx, bad, []byte("t"), start)
		wants(t, "ticket", err, store.ErrNotFound)
		_, err = s.UpdateAccount(ctx, bad, start, nil)
		wants(t, "update account", err, store.ErrNotFound)
		wants(t, "update session", s.UpdateSession(ctx, bad, nil), store.ErrNotFound)
		wants(t, "end session", s.EndSession(ctx, "a", bad, "logout", start), store.ErrNotFound)
		wants(t, "delete account", s.DeleteAccount(ctx, bad, start, nil), store.ErrNotFound)
		_, err = s.KnownDevice(ctx, "a", bad)
		wants(t, "device", err, nil)
		_, err = s.ListSessions(ctx, bad, start)
		wants(t, "list", err, nil)
		_, err = s.Attempt(ctx, bad)
		wants(t, "attempts", err, nil)
		_, err = s.ListAccounts(ctx, bad, 10)
		wants(t, "list accounts", err, nil)

		a := account("b")
		a.Name = bad
		fails(t, "create account", s.CreateAccount(ctx, a))
		a = account("b")
		a.Roles = []string{bad}
		fails(t, "create account with a role", s.CreateAccount(ctx, a))
		v := session("2", "a")
		v.Device = bad
		fails(t, "create session", s.CreateSession(ctx, v, 0, nil))
		fails(t, "put ticket", s.PutTicket(ctx, ticket("t", "reset", "a", bad)))
		_, err = s.UpdateAttempt(ctx, bad, func(*store.Attempt) error { return nil })
		fails(t, "update attempts", err)
		_, err = s.UpdateAccount(ctx, "a", start, func(a *store.Account) (store.End, error) { a.Name = bad; return store.End{}, nil })
		fails(t, "change an account", err)
		_, err = s.EndSessions(ctx, "a", store.End{Reason: bad}, start)
		fails(t, "end sessions", err)
	}
	same(t, "the account", getAccount(t, s, "a"), account("a"))
	same(t, "the session", getSession(t, s, "1"), session("1", "a"))
}

// everyCall is one call of each method.
func everyCall(ctx context.Context, s store.Store) map[string]error {
	all := map[string]error{}
	note := func(name string, err error) { all[name] = err }
	_, err := s.Account(ctx, "a")
	note("Account", err)
	_, err = s.AccountByEmail(ctx, "a@example.com")
	note("AccountByEmail", err)
	_, err = s.UpdateAccount(ctx, "a", start, func(*store.Account) (store.End, error) { return store.End{}, nil })
	note("UpdateAccount", err)
	_, err = s.ListAccounts(ctx, "", 1)
	note("ListAccounts", err)
	_, err = s.CountAccounts(ctx)
	note("CountAccounts", err)
	_, err = s.Session(ctx, "1")
	note("Session", err)
	_, err = s.ListSessions(ctx, "a", start)
	note("ListSessions", err)
	_, err = s.EndSessions(ctx, "a", store.End{Reason: "logout"}, start)
	note("EndSessions", err)
	_, _, err = s.EndedSince(ctx, start, 1)
	note("EndedSince", err)
	_, err = s.KnownDevice(ctx, "a", "d")
	note("KnownDevice", err)
	_, err = s.PruneSessions(ctx, start)
	note("PruneSessions", err)
	_, err = s.TakeTicket(ctx, "reset", []byte("t"), start)
	note("TakeTicket", err)
	_, err = s.PruneTickets(ctx, start)
	note("PruneTickets", err)
	_, err = s.UpdateAttempt(ctx, "k", func(a *store.Attempt) error { a.Failures++; return nil })
	note("UpdateAttempt", err)
	_, err = s.Attempt(ctx, "k")
	note("Attempt", err)
	_, err = s.PruneAttempts(ctx, start)
	note("PruneAttempts", err)
	_, err = s.Entries(ctx, 0, 1)
	note("Entries", err)
	_, err = s.LastEntry(ctx)
	note("LastEntry", err)
	note("CreateAccount", s.CreateAccount(ctx, account("b")))
	note("DeleteAccount", s.DeleteAccount(ctx, "a", start, nil))
	note("CreateSession", s.CreateSession(ctx, session("2", "a"), 0, nil))
	note("UpdateSession", s.UpdateSession(ctx, "1", func(*store.Session, store.Account) error { return nil }))
	note("EndSession", s.EndSession(ctx, "a", "1", "logout", start))
	note("PutTicket", s.PutTicket(ctx, ticket("t", "reset", "a", "")))
	note("Append", s.Append(ctx, func(last store.Entry) ([]store.Entry, error) { return []store.Entry{entry(last)}, nil }))
	note("Ping", s.Ping(ctx))
	return all
}

// Out wants each method of a store that cannot be reached to say so.
func Out(t *testing.T, s store.Store) {
	t.Helper()
	for name, err := range everyCall(t.Context(), s) {
		fails(t, name, err)
	}
}

func closed(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	wants(t, "ping", s.Ping(t.Context()), nil)
	wants(t, "close", s.Close(), nil)
	Out(t, s)
	wants(t, "close again", s.Close(), nil)
}

func closeWaits(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	inside, goOn, done, over := make(chan struct{}), make(chan struct{}), make(chan error, 1), make(chan error, 1)
	go func() {
		done <- s.UpdateSession(t.Context(), "1", func(*store.Session, store.Account) error {
			close(inside)
			<-goOn
			return nil
		})
	}()
	<-inside
	go func() { over <- s.Close() }()
	select {
	case <-over:
		t.Error("Close did not wait for a transaction")
	case <-time.After(30 * time.Millisecond): // long enough for one that does not wait
	}
	close(goOn)
	wants(t, "the transaction", <-done, nil)
	wants(t, "close", <-over, nil)
}

// deadline: who waits for a row gives up in time, and has changed nothing.
func deadline(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	inside, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- s.UpdateSession(t.Context(), "1", func(v *store.Session, _ store.Account) error {
			close(inside)
			<-goOn
			v.Generation = 2
			return nil
		})
	}()
	<-inside
	began := time.Now()
	for name, call := range map[string]func(context.Context) error{
		"UpdateSession": func(ctx context.Context) error {
			return s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error { v.Generation = 99; return nil })
		},
		"UpdateAccount": func(ctx context.Context) error {
			_, err := s.UpdateAccount(ctx, "a", start, func(a *store.Account) (store.End, error) { a.Name = "x"; return store.End{Reason: "locked"}, nil })
			return err
		},
		"DeleteAccount": func(ctx context.Context) error { return s.DeleteAccount(ctx, "a", start, nil) },
		"EndSession":    func(ctx context.Context) error { return s.EndSession(ctx, "a", "1", "logout", start) },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		wants(t, name, err, context.DeadlineExceeded)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("four calls with 50 ms each took %v", d)
	}
	close(goOn)
	wants(t, "the one that was waited for", <-done, nil)
	want := session("1", "a")
	want.Generation = 2
	same(t, "the session", getSession(t, s, "1"), want)
	same(t, "the account", getAccount(t, s, "a"), account("a"))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for name, err := range everyCall(ctx, s) {
		wants(t, name+" with a context that has ended", err, context.Canceled)
	}
	same(t, "the session", getSession(t, s, "1"), want)
}

// givenUp: the context ends while change runs.
func givenUp(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	before := picture(t, s, []string{"a", "b"}, []string{"1", "2"})
	for name, call := range map[string]func(context.Context, func()) error{
		"UpdateSession": func(ctx context.Context, end func()) error {
			return s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error { v.Generation = 9; end(); return nil })
		},
		"UpdateSession, kept": func(ctx context.Context, end func()) error {
			return s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error {
				v.Generation = 9
				end()
				return store.Keep{Err: errRefused}
			})
		},
		"UpdateAccount": func(ctx context.Context, end func()) error {
			_, err := s.UpdateAccount(ctx, "a", start, func(a *store.Account) (store.End, error) {
				a.Name = "x"
				end()
				return store.End{Reason: "locked"}, nil
			})
			return err
		},
		"CreateSession": func(ctx context.Context, end func()) error {
			return s.CreateSession(ctx, session("2", "a"), 1, func(store.Account) error { end(); return nil })
		},
		"Append": func(ctx context.Context, end func()) error {
			return s.Append(ctx, func(last store.Entry) ([]store.Entry, error) { end(); return []store.Entry{entry(last)}, nil })
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		wants(t, name, call(ctx, cancel), context.Canceled)
		same(t, name, picture(t, s, []string{"a", "b"}, []string{"1", "2"}), before)
	}
}

// givenUpAnyTime: the context ends at every stage of a change, the commit too. An
// error means that nothing was changed, no error that it was.
func givenUpAnyTime(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	done, undone := 0, 0
	for i := range 100 {
		ctx, cancel := context.WithCancel(t.Context())
		before := getSession(t, s, "1").Generation
		err := s.UpdateSession(ctx, "1", func(v *store.Session, _ store.Account) error {
			time.AfterFunc(time.Duration(i)*10*time.Microsecond, cancel)
			v.Generation++
			return nil
		})
		cancel()
		after := getSession(t, s, "1").Generation
		if (err == nil) != (after == before+1) || err != nil && after != before || errors.Is(err, store.ErrUnknown) {
			t.Fatalf("generation %d, then %d, and the error %v", before, after, err)
		}
		if err == nil {
			done++
		} else {
			undone++
		}
	}
	t.Logf("%d done, %d given up", done, undone)
}

func panics(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = s.UpdateSession(t.Context(), "1", func(v *store.Session, _ store.Account) error {
			v.Generation = 9
			panic(errors.New("in change"))
		})
	}()
	same(t, "after a panic", getSession(t, s, "1"), session("1", "a"))
	wants(t, "the next change", s.UpdateSession(t.Context(), "1", func(v *store.Session, _ store.Account) error { v.Generation++; return nil }), nil)
}

// readers: who only reads does not wait for who changes the row, and sees it as
// it was.
func readers(t *testing.T, s store.Store) {
	put(t, s, account("a"), session("1", "a"))
	wants(t, "change", s.UpdateSession(t.Context(), "1", func(v *store.Session, _ store.Account) error {
		v.Generation = 2
		got := make(chan store.Session, 1)
		go func() { // as another request would
			one, err := s.Session(t.Context(), "1")
			wants(t, "read", err, nil)
			got <- one
		}()
		same(t, "read meanwhile", <-got, session("1", "a"))
		return nil
	}), nil)
	same(t, "read afterwards", getSession(t, s, "1").Generation, int64(2))
}
