// Package limittest is the conformance suite of limit.Limiter: every store
// passes it. Times in it are whole microseconds.
package limittest

import (
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ringwall/ringwall/limit"
)

// Run tests the Limiters that open returns, each of which must be empty and
// hold at least 1000 buckets.
func Run(t *testing.T, open func(testing.TB) limit.Limiter) {
	t.Run("blueprint", func(t *testing.T) { blueprint(t, open(t)) })
	t.Run("all or none", func(t *testing.T) { allOrNone(t, open(t)) })
	t.Run("keys and classes are apart", func(t *testing.T) { apart(t, open(t)) })
	t.Run("concurrency", func(t *testing.T) { concurrency(t, open(t)) })
	t.Run("zero rate", func(t *testing.T) { zeroRate(t, open(t)) })
	t.Run("model", func(t *testing.T) { againstModel(t, open) })
}

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// blueprint plays 20 requests in 15 minutes: 20 at once, the 21st refused, then
// one every 45 seconds.
func blueprint(t *testing.T, l limit.Limiter) {
	rates := []limit.Rate{rate(t, "auth", 20, 15*time.Minute, 20)}
	key := limit.Addr(netip.MustParseAddr("192.0.2.1"))
	for i := range 20 {
		d := take(t, l, key, rates, start)[0]
		want := limit.Decision{Allowed: true, Remaining: 19 - i, Next: 45 * time.Second}
		if d != want {
			t.Fatalf("request %d: got %+v, want %+v", i+1, d, want)
		}
	}
	for _, step := range []struct {
		after time.Duration
		want  limit.Decision
	}{
		{0, limit.Decision{Next: 45 * time.Second}},
		{0, limit.Decision{Next: 45 * time.Second}}, // refused ones do not prolong it
		{44 * time.Second, limit.Decision{Next: time.Second}},
		{45*time.Second - time.Microsecond, limit.Decision{Next: time.Microsecond}},
		{45 * time.Second, limit.Decision{Allowed: true, Next: 45 * time.Second}},
		{100 * time.Second, limit.Decision{Allowed: true, Next: 35 * time.Second}},
		{955 * time.Second, limit.Decision{Allowed: true, Remaining: 18, Next: 35 * time.Second}},
		{time.Hour, limit.Decision{Allowed: true, Remaining: 19, Next: 45 * time.Second}},
	} {
		if d := take(t, l, key, rates, start.Add(step.after))[0]; d != step.want {
			t.Fatalf("after %v: got %+v, want %+v", step.after, d, step.want)
		}
	}
}

func allOrNone(t *testing.T, l limit.Limiter) {
	wide := rate(t, "global", 10, time.Minute, 10)
	narrow := rate(t, "auth", 2, time.Minute, 2)
	both := []limit.Rate{wide, narrow}
	key := limit.Account("alice")
	for range 2 {
		take(t, l, key, both, start)
	}
	for range 5 {
		d := take(t, l, key, both, start)
		want := []limit.Decision{
			{Allowed: true, Remaining: 8, Next: 6 * time.Second},
			{Next: 30 * time.Second},
		}
		if d[0] != want[0] || d[1] != want[1] {
			t.Fatalf("got %+v, want %+v: a refusal by one class is charged to none", d, want)
		}
	}
	if d := take(t, l, key, both[:1], start)[0]; d.Remaining != 7 {
		t.Fatalf("got %+v, want 7 remaining", d)
	}
}

func apart(t *testing.T, l limit.Limiter) {
	a, b := rate(t, "a", 1, time.Minute, 1), rate(t, "b", 1, time.Minute, 1)
	for i := range 100 {
		for _, key := range []limit.Key{
			limit.Addr(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})),
			limit.Addr(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 7: byte(i)})),
			limit.Account(fmt.Sprint(i)),
		} {
			for _, r := range []limit.Rate{a, b} {
				if d := take(t, l, key, []limit.Rate{r}, start)[0]; !d.Allowed {
					t.Fatalf("class %s of key %v was used up by another", r.Class(), key)
				}
			}
		}
	}
}

