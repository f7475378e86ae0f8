package app_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
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
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/policy"
)

// rateFixture is a ring of the controls around app/rate, with a clock that the
// test moves and a list of events.
type rateFixture struct {
	ring    http.Handler
	now     time.Time
	events  []audit.Event
	handled int
}

func (f *rateFixture) Record(e audit.Event) { f.events = append(f.events, e) }

func newRateFixture(t testing.TB, p *policy.Policy, deps app.Deps) *rateFixture {
	t.Helper()
	f := &rateFixture{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	deps.Now = func() time.Time { return f.now }
	deps.Audit = f
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.handled++
		for _, name := range []string{"RateLimit", "RateLimit-Policy", "RateLimit-Remaining", "X-RateLimit-Limit", "X-Rate-Limit-Reset"} {
			w.Header().Set(name, "from the handler")
		}
		w.WriteHeader(http.StatusNoContent)
	})
	f.ring = rateRing(t, p, deps, handler)
	return f
}

// rateRing leaves out what is not needed to count requests.
func rateRing(t testing.TB, p *policy.Policy, deps app.Deps, handler http.Handler, without ...string) http.Handler {
	t.Helper()
	for _, c := range app.Controls() {
		if !slices.Contains([]string{"app/problem", "app/client-address", "app/path", "app/rate"}, c.ID) {
			without = append(without, c.ID)
		}
	}
	ring, err := app.NewWithout(p, handler, deps, without...)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func rateRequest(from, path string) *http.Request {
	r := httptest.NewRequest("GET", path, nil)
	r.RemoteAddr = from
	return r
}

func (f *rateFixture) get(from, path string, header ...string) *http.Response {
	return rateGet(f.ring, from, path, header...)
}

func rateGet(ring http.Handler, from, path string, header ...string) *http.Response {
	r := rateRequest(from, path)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	ring.ServeHTTP(w, r)
	return w.Result()
}

const (
	rateAlice = "192.0.2.1:4001"
	rateBob   = "192.0.2.2:4002"
)

func TestRateRefuses(t *testing.T) {
	p := policy.Default()
	auth := p.App.Limits["auth"]
	auth.Message = "Too many attempts to sign in."
	p.App.Limits["auth"] = auth
	f := newRateFixture(t, p, app.Deps{})
	for range 20 {
		f.get(rateAlice, "/api/auth/login")
	}
	f.now = f.now.Add(500 * time.Millisecond)
	for range 50 {
		res := f.get(rateAlice, "/api/auth/login")
		if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("got %s, %s", res.Status, res.Header.Get("Content-Type"))
		}
		// 44.5 s are rounded up, and global is charged nothing: it refilled a third of one.
		if got := res.Header.Get("Retry-After"); got != "45" {
			t.Fatalf("Retry-After is %s, want 45", got)
		}
		if got := fmt.Sprint(rateItems(t, res, "RateLimit")); got != "map[auth:map[r:0 t:45] global:map[r:580]]" {
			t.Fatal(got)
		}
		if got := fmt.Sprint(rateItems(t, res, "RateLimit-Policy")); got != "map[auth:map[q:20 w:900] global:map[q:600 w:900]]" {
			t.Fatal(got)
		}
		var problem struct {
			Status int
			Detail string
		}
		if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || problem.Status != 429 || problem.Detail != auth.Message {
			t.Fatalf("%+v, %v", problem, err)
		}
	}
	if f.handled != 20 {
		t.Errorf("the handler saw %d requests, want 20", f.handled)
	}
	if res := f.get(rateBob, "/api/auth/login"); res.StatusCode != http.StatusNoContent {
		t.Errorf("another client got %s", res.Status)
	}
	f.now = f.now.Add(44*time.Second + 500*time.Millisecond)
	if res := f.get(rateAlice, "/api/auth/login"); res.StatusCode != http.StatusNoContent {
		t.Errorf("after Retry-After: %s", res.Status)
	}
	// A class without a message gives a plain sentence.
	for range 700 {
		f.get(rateBob, "/")
	}
	body, _ := io.ReadAll(f.get(rateBob, "/").Body)
	if !strings.Contains(string(body), `"detail":"Too many requests. Try again later."`) {
		t.Errorf("got %s", body)
	}
}

