package password_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/identity/password"
)

func BenchmarkVerify(b *testing.B) {
	p := password.New(password.Options{})
	hash, err := p.Hash(b.Context(), "four unrelated words here")
	if err != nil {
		b.Fatal(err)
	}
	for name, stored := range map[string]string{
		"known": hash, "unknown": "",
		"bcrypt10": "$2y$10$9wl/XkB6ivZVlKLvAHXMBOVfr52VcvIsbY2AWhbJUVP36J7ni3kDK",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.Verify(b.Context(), stored, "another password")
			}
		})
	}
}

// BenchmarkDearest is the most that a stored hash may cost.
func BenchmarkDearest(b *testing.B) {
	p := password.New(password.Options{})
	for b.Loop() {
		p.Verify(b.Context(), "$argon2id$v=19$m=131072,t=4,p=1$"+salt+"$"+sum, "x")
	}
}

func BenchmarkJudge(b *testing.B) {
	p := password.New(password.Options{})
	about := []string{"alice.smith@example.com", "Alice Smith", "notes.example", strings.Repeat("ab1 ", 64), strings.Repeat("c", 60)}
	for _, pw := range append([]string{"password", "quite a long walk home"}, hostile...) {
		b.Run(pw[:8], func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = p.Judge(pw, about...)
			}
		})
	}
}

// BenchmarkFlood verifies from 200 callers at once; the size of the heap and
// what others wait for a processor are what the bound is for.
func BenchmarkFlood(b *testing.B) {
	p := password.New(password.Options{Queue: 1000, Wait: time.Hour})
	b.SetParallelism(200 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			p.Verify(b.Context(), "", "x")
		}
	})
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapSys-m.HeapReleased)/(1<<20), "heap-MiB")
}
