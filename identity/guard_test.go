package identity

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

// guardTest is a guard on a store, with a clock.
type guardTest struct {
	t failer
	*guard
	mu    sync.Mutex
	clock time.Time
}

func newGuardTest(t failer, st store.Attempts) *guardTest {
	e := &guardTest{t: t, clock: sessionStart}
	e.guard = newGuard(st, func() time.Time { e.mu.Lock(); defer e.mu.Unlock(); return e.clock })
	return e
}

func (e *guardTest) pass(d time.Duration) { e.mu.Lock(); e.clock = e.clock.Add(d); e.mu.Unlock() }

// guess is a wrong secret; it reports whether it was looked at.
func (e *guardTest) guess(keys ...guardKey) (bool, time.Duration) {
	e.t.Helper()
	counted, wait, err := e.look(context.Background(), keys...)
	if err != nil {
		e.t.Fatal(err)
	}
	if wait > 0 {
		return false, wait
	}
	if err := e.failed(context.Background(), counted...); err != nil {
		e.t.Fatal(err)
	}
	return true, 0
}

// signIn is a right secret.
func (e *guardTest) signIn(keys ...guardKey) bool {
	e.t.Helper()
	counted, wait, err := e.look(context.Background(), keys...)
	if err != nil {
		e.t.Fatal(err)
	}
	if wait > 0 {
		return false
	}
	if err := e.passed(context.Background(), counted...); err != nil {
		e.t.Fatal(err)
	}
	return true
}

func (e *guardTest) attempt(k guardKey) store.Attempt {
	e.t.Helper()
	a, err := e.store.Attempt(context.Background(), k.name)
	if err != nil {
		e.t.Fatal(err)
	}
	return a
}

func guardAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
}

func guardFrom(addr netip.Addr, device string) origin { return origin{Client: addr, Device: device} }

func TestTrapDelayGrows(t *testing.T) {
	second := time.Second
	own := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900}
	for name, c := range map[string]struct {
		key  guardKey
		free int
	}{
		"account": {accountKey("ada@example.com"), 5},
		"device":  {deviceKey(hexSum("d"), "ada@example.com"), 5},
		"address": {addressKey(guardAddr(1)), 20},
		"devices": {devicesKey("ada@example.com"), 20},
	} {
		t.Run(name, func(t *testing.T) {
			e := newGuardTest(t, openSessionStore(t))
			for i := range c.free {
				if looked, wait := e.guess(c.key); !looked {
					t.Fatalf("attempt %d waits for %v", i+1, wait)
				}
			}
			for i, want := range own {
				want *= second
				if c.key.rule.forget > 0 && want >= c.key.rule.forget {
					break // from here on it forgets while it waits
				}
				for _, sofar := range []time.Duration{0, want / 2, want - time.Microsecond} {
					e.pass(sofar)
					if looked, wait := e.guess(c.key); looked || wait != want-sofar {
						t.Fatalf("delay %d: waits for %v after %v, want %v", i+1, wait, sofar, want-sofar)
					}
					e.pass(-sofar)
				}
				e.pass(want)
				if looked, wait := e.guess(c.key); !looked {
					t.Fatalf("after delay %d of %v: waits for %v", i+1, want, wait)
				}
			}
		})
	}
}

// A thousand guesses at one moment are as good as one after the other.
func TestTrapParallelGuesses(t *testing.T) {
	for name, c := range map[string]struct {
		n    int
		keys func(i int) []guardKey
		want int64
	}{
		"one account, 1,000 addresses": {1000, func(i int) []guardKey { return secretKeys("ada@example.com", guardFrom(guardAddr(i), ""), false) }, 5},
		"300 accounts, one address":    {300, func(i int) []guardKey { return secretKeys(fmt.Sprint(i), guardFrom(guardAddr(1), ""), false) }, 20},
		"300 known devices":            {300, func(i int) []guardKey { return secretKeys("a", guardFrom(guardAddr(i), fmt.Sprint(i)), true) }, 20},
		"one known device":             {300, func(i int) []guardKey { return secretKeys("a", guardFrom(guardAddr(i), "d"), true) }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			e := newGuardTest(t, openSessionStore(t))
			var looked atomic.Int64
			var wg sync.WaitGroup
			for i := range c.n {
				wg.Go(func() { // no secret is answered before all were asked for
					if _, wait, err := e.look(t.Context(), c.keys(i)...); err != nil {
						t.Error(err)
					} else if wait == 0 {
						looked.Add(1)
					}
				})
			}
			wg.Wait()
			if n := looked.Load(); n != c.want {
				t.Errorf("%d secrets were looked at, want %d", n, c.want)
			}
		})
	}
}

