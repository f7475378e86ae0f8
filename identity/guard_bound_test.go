package identity

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/store"
)

// attemptMap is store.Attempts without a disk, for very many of them.
type attemptMap struct {
	mu   sync.Mutex
	rows map[string]store.Attempt
}

func (m *attemptMap) UpdateAttempt(_ context.Context, key string, change func(*store.Attempt) error) (store.Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.rows[key]
	a.Key = key
	if err := change(&a); err != nil {
		return store.Attempt{}, err
	}
	if m.rows[key] = a; a == (store.Attempt{Key: key}) {
		delete(m.rows, key)
	}
	return a, nil
}

func (m *attemptMap) Attempt(_ context.Context, key string) (store.Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.rows[key]
	a.Key = key
	return a, nil
}

func (m *attemptMap) CountAttempts(_ context.Context, prefix string) (n int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for key := range m.rows {
		if strings.HasPrefix(key, prefix) {
			n++
		}
	}
	return n, nil
}

func (m *attemptMap) PruneAttempts(_ context.Context, before time.Time) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	had := len(m.rows)
	maps.DeleteFunc(m.rows, func(_ string, a store.Attempt) bool { return a.Last.Before(before) && a.Until.Before(before) })
	return had - len(m.rows), nil
}

// Guesses at very many accounts from as many addresses do not make as many
// records, take no delay from anybody who has one, and leave newcomers alone.
func TestTrapManyAttempts(t *testing.T) {
	n := 300_000
	if testing.Short() {
		n = 50_000
	}
	st := &attemptMap{rows: map[string]store.Attempt{}}
	e := newGuardTest(t, st)
	e.most = n / 20
	ada := accountKey("ada@example.com")
	for range 8 {
		for {
			looked, wait := e.guess(ada)
			if looked {
				break
			}
			e.pass(wait)
		}
	}
	delayed := e.attempt(ada)

	client := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range n { // 200 a second, more than two cores can hash
		e.guess(secretKeys(fmt.Sprint(i), guardFrom(client(i), ""), false)...)
		e.pass(5 * time.Millisecond)
	}
	if most := 2*e.most + 2*65536; len(st.rows) > most {
		t.Errorf("%d records, want at most %d", len(st.rows), most)
	}
	for _, kind := range []string{"account:", "address:"} {
		if got, _ := st.CountAttempts(t.Context(), kind); got > e.most || got < e.most-10 {
			t.Errorf("%d records of %s, want about %d", got, kind, e.most)
		}
	}
	if got := e.attempt(ada); got != delayed {
		t.Errorf("the account under attack had %+v, and now %+v", delayed, got)
	}
	for i := range 200 {
		if !e.signIn(secretKeys(fmt.Sprint("newcomer", i), guardFrom(netip.AddrFrom4([4]byte{11, 0, 0, byte(i)}), ""), false)...) {
			t.Errorf("newcomer %d must wait", i)
		}
	}

	// Who has no record is held to what is shared, also once there is room again.
	fresh := accountKey("fresh@example.com")
	looked := 0
	for range 100 {
		if ok, _ := e.guess(fresh); ok {
			looked++
		}
	}
	if looked > sharedRule.free || looked < ownRule.free {
		t.Errorf("%d guesses at a fresh account were looked at", looked)
	}
	maps.DeleteFunc(st.rows, func(key string, _ store.Attempt) bool { return strings.HasPrefix(key, "account:") })
	e.pass(2 * censusEvery) // the room is seen; the delay is over
	again := 0
	for range 100 {
		if ok, _ := e.guess(fresh); ok {
			again++
		}
	}
	if again > 1 || e.attempt(fresh).Failures > 0 {
		t.Errorf("with room again %d more guesses were looked at, and it has %+v", again, e.attempt(fresh))
	}
	// A success of its owner takes nothing from what others share.
	before := e.attempt(fresh.shared())
	e.pass(maxDelay)
	if !e.signIn(fresh) {
		t.Fatal("the owner must wait")
	}
	if got := e.attempt(fresh.shared()); got.Failures < before.Failures-int(maxDelay/sharedRule.forget) || got.Failures == 0 {
		t.Errorf("a success left %+v of %+v", got, before)
	}
	e.pass(24 * time.Hour)
	if _, err := e.prune(t.Context()); err != nil || len(st.rows) != 0 {
		t.Errorf("%d records after a day, %v", len(st.rows), err)
	}
}

// The count of records is taken anew, so that several processes keep to one bound.
func TestAttemptsAreBoundedTogether(t *testing.T) {
	st := openSessionStore(t)
	a, b := newGuardTest(t, st), newGuardTest(t, st)
	a.most, b.most = 100, 100
	guess := func(e *guardTest, from, to int) {
		for i := from; i < to; i++ {
			e.guess(accountKey(fmt.Sprint(i)))
		}
	}
	guess(b, 0, 10)
	guess(a, 10, 90)
	b.pass(censusEvery)
	guess(b, 90, 200)
	if n, err := st.CountAttempts(t.Context(), "account:"); n != 100 || err != nil {
		t.Errorf("%d records, %v", n, err)
	}
	if n, _ := st.CountAttempts(t.Context(), "account+:"); n < 95 {
		t.Errorf("%d shared records", n)
	}
}
