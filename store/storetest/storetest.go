// Package storetest is the conformance suite of store.Store: every promise in
// its comments, on every implementation.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

// Run tests the Stores that open returns, each of which must be empty; open
// arranges that it is closed after the test.
func Run(t *testing.T, open func(testing.TB) store.Store) {
	for _, tt := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"accounts", accounts},
		{"account round trip", accountRoundTrip},
		{"account changes", accountChanges},
		{"account end", accountEnd},
		{"account deletion", accountDeletion},
		{"account list", accountList},
		{"account race", accountRace},
		{"account pruning", accountPruning},

		{"sessions", sessions},
		{"session round trip", sessionRoundTrip},
		{"session user agent", sessionUserAgent},
		{"session refused", sessionRefused},
		{"session most", sessionMost},
		{"session changes", sessionChanges},
		{"session account", sessionAccount},
		{"session list", sessionList},
		{"session end", sessionEnd},
		{"sessions ended since", sessionsEndedSince},
		{"known device", knownDevice},
		{"session pruning", sessionPruning},
		{"session changes wait for each other", sessionRace},
		{"session most holds in a race", sessionMostRace},
		{"no session survives a lock", lockRace},

		{"tickets", tickets},
		{"ticket replaces the one before", ticketReplaced},
		{"ticket is taken once", ticketRace},
		{"ticket of an old password", ticketOutlived},
		{"tickets of no account", ticketList},
		{"attempts", attempts},
		{"attempts are all counted", attemptRace},
		{"attempts are all pruned", attemptsPruned},

		{"chain", chain},
		{"chain refusals", chainRefusals},
		{"chain has no gaps", chainRace},
		{"chain pruning", chainPruning},

		{"what is no text", notText},
		{"closed", closed},
		{"close waits", closeWaits},
		{"deadline", deadline},
		{"given up inside", givenUp},
		{"given up at any time", givenUpAnyTime},
		{"panic inside", panics},
		{"readers do not wait", readers},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.test(t, open(t)) })
	}
}

// start has microseconds, as times that are stored have.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func after(d time.Duration) time.Time { return start.Add(d) }

var errRefused = errors.New("refused by the caller")

func account(id string) store.Account {
	return store.Account{ID: id, Email: id + "@example.com", Name: "Name of " + id, PasswordHash: "$argon2id$" + id,
		Roles: []string{"user"}, Verified: start, Created: start, Updated: start}
}

func session(id, accountID string) store.Session {
	return store.Session{ID: id, AccountID: accountID, Device: "device of " + id, UserAgent: "curl/8", Client: netip.MustParseAddr("192.0.2.1"),
		Created: start, Used: start, Expires: after(time.Hour), Generation: 1, Current: []byte("sum of " + id)}
}

func put(t *testing.T, s store.Store, all ...any) {
	t.Helper()
	for _, v := range all {
		var err error
		switch v := v.(type) {
		case store.Account:
			err = s.CreateAccount(t.Context(), v)
		case store.Session:
			err = s.CreateSession(t.Context(), v, 0, nil)
		case store.Ticket:
			err = s.PutTicket(t.Context(), v)
		default:
			t.Fatalf("cannot put a %T", v)
		}
		if err != nil {
			t.Fatalf("put %+v: %v", v, err)
		}
	}
}

func getAccount(t *testing.T, s store.Store, id string) store.Account {
	t.Helper()
	a, err := s.Account(t.Context(), id)
	if err != nil {
		t.Fatalf("account %s: %v", id, err)
	}
	return a
}

func getSession(t *testing.T, s store.Store, id string) store.Session {
	t.Helper()
	v, err := s.Session(t.Context(), id)
	if err != nil {
		t.Fatalf("session %s: %v", id, err)
	}
	return v
}

// same compares all fields, nil with empty too.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: got\n\t%+v\nwant\n\t%+v", what, got, want)
	}
}

// wants compares errors: nil, or one that errors.Is finds.
func wants(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got the error %v, want %v", what, err, want)
	}
}

// fails wants an error that is not one of the contract's.
func fails(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) {
		t.Errorf("%s: got the error %v, want one that says that the store did not do it", what, err)
	}
}

// atOnce runs f n times at once and returns how often it gave each error.
func atOnce(n int, f func(i int) error) map[error]int {
	var mu sync.Mutex
	got := map[error]int{}
	ready := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-ready
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			got[err]++
		})
	}
	close(ready)
	wg.Wait()
	return got
}

// picture is what reads return, to see that nothing was changed.
func picture(t *testing.T, s store.Store, accountIDs, sessionIDs []string) string {
	t.Helper()
	ctx := context.Background()
	text := ""
	for _, id := range accountIDs {
		a, err := s.Account(ctx, id)
		text += fmt.Sprintf("%+v %v\n", a, err)
	}
	for _, id := range sessionIDs {
		v, err := s.Session(ctx, id)
		text += fmt.Sprintf("%+v %v\n", v, err)
	}
	entries, err := s.Entries(ctx, 0, 100)
	return text + fmt.Sprintf("%+v %v\n", entries, err)
}