// concurrency lets many goroutines race for one bucket: exactly the burst wins,
// and nobody sees a remaining twice.
func concurrency(t *testing.T, l limit.Limiter) {
	const burst = 500
	rates := []limit.Rate{
		rate(t, "global", burst, time.Hour, burst),
		rate(t, "wider", 2*burst, time.Hour, 2*burst),
	}
	key := limit.Addr(netip.MustParseAddr("2001:db8::1"))
	var allowed atomic.Int64
	var seen [burst]atomic.Int64
	var wg sync.WaitGroup
	for range 4 * runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			into := make([]limit.Decision, len(rates))
			for range burst {
				ok, err := l.Take(key, rates, start, into)
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					allowed.Add(1)
					seen[into[0].Remaining].Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != burst {
		t.Errorf("%d were allowed, want exactly %d", n, burst)
	}
	for i := range seen {
		if n := seen[i].Load(); n != 1 {
			t.Errorf("%d requests saw %d remaining, want 1", n, i)
		}
	}
}

func zeroRate(t *testing.T, l limit.Limiter) {
	rates := []limit.Rate{rate(t, "a", 1, time.Minute, 1), {}}
	if ok, err := l.Take(limit.Key{}, rates, start, make([]limit.Decision, 2)); ok || err == nil {
		t.Fatalf("a Rate that NewRate did not make: got %v, %v, want an error", ok, err)
	}
	if d := take(t, l, limit.Key{}, rates[:1], start)[0]; !d.Allowed {
		t.Fatal("the request that failed was spent")
	}
}

// againstModel compares with the continuous-state leaky bucket, which ITU-T
// I.371 gives as the other form of the same algorithm.
func againstModel(t *testing.T, open func(testing.TB) limit.Limiter) {
	rapid.Check(t, func(rt *rapid.T) {
		l := open(t)
		classes := make([]leaky, rapid.IntRange(1, 3).Draw(rt, "classes"))
		rates := make([]limit.Rate, len(classes))
		for i := range classes {
			requests := rapid.OneOf(rapid.IntRange(1, 30), rapid.IntRange(1, 1_000_000)).Draw(rt, "requests")
			per := time.Duration(rapid.IntRange(1, 86_400).Draw(rt, "seconds")) * time.Second
			burst := rapid.OneOf(rapid.IntRange(1, 5), rapid.Just(requests)).Draw(rt, "burst")
			name := fmt.Sprint("class", i)
			classes[i] = newLeaky(requests, per, burst)
			rates[i] = rate(rt, name, requests, per, burst)
		}
		at := start
		for range rapid.IntRange(1, 60).Draw(rt, "takes") {
			at = at.Add(time.Duration(rapid.OneOf(
				rapid.Just(int64(0)), rapid.Int64Range(0, 1_000_000), rapid.Int64Range(0, 3_600_000_000),
			).Draw(rt, "µs")) * time.Microsecond)
			who := rapid.IntRange(0, 2).Draw(rt, "who")
			from := rapid.IntRange(0, len(classes)-1).Draw(rt, "from")

			got := take(rt, l, limit.Account(fmt.Sprint(who)), rates[from:], at)
			want := modelTake(classes[from:], who, at)
			for i := range want {
				if got[i] != want[i] {
					rt.Fatalf("class %d: got %+v, want %+v", from+i, got[i], want[i])
				}
			}
		}
	})
}

// leaky is a bucket that each request fills by one interval and that leaks
// steadily; it overflows above burst intervals. All in exact microseconds.
type leaky struct {
	interval, depth float64
	level           map[int]float64
	at              map[int]time.Time
}

func newLeaky(requests int, per time.Duration, burst int) leaky {
	interval := math.Ceil(float64(per.Microseconds()) / float64(requests))
	return leaky{interval, interval * float64(burst), map[int]float64{}, map[int]time.Time{}}
}

func modelTake(classes []leaky, who int, now time.Time) []limit.Decision {
	ok := true
	out := make([]limit.Decision, len(classes))
	for i, c := range classes {
		c.level[who] = max(0, c.level[who]-float64(now.Sub(c.at[who]).Microseconds()))
		c.at[who] = now
		out[i].Allowed = c.level[who]+c.interval <= c.depth
		ok = ok && out[i].Allowed
	}
	for i, c := range classes {
		if ok {
			c.level[who] += c.interval
		}
		room := c.depth - c.level[who]
		out[i].Remaining = int(room / c.interval)
		if c.level[who] > 0 {
			out[i].Next = time.Duration(c.interval-math.Mod(room, c.interval)) * time.Microsecond
		}
	}
	return out
}

// fataler is what testing.TB and rapid.T share here.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func rate(t fataler, class string, requests int, per time.Duration, burst int) limit.Rate {
	t.Helper()
	r, err := limit.NewRate(class, requests, per, burst)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return r
}

// take is Take; it also holds that a request is let through when every class
// has one left, and only then.
func take(t fataler, l limit.Limiter, key limit.Key, rates []limit.Rate, now time.Time) []limit.Decision {
	t.Helper()
	into := make([]limit.Decision, len(rates))
	ok, err := l.Take(key, rates, now, into)
	if err != nil {
		t.Fatalf("Take: %v", err)
	}
	all := true
	for _, d := range into {
		all = all && d.Allowed
	}
	if ok != all {
		t.Fatalf("Take answered %v for %+v", ok, into)
	}
	return into
}
