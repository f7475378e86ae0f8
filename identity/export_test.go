package identity

import (
	"context"
	"os"
	"testing"

	"github.com/ringwall/ringwall/identity/internal/cost"
	"github.com/ringwall/ringwall/identity/password"
)

// Remembered is how many tokens v remembers.
func Remembered(v *Verifier) int {
	v.cache.CleanUp()
	return v.cache.EstimatedSize()
}

// Ended reports whether v takes a session for ended.
func Ended(v *Verifier, session string) bool { return v.ended.has(v.ended.hash(session)) }

// Prune is what Run does every ten minutes.
func Prune(ctx context.Context, s *Service) { s.prune(ctx) }

// QuickDir is a folder of the test's own, in memory where there is such: what a
// disk has to write takes the most time of tests that do not ask for it.
func QuickDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "identity-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Cheapen makes the hashes of s cost next to nothing, for tests that do not
// judge what they cost.
func Cheapen(s *Service) {
	s.passwords = password.New(password.Options{Cost: cost.Params{Memory: 64, Time: 1, Threads: 1}})
	s.current.Store(s.compile(s.current.Load().policy))
}
