package app_test

import (
	"context"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

func TestRateVerify(t *testing.T) {
	i := slices.IndexFunc(app.Controls(), func(c app.Control) bool { return c.ID == "app/rate" })
	verify := app.Controls()[i].Verify
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	known := policy.Default()
	known.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	believing := policy.Default()
	believing.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	single := policy.Default()
	single.App.Limits = map[string]policy.Limit{
		"global": {Requests: 600, Per: time.Hour},
		"reset":  {Requests: 1, Per: time.Hour, Paths: []string{"/api/{account}/reset/"}},
	}
	wide := policy.Default()
	wide.App.Limits = map[string]policy.Limit{"global": {Requests: 600, Per: 15 * time.Minute}}
	other := policy.Default()
	other.App.Limits = map[string]policy.Limit{"global": {Requests: 600, Per: time.Hour}, "auth": {Requests: 10, Per: time.Hour, Paths: []string{"/api/auth/"}}}
	wider := policy.Default() // only where it would take 600 requests to see it
	wider.App.Limits = maps.Clone(known.App.Limits)
	wider.App.Limits["global"] = policy.Limit{Requests: 6000, Per: 15 * time.Minute}

	inForce := func(p *policy.Policy) http.Handler { return rateRing(t, p, app.Deps{}, ok) }
	for _, tt := range []struct {
		name    string
		target  http.Handler
		policy  *policy.Policy
		verdict check.Verdict
		got     string
	}{
		{"in force", inForce(known), known, check.Pass, "20 requests to /api/auth/ringwall-check passed"},
		{"in force, no policy at hand", inForce(known), policy.Default(), check.Pass, "a second client passed"},
		{"in force behind a proxy that is this machine", inForce(believing), believing, check.Pass, "a second client passed"},
		{"one request", inForce(single), single, check.Pass, "1 requests to /api/ringwall-check/reset/ringwall-check passed"},
		{"too many to use up", inForce(wide), wide, check.Unknown, "600 requests: too many"},
		{"other numbers", inForce(other), known, check.Fail, "RateLimit-Policy gives 10 in 3600 s for auth"},
		{"other numbers for all", inForce(wider), known, check.Fail, "RateLimit-Policy gives 6000 in 900 s for global"},
		{"no limits", ok, known, check.Fail, "none was answered 429"},
		{"too many to use up, and no limits", ok, wide, check.Fail, "without RateLimit for global"},
		{"an unknown API without such paths", http.NotFoundHandler(), policy.Default(), check.Unknown, "404"},
		{"such paths and no limit", http.NotFoundHandler(), known, check.Fail, "none was answered 429"},
		{"refused earlier", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(421) }), known, check.Unknown, "421"},
		{"always 429", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(429) }), known, check.Unknown, "used up"},
		{"forged addresses are believed", rateRewrite(inForce(known), func(r *http.Request) {
			if xff, _, _ := strings.Cut(r.Header.Get("X-Forwarded-For"), ","); xff != "" {
				r.RemoteAddr = xff + ":1"
			}
		}), known, check.Fail, "none was answered 429"},
		{"all clients share a bucket", rateRewrite(inForce(known), func(r *http.Request) { r.RemoteAddr = "192.0.2.1:1" }),
			known, check.Fail, "a second client was refused"},
		{"older headers", http.HandlerFunc(rateLegacy()), known, check.Fail, "without RateLimit for auth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewUnstartedServer(tt.target)
			s.Config.ErrorLog = log.New(io.Discard, "", 0)
			s.Start()
			defer s.Close()
			c, err := probe.New(s.URL, probe.Options{})
			if err != nil {
				t.Fatal(err)
			}
			f := verify(context.Background(), tt.policy, c)
			if f.Verdict != tt.verdict || !strings.Contains(f.Got, tt.got) {
				t.Errorf("got %v %q, want %v %q", f.Verdict, f.Got, tt.verdict, tt.got)
			}
			if c.Sent() > 30 {
				t.Errorf("%d requests were sent, want at most 30", c.Sent())
			}
		})
	}
}

func rateRewrite(next http.Handler, f func(*http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f(r)
		next.ServeHTTP(w, r)
	})
}

// rateLegacy is a limiter with the headers of old.
func rateLegacy() http.HandlerFunc {
	var mu sync.Mutex
	left := 20
	return func(w http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		left--
		w.Header().Set("X-RateLimit-Remaining", strconv.Itoa(max(left, 0)))
		if left < 0 {
			w.Header().Set("Retry-After", "45")
			w.WriteHeader(http.StatusTooManyRequests)
		}
	}
}
