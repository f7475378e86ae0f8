package identity_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/bearer"
	"github.com/ringwall/ringwall/identity"
)

func tokenOf(session string) string {
	return raw(goodHeader(), with(goodClaims(), "sid", session), signedBy(1))
}

func TestEnd(t *testing.T) {
	c := &clock{t: t0}
	v := verifierOf(t, keysOf(t, 1), c.now)
	want := func(what, token string, want error) {
		t.Helper()
		for range 2 { // new, and remembered
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
	}
	known, fresh := tokenOf("a"), raw(goodHeader(), with(goodClaims(), "sid", "a", "jti", "2"), signedBy(1))
	want("before", known, nil)
	v.End("a")
	want("remembered, minted in the same second", known, bearer.ErrRevoked)
	want("not seen before, minted in the same second", fresh, bearer.ErrRevoked)
	later := raw(goodHeader(), with(goodClaims(), "sid", "a", "iat", t0.Add(time.Second).Unix()), signedBy(1))
	want("minted by a slow process afterwards", later, bearer.ErrRevoked)
	want("another session", tokenOf("b"), nil)
	want("no session", raw(goodHeader(), with(goodClaims(), "sid", nil), signedBy(1)), nil)
	want("no session, an empty id", raw(goodHeader(), with(goodClaims(), "sid", ""), signedBy(1)), nil)
	v.End()
	v.End("")
	want("no session, after the end of no session", raw(goodHeader(), with(goodClaims(), "sid", nil), signedBy(1)), nil)
	v.Forget()
	want("after Forget", known, bearer.ErrRevoked)
	c.set(t0.Add(11 * time.Minute))
	want("expired", known, bearer.ErrExpired)
}

// A session is remembered as long as a token of it can be good, whenever others
// end meanwhile, and then its memory is given back.
func TestEndIsRememberedLongEnough(t *testing.T) {
	c := &clock{t: t0}
	v := verifierOf(t, keysOf(t, 1), c.now)
	last := identity.MaxLifetime + identity.Leeway - time.Second
	for start := time.Duration(0); start < 5*time.Hour; start += 17 * time.Minute {
		c.set(t0.Add(start))
		sid := fmt.Sprint("session of ", start)
		v.End(sid)
		token := raw(goodHeader(), with(goodClaims(), "sid", sid, "iat", t0.Add(start).Unix(),
			"exp", t0.Add(start+identity.MaxLifetime).Unix()), signedBy(1))
		for at := time.Duration(0); at <= last; at += last / 7 {
			c.set(t0.Add(start + at))
			v.End("another")
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, bearer.ErrRevoked) {
				t.Fatalf("ended at %v, after %v more: %v", start, at, err)
			}
		}
	}
}

// A mass revocation opens nothing, takes no more memory than a small one, and
// signs out hardly anybody else.
func TestEndAMillion(t *testing.T) {
	v := verifierOf(t, keysOf(t, 1), (&clock{t: t0}).now)
	n := 1_000_000
	if testing.Short() {
		n = 100_000
	}
	v.End("first")
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := 0; i < n; {
		var ids [1000]string
		for j := range ids {
			ids[j] = "e" + strconv.Itoa(i)
			i++
		}
		v.End(ids[:]...)
	}
	if after := heap(); after > before+1<<20 {
		t.Errorf("it took %d bytes", after-before)
	}
	for i := 0; i < n; i += 99_991 {
		if _, err := v.Verify(t.Context(), tokenOf("e"+strconv.Itoa(i))); !errors.Is(err, bearer.ErrRevoked) {
			t.Fatalf("session %d: %v", i, err)
		}
	}
	wrong := 0
	for i := 0; i < n; i += 7 {
		if !identity.Ended(v, "e"+strconv.Itoa(i)) {
			t.Fatalf("session %d is not remembered", i)
		}
		if identity.Ended(v, "l"+strconv.Itoa(i)) {
			wrong++
		}
	}
	if wrong > 10 { // of 142,858; 0.5 are to be expected: (1-e^(-8/33.5))^8
		t.Errorf("%d living sessions are taken for ended", wrong)
	}
}

