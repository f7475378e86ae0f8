package limit

import (
	"crypto/sha256"
	"net/netip"
)

// A Key names whom a bucket belongs to. Keys are comparable, and keys of
// different kinds are never equal. The zero Key is that of an unknown client.
type Key struct{ b [17]byte }

// The first byte of a key. Shared stores keep these: never renumber.
const (
	kindUnknown = iota
	kindIPv4
	kindIPv6
	kindAccount
)

// Addr is the key of a client's address: an IPv4 address whole, an IPv6 address
// by its /64, because one subscriber commands all of it (RFC 6177, RFC 4291
// 2.5.4). An IPv4-mapped IPv6 address counts as IPv4 and a zone is ignored. All
// invalid addresses have one key, so that clients of unknown address share one
// bucket instead of having none.
func Addr(a netip.Addr) Key {
	var k Key
	switch a = a.Unmap(); {
	case a.Is4():
		k.b[0] = kindIPv4
		b := a.As4()
		copy(k.b[1:], b[:])
	case a.Is6():
		k.b[0] = kindIPv6
		b := a.As16()
		copy(k.b[1:], b[:8])
	}
	return k
}

// Account is the key of an account by its id, for limits that hold wherever the
// account's requests come from. It keeps 128 bits of the id's SHA-256: two ids
// with one key cannot be found, by chance or on purpose, with less than about
// 2^64 tries.
func Account(id string) Key {
	k := Key{[17]byte{kindAccount}}
	sum := sha256.Sum256([]byte(id))
	copy(k.b[1:], sum[:])
	return k
}