// An hour of credential stuffing, with an attempt soon after the end of each
// delay.
func TestTrapStuffing(t *testing.T) {
	for name, c := range map[string]struct {
		keys func(i int) []guardKey
		most int
	}{
		"1,000 addresses on one account": {func(i int) []guardKey {
			return secretKeys("ada@example.com", guardFrom(guardAddr(i%1000), ""), false)
		}, 5 + 10 + 3}, // free, doubling for 1,023 s, then each 15 min
		"one address on 1,000 accounts": {func(i int) []guardKey {
			return secretKeys(fmt.Sprint(i%1000), guardFrom(guardAddr(1), ""), false)
		}, 20 + 20 + 8}, // free, one each 3 min, and while the delay grows to that
		"one /64 on 1,000 accounts": {func(i int) []guardKey {
			a := netip.MustParseAddr("2001:db8::").As16()
			a[14], a[15] = byte(i>>8), byte(i)
			return secretKeys(fmt.Sprint(i%1000), guardFrom(netip.AddrFrom16(a), ""), false)
		}, 20 + 20 + 8},
		"forged devices on one account": {func(i int) []guardKey {
			return secretKeys("ada@example.com", guardFrom(guardAddr(i%1000), fmt.Sprint(i)), false)
		}, 5 + 10 + 3},
		"a stolen device": {func(i int) []guardKey {
			return secretKeys("ada@example.com", guardFrom(guardAddr(i%1000), "stolen"), true)
		}, 5 + 10 + 3},
		"1,000 devices made known before the password was changed": {func(i int) []guardKey {
			return secretKeys("ada@example.com", guardFrom(guardAddr(i%1000), fmt.Sprint(i%1000)), true)
		}, 20 + 20 + 8},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newGuardTest(t, openSessionStore(t))
			looked := 0
			for i := range 1000 {
				if ok, _ := e.guess(c.keys(i)...); ok {
					looked++
				}
				e.pass(3600 * time.Millisecond)
			}
			if looked > c.most || looked < 5 {
				t.Errorf("%d secrets were looked at in an hour, want at most %d", looked, c.most)
			}
			t.Logf("%d secrets", looked)
		})
	}
}

// The owner's way in while others try: from a known device at once, whatever
// happens to the account or behind the same address; from elsewhere it waits.
func TestTrapLockoutIsNoWeapon(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	const email = "ada@example.com"
	shared := guardAddr(1)
	for range 150 {
		for i := range 3 {
			e.guess(secretKeys(email, guardFrom(guardAddr(i), ""), false)...)
		}
		e.pass(10 * time.Second)
		if !e.signIn(secretKeys(email, guardFrom(shared, "owner's"), true)...) {
			t.Fatal("the owner is kept out")
		}
	}
	if e.signIn(secretKeys(email, guardFrom(guardAddr(900), "forged"), false)...) {
		t.Error("an unknown device passes while the account is under attack")
	}
	// The owner's success helps no attacker.
	if looked, _ := e.guess(accountKey(email)); looked {
		t.Error("the owner's sign-in by device clears the account's record")
	}
	// A thief of the device has its counter, which locks, and locks the device only.
	thief := secretKeys(email, guardFrom(guardAddr(5), "owner's"), true)
	n := 0
	for range 100 {
		if looked, _ := e.guess(thief...); looked {
			n++
		}
	}
	if n != 5 {
		t.Errorf("a stolen device looks at %d secrets, want 5", n)
	}
	if !e.signIn(secretKeys(email, guardFrom(shared, "owner's second"), true)...) {
		t.Error("another device of the owner's is kept out")
	}
	if !e.signIn(secretKeys("bob@example.com", guardFrom(guardAddr(7), "owner's"), true)...) {
		t.Error("another account on the device is kept out")
	}
}

// The owner of one account may be the attacker of another: what his own
// successes clear is his own.
func TestTrapOwnSuccessClearsNothingElse(t *testing.T) {
	for name, from := range map[string]struct {
		from  origin
		known bool
		most  int
	}{
		"address": {guardFrom(guardAddr(1), ""), false, 48},
		"device":  {guardFrom(guardAddr(1), "d"), true, 18},
	} {
		e := newGuardTest(t, openSessionStore(t))
		looked := 0
		for i := range 300 {
			victim := "victim@example.com"
			if !from.known {
				victim = fmt.Sprint(i)
			}
			if ok, _ := e.guess(secretKeys(victim, from.from, from.known)...); ok {
				looked++
			}
			e.signIn(secretKeys("attacker@example.com", from.from, from.known)...)
			e.pass(12 * time.Second)
		}
		if looked > from.most || looked < 5 {
			t.Errorf("%s: %d secrets were looked at in an hour, want at most %d", name, looked, from.most)
		}
	}
}

