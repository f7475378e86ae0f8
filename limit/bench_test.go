package limit_test

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/ringwall/ringwall/limit"
)

func address(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func mustRate(tb testing.TB, class string, requests int, per time.Duration, burst int) limit.Rate {
	tb.Helper()
	r, err := limit.NewRate(class, requests, per, burst)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// BenchmarkTake runs against a store of the default size: one client that is
// let through, one that is blocked, and ten million at random, most of them
// forgotten by the time they come again.
func BenchmarkTake(b *testing.B) {
	wide := mustRate(b, "wide", 1_000_000, time.Second, 1_000_000)
	global := mustRate(b, "global", 600, 15*time.Minute, 600)
	auth := mustRate(b, "auth", 20, 15*time.Minute, 20)
	for _, bm := range []struct {
		name    string
		rates   []limit.Rate
		clients uint32
	}{
		{"hot", []limit.Rate{wide}, 1},
		{"blocked", []limit.Rate{global}, 1},
		{"many", []limit.Rate{global}, 10_000_000},
		{"many-two-classes", []limit.Rate{auth, global}, 10_000_000},
	} {
		b.Run(bm.name, func(b *testing.B) {
			m := filled(b, bm.rates, bm.clients)
			b.ReportAllocs()
			takeAtRandom(m, bm.rates, bm.clients, b.Loop)
		})
		b.Run(bm.name+"-parallel", func(b *testing.B) {
			m := filled(b, bm.rates, bm.clients)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) { takeAtRandom(m, bm.rates, bm.clients, pb.Next) })
		})
	}
}

// filled returns a store that has met the clients, as far as there is room.
func filled(b *testing.B, rates []limit.Rate, clients uint32) *limit.Memory {
	b.Helper()
	m := limit.NewMemory(limit.DefaultBytes)
	into := make([]limit.Decision, len(rates))
	now := time.Now()
	for i := range min(clients, 4_000_000) {
		if _, err := m.Take(limit.Addr(address(i)), rates, now, into); err != nil {
			b.Fatal(err)
		}
	}
	return m
}

func takeAtRandom(m *limit.Memory, rates []limit.Rate, clients uint32, next func() bool) {
	into := make([]limit.Decision, len(rates))
	rng := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	for next() {
		now = now.Add(time.Microsecond)
		m.Take(limit.Addr(address(rng.Uint32N(clients))), rates, now, into)
	}
}
