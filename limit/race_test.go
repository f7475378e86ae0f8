//go:build race

package limit_test

// The race detector makes each Take some ten times slower and the flood is one
// goroutine anyway.
const floodAddresses = 500_000
