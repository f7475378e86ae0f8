package limit_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/limit"
)

func TestNewRate(t *testing.T) {
	for _, tt := range []struct {
		class    string
		requests int
		per      time.Duration
		burst    int
		interval time.Duration
		err      string // "": none
	}{
		{"global", 600, 15 * time.Minute, 600, 1500 * time.Millisecond, ""},
		{"a", 1_000_000, time.Second, 1_000_000, time.Microsecond, ""},
		{"Third.of_a-second", 3, time.Second, 1, 333334 * time.Microsecond, ""},
		{"day", 1, 24 * time.Hour, 31, 24 * time.Hour, ""},
		{"day", 1, 24 * time.Hour, 32, 0, "longer than 31 days"},
		{"", 1, time.Second, 1, 0, "class name"},
		{strings.Repeat("a", 33), 1, time.Second, 1, 0, "class name"},
		{`a"b`, 1, time.Second, 1, 0, "class name"},
		{"a", 0, time.Second, 1, 0, "0 requests"},
		{"a", 1_000_001, time.Second, 1, 0, "1000001 requests"},
		{"a", 1, 999 * time.Millisecond, 1, 0, "999ms"},
		{"a", 1, 25 * time.Hour, 1, 0, "25h"},
		{"a", 1, time.Second, 0, 0, "burst of 0"},
		{"a", 1, time.Second, 1_000_001, 0, "burst of 1000001"},
	} {
		r, err := limit.NewRate(tt.class, tt.requests, tt.per, tt.burst)
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("NewRate(%q, %d, %v, %d): error %v, want one about %q", tt.class, tt.requests, tt.per, tt.burst, err, tt.err)
			}
			continue
		}
		if err != nil || r.Interval() != tt.interval || r.Class() != tt.class || r.Burst() != tt.burst {
			t.Errorf("NewRate(%q, %d, %v, %d) = %+v, %v; want an interval of %v", tt.class, tt.requests, tt.per, tt.burst, r, err, tt.interval)
		}
	}
	if _, err := limit.NewRate("", 0, 0, 0); strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("%v\nwant all four mistakes", err)
	}
}

func TestAddr(t *testing.T) {
	for _, tt := range []struct {
		name string
		a, b string // "": an invalid address
		same bool
	}{
		{"another IPv4 address", "192.0.2.1", "192.0.2.2", false},
		{"IPv4-mapped", "192.0.2.1", "::ffff:192.0.2.1", true},
		{"same /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true},
		{"next /64", "2001:db8:1:2::1", "2001:db8:1:3::1", false},
		{"zone", "fe80::1%eth0", "fe80::1%eth1", true},
		{"IPv4 is no IPv6 prefix", "32.1.13.184", "2001:db8::", false},
		{"zero addresses", "0.0.0.0", "::", false},
		{"unknown clients share one", "", "", true},
		{"unknown is not zero", "", "0.0.0.0", false},
		{"unknown is not ::", "", "::", false},
	} {
		a, _ := netip.ParseAddr(tt.a)
		b, _ := netip.ParseAddr(tt.b)
		if got := limit.Addr(a) == limit.Addr(b); got != tt.same {
			t.Errorf("%s: %q and %q have one key: %v, want %v", tt.name, tt.a, tt.b, got, tt.same)
		}
	}
}

func TestTrapIPv6OneBucketPer64(t *testing.T) {
	rates := []limit.Rate{mustRate(t, "auth", 20, 15*time.Minute, 20)}
	m := limit.NewMemory(0)
	into := make([]limit.Decision, 1)
	allowed := 0
	for i := range 1000 { // rotates through its own prefix
		a := netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 14: byte(i >> 8), 15: byte(i)})
		if ok, err := m.Take(limit.Addr(a), rates, start, into); err != nil {
			t.Fatal(err)
		} else if ok {
			allowed++
		}
	}
	if allowed != 20 {
		t.Errorf("%d requests from one /64 were let through, want 20", allowed)
	}
	if ok, _ := m.Take(limit.Addr(netip.MustParseAddr("2001:db8:0:1::1")), rates, start, into); !ok {
		t.Error("the next /64 was refused too")
	}
}

func TestAccount(t *testing.T) {
	keys := map[limit.Key]string{limit.Addr(netip.MustParseAddr("192.0.2.1")): "192.0.2.1 as an address", {}: "nobody"}
	for _, id := range []string{"", "a", "b", "192.0.2.1", "\x01\xc0\x00\x02\x01"} {
		if other, taken := keys[limit.Account(id)]; taken {
			t.Errorf("account %q shares its key with %s", id, other)
		}
		keys[limit.Account(id)] = "account " + id
	}
	//lint:ignore SA4000 two calls, one key
	if limit.Account("a") != limit.Account("a") {
		t.Error("an account has two keys")
	}
}
