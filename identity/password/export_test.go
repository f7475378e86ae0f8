package password

import (
	"context"
	"net"
	"net/http"
)

// Work is what one argon2id hash was asked to do.
type Work struct {
	Memory, Time uint32
	Threads      uint8
	Key          int
}

// Watch calls f in the place of each hash that p computes; the result is
// instead sum bytes of zero, which fit no hash.
func (p *Passwords) Watch(f func(Work)) {
	p.derive = func(h *hash, _ []byte) []byte {
		f(Work{h.Memory, h.Time, h.Threads, len(h.key)})
		return make([]byte, len(h.key))
	}
}

// Parse reads a stored hash and writes it again.
func Parse(s string) (again string, err error) {
	h, err := parse(s)
	if err != nil {
		return "", err
	}
	return h.String(), nil
}

// Bits is the estimate of guesses.
func Bits(pw string, about ...string) float64 {
	bits, _ := guesses(pw, personal(about))
	return bits
}

// Dial makes p reach the breach list through connections of the caller's.
func (p *Passwords) Dial(f func() net.Conn) {
	p.client.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return f(), nil }}
}