func TestSuccessClears(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	keys := secretKeys("ada@example.com", guardFrom(guardAddr(1), ""), false)
	for range 50 {
		for range 4 {
			if ok, wait := e.guess(accountKey("ada@example.com")); !ok {
				t.Fatalf("waits for %v", wait)
			}
		}
		if !e.signIn(keys...) {
			t.Fatal("the right secret is not looked at")
		}
	}
	for _, k := range keys {
		if a := e.attempt(k); a.Failures != 0 || !a.Until.IsZero() {
			t.Errorf("left: %+v", a)
		}
	}
}

// A failure that is answered after somebody else's success still counts.
func TestFailureAfterSuccess(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	key := accountKey("ada@example.com")
	if _, wait, err := e.look(t.Context(), key); wait > 0 || err != nil {
		t.Fatal(wait, err)
	}
	e.signIn(key)
	if err := e.failed(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if a := e.attempt(key); a.Failures != 1 {
		t.Errorf("%d failures, want 1", a.Failures)
	}
}

func TestReleaseTakesBack(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	keys := secretKeys("ada@example.com", guardFrom(guardAddr(1), ""), false)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if _, wait, err := e.look(t.Context(), keys...); wait > 0 || err != nil {
			t.Fatal(wait, err)
		}
		// The client has gone: its attempt is taken back all the same.
		if err := e.release(gone, keys...); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 { // the fifth would delay: it does not when it is taken back
		e.guess(keys[1])
	}
	for range 3 {
		if _, wait, err := e.look(t.Context(), keys...); wait > 0 || err != nil {
			t.Fatal(wait, err)
		}
		if err := e.release(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
	}
	// An attempt that one key delays counts against none.
	account, address := keys[1], keys[0]
	e.guess(account)
	for range 100 {
		if looked, _ := e.guess(keys...); looked {
			t.Fatal("looked at")
		}
	}
	if a := e.attempt(address); a.Failures != 0 {
		t.Errorf("the address has %d failures", a.Failures)
	}
	if a := e.attempt(account); a.Failures != 5 {
		t.Errorf("the account has %d failures", a.Failures)
	}
}

// What nobody answers, because the program died, has failed.
func TestLookCounts(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	key := accountKey("ada@example.com")
	for range 5 {
		if _, wait, err := e.look(t.Context(), key); wait > 0 || err != nil {
			t.Fatal(wait, err)
		}
	}
	e.guard = newGuard(e.store, e.now) // started again
	if _, wait, err := e.look(t.Context(), key); wait != time.Second || err != nil {
		t.Errorf("%v, %v", wait, err)
	}
}

// Who has no account here is delayed as who has one: both are addresses only.
func TestTrapUnknownAccountsAreDelayedAlike(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	for i := range 30 {
		e.pass(700 * time.Millisecond)
		a, wa := e.guess(secretKeys("known@example.com", guardFrom(guardAddr(1), ""), false)...)
		b, wb := e.guess(secretKeys("nobody@example.com", guardFrom(guardAddr(2), ""), false)...)
		if a != b || wa != wb {
			t.Fatalf("attempt %d: %v %v, %v %v", i, a, wa, b, wb)
		}
	}
}

func TestAddressKeys(t *testing.T) {
	parse := netip.MustParseAddr
	same := [][2]string{
		{"192.0.2.1", "::ffff:192.0.2.1"}, {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"},
		{"fe80::1%eth0", "fe80::1%eth1"}, {"fe80::1%eth0", "fe80::2"},
	}
	for _, p := range same {
		if a, b := addressKey(parse(p[0])), addressKey(parse(p[1])); a != b {
			t.Errorf("%v and %v have the keys %v and %v", p[0], p[1], a, b)
		}
	}
	for _, p := range [][2]string{{"192.0.2.1", "192.0.2.2"}, {"2001:db8::1", "2001:db8:0:1::1"}, {"192.0.2.1", "::192.0.2.1"}} {
		if addressKey(parse(p[0])) == addressKey(parse(p[1])) {
			t.Errorf("%v and %v have one key", p[0], p[1])
		}
	}
	if addressKey(netip.Addr{}).name == "" {
		t.Error("an unknown client has no key")
	}
	if deviceKey("d", "a@example.com") == deviceKey("d", "b@example.com") || deviceKey("d", "a") == deviceKey("e", "a") {
		t.Error("two devices have one key")
	}
}

func TestClockGoesBack(t *testing.T) {
	for name, key := range map[string]guardKey{"own": accountKey("a"), "shared": addressKey(guardAddr(1))} {
		e := newGuardTest(t, openSessionStore(t))
		for range key.rule.free + 3 {
			e.guess(key)
			e.pass(4 * time.Second)
		}
		e.pass(-24 * time.Hour)
		if looked, wait := e.guess(key); looked || wait > 16*time.Second {
			t.Errorf("%s: after the clock went back it waits for %v", name, wait)
		}
		e.pass(16 * time.Second)
		if looked, wait := e.guess(key); !looked {
			t.Errorf("%s: it still waits for %v", name, wait)
		}
		e.pass(maxDelay + 12*time.Minute) // and what is shared forgets again
		e.guess(key)
		if a := e.attempt(key); key.rule.forget > 0 && a.Failures > key.rule.free {
			t.Errorf("%s: it has forgotten nothing: %+v", name, a)
		}
	}
}

func TestOddRecords(t *testing.T) {
	st := openSessionStore(t)
	for _, a := range []store.Attempt{
		{Failures: math.MaxInt32}, {Failures: -5}, {Failures: math.MaxInt32, Last: sessionStart.Add(-time.Hour), Until: sessionStart.Add(100 * 365 * 24 * time.Hour)},
		{Failures: 7, Last: sessionStart.Add(1000 * time.Hour)}, {Failures: 30, Last: time.UnixMicro(1).UTC()},
	} {
		for _, key := range []guardKey{accountKey("a"), addressKey(guardAddr(1))} {
			e := newGuardTest(t, st)
			if _, err := st.UpdateAttempt(t.Context(), key.name, func(b *store.Attempt) error { *b = a; b.Key = key.name; return nil }); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				_, wait := e.guess(key)
				if wait < 0 || wait > maxDelay {
					t.Errorf("%+v: waits for %v", a, wait)
				}
				e.pass(wait)
			}
			if b := e.attempt(key); b.Failures < 1 || b.Failures > maxFailures || b.Until.Sub(e.clock) > maxDelay {
				t.Errorf("%+v became %+v", a, b)
			}
		}
	}
}

// A quiet address is forgotten, one failure in three minutes.
func TestAddressForgets(t *testing.T) {
	e := newGuardTest(t, openSessionStore(t))
	key := addressKey(guardAddr(1))
	for range 19 {
		e.guess(key)
	}
	e.pass(30*time.Minute + time.Second)
	for i := range 11 {
		if looked, _ := e.guess(key); looked != (i < 11) {
			t.Errorf("attempt %d: %v", i, looked)
		}
	}
	if looked, _ := e.guess(key); looked {
		t.Error("it has forgotten more than ten failures")
	}
	// Somebody who mistypes every three minutes is never delayed.
	e.pass(3 * time.Hour)
	for i := range 200 {
		if looked, wait := e.guess(key); !looked {
			t.Fatalf("mistake %d waits for %v", i, wait)
		}
		e.pass(3*time.Minute + time.Duration(i%2*2-1)*30*time.Second)
	}
}

func TestGuardWithoutStore(t *testing.T) {
	st := openSessionStore(t)
	e := newGuardTest(t, st)
	st.Close()
	key := accountKey("a")
	_, _, look := e.look(t.Context(), key)
	_, prune := e.prune(t.Context())
	for name, err := range map[string]error{"look": look, "prune": prune, "failed": e.failed(t.Context(), key), "passed": e.passed(t.Context(), key),
		"release": e.release(t.Context(), key)} {
		if err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkGuard(b *testing.B) {
	e := newGuardTest(b, openSessionStore(b))
	keys := secretKeys("ada@example.com", guardFrom(guardAddr(1), ""), false)
	b.Run("sign-in", func(b *testing.B) {
		for b.Loop() {
			e.signIn(keys...)
		}
	})
	b.Run("delayed", func(b *testing.B) {
		for range 5 {
			e.guess(keys...)
		}
		for b.Loop() {
			e.look(b.Context(), keys[1])
		}
	})
}
