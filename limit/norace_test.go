//go:build !race

package limit_test

const floodAddresses = 10_000_000
