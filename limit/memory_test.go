package limit_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/limit/limittest"
)

func TestMemory(t *testing.T) {
	limittest.Run(t, func(testing.TB) limit.Limiter { return limit.NewMemory(1_000_000) })
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// client is one bucket and, beside it, an exact copy kept by other means.
type client struct {
	key   limit.Key
	rates []limit.Rate
	debt  time.Duration // what has not yet refilled
	last  time.Time
}

// take sends one request and holds the answer against the copy.
func (c *client) take(t *testing.T, l limit.Limiter, now time.Time) bool {
	t.Helper()
	r := &c.rates[0]
	c.debt, c.last = max(c.debt-now.Sub(c.last), 0), now
	want := c.debt <= time.Duration(r.Burst()-1)*r.Interval()
	if want {
		c.debt += r.Interval()
	}
	remaining := int((time.Duration(r.Burst())*r.Interval() - c.debt) / r.Interval())

	var into [1]limit.Decision
	got, err := l.Take(c.key, c.rates, now, into[:])
	if err != nil {
		t.Fatal(err)
	}
	if got != want || into[0].Remaining != remaining {
		t.Fatalf("class %s, %v after the start: allowed %v with %d remaining, want %v with %d: the bucket was lost",
			r.Class(), now.Sub(start), got, into[0].Remaining, want, remaining)
	}
	return got
}

// TestTenMillion floods a store of the default size from ten million addresses,
// all within a second, so that no bucket refills, while one client goes about
// its business and two are blocked.
func TestTenMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about four seconds")
	}
	global := []limit.Rate{mustRate(t, "global", 600, 15*time.Minute, 600)}
	auth := []limit.Rate{mustRate(t, "auth", 20, 15*time.Minute, 20)}

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)

	// A tenth of the addresses floods a tenth of the memory alike.
	m := limit.NewMemory(limit.DefaultBytes * floodAddresses / 10_000_000)
	honest := &client{key: limit.Account("honest"), rates: global}
	greedy := &client{key: limit.Account("greedy"), rates: global}
	guesser := &client{key: limit.Account("guesser"), rates: auth}
	for greedy.take(t, m, start) {
	}
	for guesser.take(t, m, start) {
	}
	now := start
	into := make([]limit.Decision, 1)
	for i := range uint32(floodAddresses) {
		now = now.Add(time.Second / floodAddresses)
		if ok, err := m.Take(limit.Addr(address(i)), global, now, into); err != nil || !ok {
			t.Fatalf("address %d: %v, %v; nobody new is refused", i, ok, err)
		}
		if i%(floodAddresses/200) == 0 {
			honest.take(t, m, now)
			greedy.take(t, m, now)
			guesser.take(t, m, now)
		}
	}

	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > limit.DefaultBytes*floodAddresses/10_000_000 {
		t.Errorf("%d bytes were allocated, above the cap", used)
	}
	st := m.Stats()
	if st.Freed != 0 {
		t.Errorf("%d blocked clients were let go", st.Freed)
	}
	if st.Evictions < floodAddresses/2 {
		t.Errorf("%+v: the flood did not fill the store, so this proves nothing", st)
	}
	t.Logf("%+v", st)
	runtime.KeepAlive(m)
}