// A flood of refusals raises one event a second, and other clients' are seen.
func TestRateEvents(t *testing.T) {
	f := newRateFixture(t, policy.Default(), app.Deps{})
	client := func(i int) string { return fmt.Sprintf("192.0.2.%d:1", i+1) }
	for i := range 9 {
		for range 20 {
			f.get(client(i), "/api/auth/login")
		}
	}
	f.events = nil
	for range 10 {
		for range 30 {
			f.get(client(0), "/api/auth/login")
		}
		f.now = f.now.Add(100 * time.Millisecond)
	}
	f.get(client(0), "/api/auth/login")
	want := []string{
		"rate.blocked app/rate 192.0.2.1 429 /api/auth/login over auth 20 in 15m",
		"rate.blocked app/rate 192.0.2.1 429 /api/auth/login over auth 20 in 15m; 299 more refusals since the last event",
	}
	var got []string
	for _, e := range f.events {
		got = append(got, fmt.Sprint(e.Kind, " ", e.Control, " ", e.Client, " ", e.Status, " ", e.Path, " ", e.Detail))
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	f.events = nil
	for i := range 9 {
		f.get(client(i), "/api/auth/login")
	}
	// Clients are told apart by a hash of 10 bits: now and then two are not.
	if n := len(f.events); n < 5 || n > 8 {
		t.Errorf("%d events of 8 other clients in the same second", n)
	}
}

func TestTrapForgedForwardedForSameBucket(t *testing.T) {
	p := policy.Default()
	p.Edge.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}
	f := newRateFixture(t, p, app.Deps{})
	var statuses []int
	for i := range 25 {
		forged := fmt.Sprintf("203.0.113.%d", i)
		from, header := rateAlice, []string{"X-Forwarded-For", forged, "Forwarded", "for=" + forged, "X-Real-Ip", forged}
		if i%2 == 1 { // the same client by way of the proxy, which appends its address
			from, header[1] = "10.0.0.1:5000", forged+", 192.0.2.1"
		}
		statuses = append(statuses, f.get(from, "/api/auth/login", header...).StatusCode)
	}
	if want := slices.Concat(slices.Repeat([]int{204}, 20), slices.Repeat([]int{429}, 5)); !slices.Equal(statuses, want) {
		t.Errorf("got %v, want %v", statuses, want)
	}
	if res := f.get("10.0.0.1:5000", "/api/auth/login", "X-Forwarded-For", "192.0.2.2"); res.StatusCode != 204 {
		t.Errorf("another client of the proxy got %s", res.Status)
	}
}

func TestTrapIPv6OneBucketPer64(t *testing.T) {
	f := newRateFixture(t, policy.Default(), app.Deps{})
	for i := range 20 {
		f.get(fmt.Sprintf("[2001:db8::%x]:4001", i), "/api/auth/login")
	}
	for from, want := range map[string]int{
		"[2001:db8::ffff:0:0:1]:4001":   429,
		"[2001:db8::1%eth0]:4001":       429,
		"[2001:db8:0:1::1]:4001":        204,
		"[::ffff:192.0.2.1]:4001":       204,
		"[2001:db8:0:1:8000::ffff]:443": 204,
	} {
		if res := f.get(from, "/api/auth/login"); res.StatusCode != want {
			t.Errorf("%s got %d, want %d", from, res.StatusCode, want)
		}
	}
}

// A reload keeps the buckets, whatever other classes come and go.
func TestRateReloadKeepsBuckets(t *testing.T) {
	deps := app.Deps{Limiter: limit.NewMemory(0)}
	f := newRateFixture(t, policy.Default(), deps)
	for range 20 {
		f.get(rateAlice, "/api/auth/login")
	}
	p := policy.Default()
	p.App.Limits["admin"] = policy.Limit{Requests: 5, Per: time.Minute, Paths: []string{"/api/"}}
	f = newRateFixture(t, p, deps)
	if res := f.get(rateAlice, "/api/auth/login"); res.StatusCode != 429 {
		t.Errorf("after the reload: %s, want 429", res.Status)
	}
	if items := rateItems(t, f.get(rateAlice, "/api/notes"), "RateLimit"); items["global"]["r"] != 579 || items["admin"]["r"] != 4 {
		t.Errorf("after the reload: %v", items)
	}
}

