package limit_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/ringwall/ringwall/limit"
)

// Sign-in attempts are counted by the client's address and by the account that
// it tries, in buckets of the same class that know nothing of each other.
func Example() {
	buckets := limit.NewMemory(limit.DefaultBytes)
	auth, err := limit.NewRate("auth", 2, time.Minute, 2)
	if err != nil {
		fmt.Println(err)
		return
	}
	rates, state := []limit.Rate{auth}, make([]limit.Decision, 1)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, address := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		for _, key := range []limit.Key{limit.Addr(netip.MustParseAddr(address)), limit.Account("alice")} {
			ok, err := buckets.Take(key, rates, now, state)
			fmt.Println(ok, state[0].Remaining, state[0].Next, err)
		}
	}
	// Output:
	// true 1 30s <nil>
	// true 1 30s <nil>
	// true 1 30s <nil>
	// true 0 30s <nil>
	// true 1 30s <nil>
	// false 0 30s <nil>
}
