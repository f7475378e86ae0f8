package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
)

// sink is a response writer that costs nothing.
type sink struct{ h http.Header }

func (s *sink) Header() http.Header         { return s.h }
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }
func (s *sink) WriteHeader(int)             {}

func request(token string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "https://localhost/api/notes/4f2c", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("User-Agent", "wrk")
	return r
}

// BenchmarkRing is one signed-in GET through every control, without net/http's
// own part. BenchmarkBare is what the harness itself costs.
func BenchmarkRing(b *testing.B) {
	dir := b.TempDir()
	if err := writeCertificate(dir); err != nil {
		b.Fatal(err)
	}
	s, token, err := ring(http.HandlerFunc(hello), "127.0.0.1:0", filepath.Join(dir, "log"))
	if err != nil {
		b.Fatal(err)
	}
	measure(b, s.Handler(), request(token))
}

func BenchmarkBare(b *testing.B) { measure(b, http.HandlerFunc(hello), request("none")) }

func measure(b *testing.B, h http.Handler, r *http.Request) {
	b.ReportAllocs()
	w := &sink{h: http.Header{}}
	for b.Loop() {
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}