// Clients without an address, as on a unix socket, share one bucket.
func TestRateUnknownClientsShare(t *testing.T) {
	f := newRateFixture(t, policy.Default(), app.Deps{})
	for i := range 20 {
		f.get([]string{"@", "", "pipe"}[i%3], "/api/auth/login")
	}
	if res := f.get("@other", "/api/auth/login"); res.StatusCode != 429 {
		t.Errorf("got %s, want 429", res.Status)
	}
}

// brokenLimiter works until it is broken.
type brokenLimiter struct {
	*limit.Memory
	mu    sync.Mutex
	after int
}

func (b *brokenLimiter) Take(k limit.Key, r []limit.Rate, now time.Time, into []limit.Decision) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.after--; b.after < 0 {
		return false, errors.New("dial tcp 127.0.0.1:6379: connection refused")
	}
	return b.Memory.Take(k, r, now, into)
}

func TestTrapLimiterStoreOut(t *testing.T) {
	for _, tt := range []struct {
		global, auth string // on_store_error
		path         string
		want         int
	}{
		{"", "", "/api/notes", 204},
		{"", "", "/api/auth/login", 503},
		{"allow", "allow", "/api/auth/login", 204},
		{"deny", "allow", "/api/auth/login", 503},
		{"deny", "allow", "/api/notes", 503},
	} {
		t.Run(fmt.Sprintf("global=%s auth=%s %s", tt.global, tt.auth, tt.path), func(t *testing.T) {
			p := policy.Default()
			for class, what := range map[string]string{"global": tt.global, "auth": tt.auth} {
				l := p.App.Limits[class]
				l.OnStoreError = what
				p.App.Limits[class] = l
			}
			var logged strings.Builder
			f := newRateFixture(t, p, app.Deps{
				Limiter: &brokenLimiter{Memory: limit.NewMemory(0), after: 5},
				Log:     slog.New(slog.NewTextHandler(&logged, nil)),
			})
			for i := range 100 {
				res := f.get(rateAlice, tt.path)
				if i < 5 {
					if res.StatusCode != 204 || res.Header.Get("RateLimit") == "" {
						t.Fatalf("before the store went out: %s", res.Status)
					}
					continue
				}
				body, _ := io.ReadAll(res.Body)
				if res.StatusCode != tt.want {
					t.Fatalf("got %s, want %d", res.Status, tt.want)
				}
				if (res.Header.Get("Retry-After") != "") != (tt.want == 503) {
					t.Fatalf("%s with Retry-After %q", res.Status, res.Header.Get("Retry-After"))
				}
				if res.Header.Get("RateLimit") != "" || res.Header.Get("RateLimit-Policy") == "" {
					t.Fatalf("the answer claims to know what is left: %v", res.Header)
				}
				if strings.Contains(string(body), "6379") {
					t.Fatalf("the answer gives the store's error away: %s", body)
				}
			}
			if n := strings.Count(logged.String(), "the rate limits cannot be read"); n != 1 || !strings.Contains(logged.String(), "connection refused") {
				t.Errorf("logged %d times within a second, want once with the error:\n%s", n, logged.String())
			}
		})
	}
	t.Run("during load", func(t *testing.T) {
		ring := rateRing(t, policy.Default(), app.Deps{Limiter: &brokenLimiter{Memory: limit.NewMemory(0), after: 100}},
			http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
		var mu sync.Mutex
		got := map[int]int{}
		var wg sync.WaitGroup
		for g := range 10 {
			wg.Go(func() {
				for range 20 {
					status := rateGet(ring, fmt.Sprintf("192.0.2.%d:1", g), "/api/auth/login").StatusCode
					mu.Lock()
					got[status]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if got[204] != 100 || got[503] != 100 {
			t.Errorf("got %v, want 100 let through and 100 answered 503", got)
		}
	})
}

func TestRatePolicyMistakes(t *testing.T) {
	for name, tt := range map[string]struct {
		limits map[string]policy.Limit
		want   string
	}{
		"no global":     {map[string]policy.Limit{}, "no class global"},
		"no requests":   {map[string]policy.Limit{"global": {Per: time.Minute}}, "0 requests"},
		"bad fallback":  {map[string]policy.Limit{"global": {Requests: 1, Per: time.Minute, OnStoreError: "open"}}, `"open"`},
		"unquotable":    {map[string]policy.Limit{"global": {Requests: 1, Per: time.Minute}, `a"b`: {Requests: 1, Per: time.Minute, Paths: []string{"/"}}}, "class name"},
		"all of them":   {map[string]policy.Limit{"a": {Paths: []string{"/"}}}, "app.limits.a"},
		"and all again": {map[string]policy.Limit{"a": {Paths: []string{"/"}}}, "no class global"},
	} {
		t.Run(name, func(t *testing.T) {
			p := policy.Default()
			p.App.Limits = tt.limits
			if _, err := app.New(p, http.NotFoundHandler(), app.Deps{}); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error about %s", err, tt.want)
			}
		})
	}
}

// Many overlapping classes: more than an exchange has room for.
func TestRateManyClasses(t *testing.T) {
	p := policy.Default()
	for i := range 9 {
		p.App.Limits["class-"+strconv.Itoa(i)] = policy.Limit{Requests: 10 * (i + 1), Per: time.Hour, Paths: []string{"/api/"}}
	}
	f := newRateFixture(t, p, app.Deps{})
	for i := range 10 {
		res := f.get(rateAlice, "/api/auth/login")
		items := rateItems(t, res, "RateLimit")
		if res.StatusCode != 204 || len(items) != 11 || items["class-0"]["r"] != int64(9-i) || items["auth"]["r"] != int64(19-i) {
			t.Fatalf("%s %v", res.Status, items)
		}
	}
	if res := f.get(rateAlice, "/api/auth/login"); res.StatusCode != 429 || res.Header.Get("Retry-After") != "360" {
		t.Errorf("got %s, Retry-After %s", res.Status, res.Header.Get("Retry-After"))
	}
	if res := f.get(rateAlice, "/"); res.StatusCode != 204 {
		t.Errorf("outside the classes: %s", res.Status)
	}
}

// The control allocates nothing for a request that it lets through: the ring
// with it allocates what the ring without it does.
func TestRateAllocatesNothing(t *testing.T) {
	p := policy.Default()
	p.App.Limits["auth"] = policy.Limit{Requests: 200, Per: 15 * time.Minute, Paths: []string{"/api/auth/"}}
	for _, path := range []string{"/api/notes", "/api/auth/login"} {
		allocs := map[string]float64{}
		for _, without := range []string{"none", "app/rate"} {
			now := time.Now()
			ring := rateRing(t, p, app.Deps{Now: func() time.Time { return now }},
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }), without)
			r, w := rateRequest(rateAlice, path), &rateWriter{header: http.Header{}}
			serve := func() {
				clear(w.header)
				ring.ServeHTTP(w, r)
				now = now.Add(5 * time.Second)
				if w.status != 204 {
					t.Fatalf("%s was answered %d", path, w.status)
				}
			}
			for range 2000 { // values are built when they are first seen
				serve()
			}
			allocs[without] = testing.AllocsPerRun(1000, serve)
		}
		if allocs["none"] != allocs["app/rate"] {
			t.Errorf("%s: %v allocations with the control, %v without", path, allocs["none"], allocs["app/rate"])
		}
	}
}

type rateWriter struct {
	header http.Header
	status int
}

func (w *rateWriter) Header() http.Header         { return w.header }
func (w *rateWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *rateWriter) WriteHeader(status int)      { w.status = status }

// BenchmarkRateControl is a request through a ring of four controls, with
// app/rate and without it: the difference is the control's cost.
func BenchmarkRateControl(b *testing.B) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	p := policy.Default()
	p.App.Limits["auth"] = policy.Limit{Requests: 200, Per: 15 * time.Minute, Paths: []string{"/api/auth/"}}
	for _, bm := range []struct {
		name, path, without string
		step                time.Duration // between two requests
	}{
		{"without", "/api/auth/login", "app/rate", 0},
		{"one-class", "/api/notes", "none", 5 * time.Second},
		{"two-classes", "/api/auth/login", "none", 5 * time.Second},
		{"blocked", "/api/auth/login", "none", 0},
	} {
		b.Run(bm.name, func(b *testing.B) {
			now := time.Now()
			ring := rateRing(b, p, app.Deps{Now: func() time.Time { return now }}, handler, bm.without)
			r, w := rateRequest(rateAlice, bm.path), &rateWriter{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				ring.ServeHTTP(w, r)
				now = now.Add(bm.step)
			}
		})
	}
}
