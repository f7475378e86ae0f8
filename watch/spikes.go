package watch

import (
	"context"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
)

// every is the time between two looks at the counters.
const every = 10 * time.Second

// figures are what is watched, of all requests and of those of each rate class.
// The floors are so high that one client who keeps to the default limits of
// edge and app is no spike.
var figures = [...]struct {
	name   string
	status int
	floor  float64 // in 10 seconds
	of     func(app.Answers) uint64
}{
	{"requests", 0, 200, func(a app.Answers) uint64 { return a.Requests }},
	{"401 answers", http.StatusUnauthorized, 20, func(a app.Answers) uint64 { return a.Status401 }},
	{"403 answers", http.StatusForbidden, 20, func(a app.Answers) uint64 { return a.Status403 }},
	{"404 answers", http.StatusNotFound, 40, func(a app.Answers) uint64 { return a.Status404 }},
	{"429 answers", http.StatusTooManyRequests, 40, func(a app.Answers) uint64 { return a.Status429 }},
	{"5xx answers", 0, 10, func(a app.Answers) uint64 { return a.Status5xx }},
}

// Spikes looks at a server's counters every 10 seconds and raises a
// traffic.spiked event when a figure is far above what is usual, and
// traffic.calmed when that is over. A spike is told once, however long it lasts.
//
// What is usual is learnt in the first 5 minutes, in which no spike is told,
// and ever after. So an attack that is under way at the start, or that grows
// over hours, goes unseen here; the limits hold all the same. Requests cost
// nothing more: the counters are those of app.Stats. Counters that begin anew
// are no spike.
type Spikes struct {
	stats  func() app.Stats
	events audit.Sink
	time   time.Time
	scopes map[string]*scope // by rate class; "": all requests
}

// A scope is the figures of one class.
type scope struct {
	last      app.Answers
	baselines [len(figures)]baseline
	began     [len(figures)]time.Time
}

// NewSpikes returns a watcher of the counters that stats reads.
func NewSpikes(stats func() app.Stats, events audit.Sink) *Spikes {
	return &Spikes{stats: stats, events: events, scopes: map[string]*scope{}}
}

// Run looks until ctx ends.
func (s *Spikes) Run(ctx context.Context) {
	t := time.NewTicker(every)
	defer t.Stop()
	s.time = time.Now()
	s.look(s.time, 1)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		now := time.Now() // not the tick's: it may have waited
		n := math.Round(float64(now.Sub(s.time)) / float64(every))
		if n < 1 {
			continue
		}
		s.look(now, n)
		s.time = now
	}
}

// look compares the counters with those of n looks before.
func (s *Spikes) look(now time.Time, n float64) {
	st := s.stats()
	s.scope(now, n, "", st.Answers)
	for _, class := range slices.Sorted(maps.Keys(st.Classes)) {
		s.scope(now, n, class, st.Classes[class])
	}
	for class, sc := range s.scopes {
		if _, there := st.Classes[class]; there || class == "" {
			continue
		}
		for i := range figures {
			if sc.baselines[i].spiking {
				s.raise(now, audit.TrafficCalmed, i, class, "the policy has no such class any more")
			}
		}
		delete(s.scopes, class)
	}
}

func (s *Spikes) scope(now time.Time, n float64, class string, counters app.Answers) {
	sc := s.scopes[class]
	if sc == nil {
		sc = &scope{last: counters}
		for i, f := range figures {
			sc.baselines[i].floor = f.floor
		}
		s.scopes[class] = sc
		return
	}
	for i, f := range figures {
		before, after := f.of(sc.last), f.of(counters)
		if after < before { // they began anew
			before = 0
		}
		count := float64(after-before) / n
		b := &sc.baselines[i]
		usual := b.mean
		switch began, ended := b.look(count); {
		case began:
			sc.began[i] = now
			s.raise(now, audit.TrafficSpiked, i, class, fmt.Sprintf("%.0f in 10 s, usually %s", count, decimal(usual)))
		case ended:
			s.raise(now, audit.TrafficCalmed, i, class, fmt.Sprintf("%.0f in 10 s, usually %s now; it lasted %v, with up to %.0f",
				count, decimal(b.mean), now.Sub(sc.began[i]).Round(time.Second), b.peak))
		}
	}
	sc.last = counters
}

func (s *Spikes) raise(now time.Time, kind audit.Kind, figure int, class, text string) {
	f := figures[figure]
	what := f.name
	if class != "" {
		what += " in rate class " + class
	}
	s.events.Record(audit.Event{Time: now, Kind: kind, Control: "watch/traffic", Status: f.status, Detail: what + ": " + text})
}

// decimal writes small numbers with one decimal place.
func decimal(x float64) string {
	if x < 9.95 {
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'f', 0, 64)
}
