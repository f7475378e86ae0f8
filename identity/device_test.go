package identity

import (
	"context"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

func TestTrapKnownDevice(t *testing.T) {
	e := newSessionTest(t, openSessionStore(t))
	ada, bob := e.account(), e.account()
	mine, other := deviceSum(newDevice()), deviceSum(newDevice())
	known := func(account, device string) bool {
		t.Helper()
		ok, err := e.knownDevice(t.Context(), account, device)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if known(ada.ID, mine) {
		t.Error("a device is known before anybody signed in")
	}
	g, err := e.start(t.Context(), ada, origin{Device: mine})
	if err != nil {
		t.Fatal(err)
	}
	e.signIn(bob)                                                  // without a device
	if _, err := e.start(t.Context(), ada, origin{}); err != nil { // nor this one
		t.Fatal(err)
	}
	changed := bob
	changed.PasswordHash = "another"
	if _, err := e.start(t.Context(), changed, origin{Device: other}); err == nil {
		t.Fatal("signed in")
	}
	check := func(when string, want bool) {
		t.Helper()
		if known(ada.ID, mine) != want {
			t.Errorf("%s: the device is known: %v", when, !want)
		}
	}
	check("after the sign-in", true)
	for name, pair := range map[string][2]string{"forged": {ada.ID, other}, "another account's": {bob.ID, mine}, "none": {bob.ID, ""},
		"no account": {"", mine}, "of a sign-in that failed": {bob.ID, other}} {
		if known(pair[0], pair[1]) {
			t.Errorf("a device that is %s is known", name)
		}
	}
	if err := e.endByToken(t.Context(), g.Refresh, origin{}); err != nil {
		t.Fatal(err)
	}
	check("after the sign-out", true)
	e.pass(sessionMemory - time.Hour)
	e.prune(t.Context())
	check("within its memory", true)
	e.pass(2 * time.Hour)
	if n, err := e.prune(t.Context()); err != nil || n != 1 {
		t.Errorf("%d sessions pruned, %v", n, err)
	}
	check("after its memory", false)
}

// counted counts the questions to a store.
type counted struct {
	store.Store
	n int
}

func (c *counted) KnownDevice(ctx context.Context, account, device string) (bool, error) {
	c.n++
	return c.Store.KnownDevice(ctx, account, device)
}

func (c *counted) Attempt(ctx context.Context, key string) (store.Attempt, error) {
	c.n++
	return c.Store.Attempt(ctx, key)
}

func (c *counted) UpdateAttempt(ctx context.Context, key string, change func(*store.Attempt) error) (store.Attempt, error) {
	c.n++
	return c.Store.UpdateAttempt(ctx, key, change)
}

// The store is asked as often for who has no account: that is what time would
// tell.
func TestTrapUnknownAccountsAskAsMuch(t *testing.T) {
	st := &counted{Store: openSessionStore(t)}
	e := newSessionTest(t, st)
	g := newGuardTest(t, st)
	a := e.account()
	asked := func(id, email string) int {
		st.n = 0
		from := guardFrom(guardAddr(1), deviceSum(newDevice()))
		known, err := e.knownDevice(t.Context(), id, from.Device)
		if err != nil || known {
			t.Fatal(known, err)
		}
		g.guess(secretKeys(email, from, known)...)
		return st.n
	}
	asked("", "first@example.com") // of an address without failures one thing more is asked
	if with, without := asked(a.ID, a.Email), asked("", "nobody@example.com"); with != without || with == 0 {
		t.Errorf("%d questions for an account, %d without", with, without)
	}
}
