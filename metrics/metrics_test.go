package metrics_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/limit"
	"github.com/ringwall/ringwall/metrics"
	"github.com/ringwall/ringwall/policy"
)

func page(t *testing.T, h http.Handler) string {
	t.Helper()
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	if rec.Code != 200 {
		t.Fatalf("got %d: %s", rec.Code, rec.Body)
	}
	return rec.Body.String()
}

func TestHandler(t *testing.T) {
	s := app.Stats{Requests: 7, InFlight: 2, Denials: map[string]uint64{"app/rate": 3, "app/cors": 0}}
	s.Responses[0], s.Responses[2], s.Responses[4] = 1, 3, 1
	s.Durations.Sum = 1500 * time.Millisecond
	s.Durations.Counts[0], s.Durations.Counts[2], s.Durations.Counts[len(app.DurationBounds)] = 2, 2, 1
	s.Limiter = &limit.Stats{Buckets: 11, Places: 100, Bytes: 4096, Evictions: 5, Freed: 1}
	s.Bans = &app.Bans{Active: 2, Dropped: 9, Evicted: 1}
	got := page(t, metrics.Handler(func() app.Stats { return s }))
	for _, want := range []string{
		"ringwall_bans 2\n", "ringwall_bans_dropped_total 9\n", "ringwall_bans_evicted_total 1\n",
		"ringwall_requests_total 7\n",
		"ringwall_requests_in_flight 2\n",
		`ringwall_denials_total{control="app/rate"} 3` + "\n",
		`ringwall_denials_total{control="app/cors"} 0` + "\n",
		`ringwall_responses_total{class="none"} 1` + "\n",
		`ringwall_responses_total{class="2xx"} 3` + "\n",
		`ringwall_request_duration_seconds_bucket{le="0.0005"} 2` + "\n",
		`ringwall_request_duration_seconds_bucket{le="0.002"} 2` + "\n",
		`ringwall_request_duration_seconds_bucket{le="0.01"} 4` + "\n",
		`ringwall_request_duration_seconds_bucket{le="30"} 4` + "\n",
		`ringwall_request_duration_seconds_bucket{le="+Inf"} 5` + "\n",
		"ringwall_request_duration_seconds_sum 1.5\n",
		"ringwall_request_duration_seconds_count 5\n",
		"ringwall_limiter_buckets 11\n", "ringwall_limiter_places 100\n", "ringwall_limiter_bytes 4096\n",
		"ringwall_limiter_evictions_total 5\n", "ringwall_limiter_freed_total 1\n",
		"go_goroutines ", "process_cpu_seconds_total ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing", want)
		}
	}
}

// Prometheus' own linter is the oracle for names and help texts.
func TestPageIsWellFormed(t *testing.T) {
	ring, err := app.New(policy.Default(), http.NotFoundHandler(), app.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ring.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	got := page(t, metrics.Handler(ring.Stats))
	problems, err := promlint.New(strings.NewReader(got)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "ringwall_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	for _, c := range app.Controls() {
		if !strings.Contains(got, `ringwall_denials_total{control="`+c.ID+`"}`) {
			t.Errorf("no counter of %s", c.ID)
		}
	}
	if strings.Contains(got, "ringwall_limiter_places 0\n") || !strings.Contains(got, "ringwall_limiter_places ") {
		t.Error("the ring's limiter is not shown")
	}
	if !strings.Contains(got, "ringwall_requests_total 1\n") || !strings.Contains(got, "ringwall_request_duration_seconds_count 1\n") {
		t.Errorf("the request was not counted: %s", got)
	}
}