// TestTrapLimiterMemoryAndCollisions fills a small store, again and again, with
// buckets that are nearly used up and full again only tomorrow. No blocked
// client gets a fresh bucket from that, however short its own period.
func TestTrapLimiterMemoryAndCollisions(t *testing.T) {
	long := []limit.Rate{mustRate(t, "long", 10, 24*time.Hour, 10)}
	m := limit.NewMemory(64 << 10)
	into := make([]limit.Decision, 1)
	flood := func(from, to uint32, requests int) {
		for i := from; i < to; i++ {
			for range requests {
				if _, err := m.Take(limit.Addr(address(i)), long, start, into); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	flood(0, 10_000, 1) // so that those to be blocked get their places anywhere
	var blocked []*client
	for i := range 40 {
		key := limit.Addr(address(1<<31 + uint32(i)))
		c := &client{key: key, rates: []limit.Rate{mustRate(t, "short", 5, time.Second, 5)}}
		if i%2 == 0 {
			c.rates[0] = mustRate(t, "auth", 20, 15*time.Minute, 20)
		}
		for c.take(t, m, start) {
		}
		blocked = append(blocked, c)
	}
	for i := range uint32(100) {
		flood(10_000+i*1000, 11_000+i*1000, 8)
		for _, c := range blocked {
			c.take(t, m, start)
		}
	}
	st := m.Stats()
	if st.Bytes > 64<<10 || st.Buckets != st.Places || st.Evictions == 0 || st.Freed != 0 {
		t.Errorf("%+v: want a full store within 65536 bytes, evictions, and nobody freed", st)
	}
}

// A store full of blocked clients still takes new ones, and says what it cost.
func TestMemoryFullOfBlocked(t *testing.T) {
	one := []limit.Rate{mustRate(t, "one", 1, time.Hour, 1)}
	m := limit.NewMemory(1) // raised to the smallest
	into := make([]limit.Decision, 1)
	for i := range uint32(10_000) {
		if ok, err := m.Take(limit.Addr(address(i)), one, start, into); !ok || err != nil {
			t.Fatalf("client %d: %v, %v", i, ok, err)
		}
	}
	st := m.Stats()
	if st.Bytes > 16<<10 {
		t.Errorf("%d bytes are above the smallest cap, 16384", st.Bytes)
	}
	if want := uint64(10_000 - st.Places); st.Freed != want || st.Evictions != want {
		t.Errorf("%+v: want %d freed", st, want)
	}
}

// Buckets that have refilled make room before any other.
func TestMemoryForgetsRefilledFirst(t *testing.T) {
	rates := []limit.Rate{mustRate(t, "a", 10, time.Second, 10)}
	m := limit.NewMemory(16 << 10)
	into := make([]limit.Decision, 1)
	now := start
	for i := range uint32(100_000) {
		// 4 are not yet full, in 64 sets of 7: with the 20 that a faster clock
		// would leave, 8 of them fall into one set in every hundredth run.
		now = now.Add(25 * time.Millisecond)
		if _, err := m.Take(limit.Addr(address(i)), rates, now, into); err != nil {
			t.Fatal(err)
		}
	}
	if st := m.Stats(); st.Evictions > 0 || st.Buckets < 64 { // every set was in use
		t.Errorf("%+v: buckets were forgotten before they had refilled", st)
	}
}

func TestMemoryClock(t *testing.T) {
	r := []limit.Rate{mustRate(t, "a", 10, 10*time.Second, 10)}
	for _, tt := range []struct {
		name  string
		steps []time.Duration // of the clock, after the bucket was used up
		left  []int           // remaining after each step's request; -1: refused
	}{
		{"forward", []time.Duration{999 * time.Millisecond, time.Millisecond, 3 * time.Second}, []int{-1, 0, 2}},
		{"a little back", []time.Duration{-5 * time.Second, 5 * time.Second, time.Second}, []int{-1, -1, 0}},
		{"back and forth", []time.Duration{-9 * time.Second, 9 * time.Second, -9 * time.Second, 9 * time.Second}, []int{-1, -1, -1, -1}},
		{"set back a day", []time.Duration{-24 * time.Hour, time.Second, 2 * time.Second}, []int{-1, 0, 1}},
		{"set back and forth", []time.Duration{-24 * time.Hour, 24 * time.Hour}, []int{-1, 9}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := limit.NewMemory(0)
			into := make([]limit.Decision, 1)
			for range 10 {
				if ok, _ := m.Take(limit.Key{}, r, start, into); !ok {
					t.Fatal("a full bucket refuses")
				}
			}
			now := start
			for i, step := range tt.steps {
				now = now.Add(step)
				ok, err := m.Take(limit.Key{}, r, now, into)
				got := into[0].Remaining
				if !ok {
					got = -1
				}
				if err != nil || got != tt.left[i] {
					t.Fatalf("step %d, %v: %d remaining, %v; want %d", i, step, got, err, tt.left[i])
				}
			}
		})
	}
}

// After a reload a class may have other numbers. Its buckets are then at most
// empty: nobody waits longer than the new numbers say.
func TestMemoryRateChanges(t *testing.T) {
	m := limit.NewMemory(0)
	c := &client{rates: []limit.Rate{mustRate(t, "a", 10, 24*time.Hour, 10)}}
	for c.take(t, m, start) {
	}
	into := make([]limit.Decision, 1)
	now := []limit.Rate{mustRate(t, "a", 10, 10*time.Second, 10)}
	if ok, _ := m.Take(c.key, now, start, into); ok || into[0] != (limit.Decision{Next: time.Second}) {
		t.Errorf("got %v, %+v; want a refusal for one second", ok, into[0])
	}
}

func TestMemoryTakeAllocatesNothing(t *testing.T) {
	rates := []limit.Rate{mustRate(t, "auth", 20, 15*time.Minute, 20), mustRate(t, "global", 600, 15*time.Minute, 600)}
	var m limit.Limiter = limit.NewMemory(16 << 10) // one table: the first request allocates it
	into := make([]limit.Decision, 2)
	var n uint32
	if got := testing.AllocsPerRun(10_000, func() {
		n++
		m.Take(limit.Addr(address(n/4)), rates, start, into)
	}); got != 0 {
		t.Errorf("%v allocations in a Take, want none", got)
	}
}