func TestEndConcurrently(t *testing.T) {
	v := verifierOf(t, keysOf(t, 1), (&clock{t: t0}).now)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				sid := fmt.Sprint(w, " ", i)
				token := tokenOf(sid)
				if _, err := v.Verify(context.Background(), token); err != nil {
					t.Error(err)
				}
				v.End(sid)
				if _, err := v.Verify(context.Background(), token); !errors.Is(err, bearer.ErrRevoked) {
					t.Errorf("after End: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// endedTable is a store of ended sessions.
type endedTable struct {
	mu   sync.Mutex
	rows []struct {
		id string
		at time.Time
	}
	err   error
	since []time.Time // what was asked
}

func (e *endedTable) end(id string, at time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rows = append(e.rows, struct {
		id string
		at time.Time
	}{id, at})
}

func (e *endedTable) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

func (e *endedTable) EndedSince(ctx context.Context, since time.Time, limit int) (ids []string, more bool, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.since = append(e.since, since)
	if e.err != nil {
		return nil, false, e.err
	}
	for _, r := range e.rows {
		if r.at.Before(since) {
			continue
		}
		if len(ids) == limit {
			return ids, true, nil
		}
		ids = append(ids, r.id)
	}
	return ids, false, nil
}

func TestFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		k := keysOf(t, 1)
		v := verifierOf(t, k, time.Now)
		mint := func(session string) string {
			token, err := k.Mint(identity.Claims{Issuer: issuer, Audience: audience, Subject: "alice", Session: session}, identity.MaxLifetime)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		want := func(what, token string, want error) {
			t.Helper()
			if _, err := v.Verify(t.Context(), token); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		a, b, c, d, e := mint("a"), mint("b"), mint("c"), mint("d"), mint("e")
		table := &endedTable{}
		table.end("long ago", start.Add(-2*time.Hour))
		table.end("a", start.Add(-time.Hour)) // while this process did not run
		var sink sinkOfKeys
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan struct{})
		go func() { v.Follow(ctx, table.EndedSince, &sink); close(over) }()
		synctest.Wait()
		want("ended before the start", a, bearer.ErrRevoked)
		if identity.Ended(v, "long ago") {
			t.Error("it asked for sessions that have no tokens any more")
		}

		want("living", b, nil)
		table.end("b", time.Now())
		time.Sleep(time.Second)
		synctest.Wait()
		want("ended by another process", b, bearer.ErrRevoked)

		time.Sleep(time.Hour / 2)
		table.end("c", time.Now().Add(-identity.Leeway)) // the other's clock is behind
		time.Sleep(time.Second)
		synctest.Wait()
		want("ended by another machine", c, bearer.ErrRevoked)

		// The store is out: what is good stays good, and one event says so.
		table.fail(errors.New("disk on fire"))
		table.end("d", time.Now())
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		want("ended while the store is out", d, nil)
		want("living while the store is out", e, nil)
		if events := sink.all(); len(events) != 1 || events[0].Kind != audit.StoreFailed || !strings.Contains(events[0].Detail, "disk on fire") {
			t.Errorf("events %+v", events)
		}
		table.fail(nil)
		time.Sleep(time.Second)
		synctest.Wait()
		want("ended while the store was out", d, bearer.ErrRevoked)
		want("living after all", e, nil)
		table.fail(errors.New("again"))
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(sink.all()); n != 2 {
			t.Errorf("%d events after two outages", n)
		}
		cancel()
		<-over
		if events := sink.all(); len(events) != 2 {
			t.Errorf("its own end is an outage: %+v", events)
		}
	})
}

// More sessions than one answer holds are all ended, and are not asked for for
// ever.
func TestCatchUp(t *testing.T) {
	c := &clock{t: t0}
	v := verifierOf(t, keysOf(t, 1), c.now)
	table := &endedTable{}
	for i := range 25_000 {
		table.end(fmt.Sprint("s", i), t0)
	}
	if err := v.CatchUp(t.Context(), table.EndedSince); err != nil {
		t.Fatal(err)
	}
	for i := range 25_000 {
		if !identity.Ended(v, fmt.Sprint("s", i)) {
			t.Fatalf("session %d of 25,000 was missed", i)
		}
	}
	for _, later := range []time.Duration{time.Minute + 2*time.Second, time.Minute + 3*time.Second} {
		c.set(t0.Add(later))
		table.since = nil
		if err := v.CatchUp(t.Context(), table.EndedSince); err != nil {
			t.Fatal(err)
		}
	}
	// A minute before the last time, and the 25,000 are older.
	if len(table.since) != 1 || !table.since[0].Equal(t0.Add(2*time.Second)) {
		t.Errorf("the third time it asked since %v", table.since)
	}
	c.set(t0) // set back
	table.since = nil
	if err := v.CatchUp(t.Context(), table.EndedSince); err != nil || table.since[0].After(t0.Add(-identity.MaxLifetime)) {
		t.Errorf("after the clock was set back it asks since %v, %v", table.since, err)
	}
}
