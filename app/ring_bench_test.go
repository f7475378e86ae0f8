package app_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
)

// benchWriter is a http.ResponseWriter that keeps nothing.
type benchWriter struct{ h http.Header }

func (w *benchWriter) Header() http.Header         { return w.h }
func (w *benchWriter) Write(p []byte) (int, error) { return len(p), nil }
func (w *benchWriter) WriteHeader(int)             {}

var benchBody = []byte(`{"id":"1","title":"a","text":"b"}`)

func benchHandler(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Write(benchBody)
}

// BenchmarkRing is what a GET of a signed-in caller costs in the ring alone,
// with every control, a real token and a log that goes nowhere.
func BenchmarkRing(b *testing.B) {
	keys, err := identity.NewKeys(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	verifier, err := identity.NewVerifier("https://localhost", "https://localhost", keys, nil)
	if err != nil {
		b.Fatal(err)
	}
	token, err := keys.Mint(identity.Claims{Issuer: "https://localhost", Audience: "https://localhost", Subject: "alice",
		Session: "0123456789abcdef", Roles: []string{"user"}}, 24*time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	p := authPolicy()
	p.App.CORS.Origins = []string{"https://app.example.com"}
	buf := audit.NewBuffer(io.Discard, io.Discard)
	defer buf.Close()
	for name, log := range map[string]*slog.Logger{
		"log":    slog.New(audit.NewHandler(buf, slog.LevelInfo)),
		"no-log": slog.New(audit.NewHandler(buf, slog.LevelWarn)),
	} {
		ring, err := app.New(p, http.HandlerFunc(benchHandler), app.Deps{Verifier: verifier, Log: log})
		if err != nil {
			b.Fatal(err)
		}
		b.Run("GET/"+name, func(b *testing.B) { benchServe(b, ring, token) })
	}
	b.Run("GET/bare", func(b *testing.B) { benchServe(b, http.HandlerFunc(benchHandler), token) })
}

func benchServe(b *testing.B, h http.Handler, token string) {
	proto := httptest.NewRequest("GET", "/notes/1", nil)
	proto.Host = "localhost"
	proto.Header.Set("Authorization", "Bearer "+token)
	proto.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	proto.Header.Set("Accept", "application/json")
	proto.Header.Set("Accept-Encoding", "gzip, deflate, br")
	w := &benchWriter{h: http.Header{}}
	r := new(http.Request)
	b.ReportAllocs()
	for b.Loop() {
		*r = *proto // the ring must find it as it came
		clear(w.h)
		h.ServeHTTP(w, r)
	}
}
