// Package metrics shows the ring's counters to Prometheus. It is apart from app
// so that a program without metrics links no exporter.
package metrics

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ringwall/ringwall/app"
)

// Handler serves the counters that stats reads, and those of the Go runtime and
// the process, in Prometheus' text format.
//
// It does not judge who asks: serve it on loopback, behind edge.LoopbackOnly,
// as ringwall.Server does for the policy's admin address. Counters start again
// from zero at a restart, as rate() expects, and not at a reload of the policy.
func Handler(stats func() app.Stats) http.Handler {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(ring{stats}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// ring is a prometheus.Collector: it reads the counters when it is asked.
type ring struct{ stats func() app.Stats }

var (
	requests  = prometheus.NewDesc("ringwall_requests_total", "Requests that came in.", nil, nil)
	inFlight  = prometheus.NewDesc("ringwall_requests_in_flight", "Requests that are not over.", nil, nil)
	denials   = prometheus.NewDesc("ringwall_denials_total", "Requests that a control refused.", []string{"control"}, nil)
	responses = prometheus.NewDesc("ringwall_responses_total", "Requests that are over, by class of status; none: broken off before an answer began.", []string{"class"}, nil)
	durations = prometheus.NewDesc("ringwall_request_duration_seconds", "Time from a request's coming in until it is over.", nil, nil)

	limiterBuckets = prometheus.NewDesc("ringwall_limiter_buckets", "Clients that the rate limiter remembers.", nil, nil)
	limiterPlaces  = prometheus.NewDesc("ringwall_limiter_places", "Clients that the rate limiter has room for.", nil, nil)
	limiterBytes   = prometheus.NewDesc("ringwall_limiter_bytes", "Memory of the rate limiter.", nil, nil)
	limiterEvicted = prometheus.NewDesc("ringwall_limiter_evictions_total", "Clients forgotten before their limit had refilled.", nil, nil)
	limiterFreed   = prometheus.NewDesc("ringwall_limiter_freed_total", "Blocked clients among the forgotten: more than a few mean that app.limits_memory is too small.", nil, nil)

	bansActive  = prometheus.NewDesc("ringwall_bans", "Addresses and prefixes that are banned.", nil, nil)
	bansDropped = prometheus.NewDesc("ringwall_bans_dropped_total", "Connections and requests of banned addresses that were dropped.", nil, nil)
	bansEvicted = prometheus.NewDesc("ringwall_bans_evicted_total", "Bans that ended early because there were too many.", nil, nil)
)

// Describe tells the names of the counters.
func (ring) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requests, inFlight, denials, responses, durations,
		limiterBuckets, limiterPlaces, limiterBytes, limiterEvicted, limiterFreed,
		bansActive, bansDropped, bansEvicted} {
		c <- d
	}
}

// Collect reads the counters.
func (r ring) Collect(c chan<- prometheus.Metric) {
	s := r.stats()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(requests, s.Requests)
	gauge := func(d *prometheus.Desc, v float64) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
	gauge(inFlight, float64(s.InFlight))
	for control, n := range s.Denials {
		counter(denials, n, control)
	}
	for i, n := range s.Responses {
		class := "none"
		if i > 0 {
			class = strconv.Itoa(i) + "xx"
		}
		counter(responses, n, class)
	}
	// Prometheus' buckets count all that is not longer, so each holds those before it.
	buckets, total := make(map[float64]uint64, len(app.DurationBounds)), uint64(0)
	for i, bound := range app.DurationBounds {
		total += s.Durations.Counts[i]
		buckets[bound.Seconds()] = total
	}
	total += s.Durations.Counts[len(app.DurationBounds)]
	c <- prometheus.MustNewConstHistogram(durations, total, s.Durations.Sum.Seconds(), buckets)
	if l := s.Limiter; l != nil {
		gauge(limiterBuckets, float64(l.Buckets))
		gauge(limiterPlaces, float64(l.Places))
		gauge(limiterBytes, float64(l.Bytes))
		counter(limiterEvicted, l.Evictions)
		counter(limiterFreed, l.Freed)
	}
	if b := s.Bans; b != nil {
		gauge(bansActive, float64(b.Active))
		counter(bansDropped, b.Dropped)
		counter(bansEvicted, b.Evicted)
	}
}
