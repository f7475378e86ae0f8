package watch_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/watch"
)

const lookEvery = 10 * time.Second

// seen is a sink that keeps everything.
type seen struct {
	mu     sync.Mutex
	events []audit.Event
}

func (s *seen) Record(e audit.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
}

func (s *seen) take() []audit.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.events
	s.events = nil
	return out
}

// spikesOf plays a series: next adds to the counters what came in a look. It
// returns the events, with the number of the look in the place of RequestID.
func spikesOf(t *testing.T, looks int, next func(look int, s *app.Stats)) (out []audit.Event) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var counters app.Stats
		look := -1
		sink := &seen{}
		s := watch.NewSpikes(func() app.Stats {
			if look >= 0 { // the first is where the others begin
				next(look, &counters)
			}
			look++
			for _, e := range sink.take() {
				e.RequestID = fmt.Sprint(look - 2)
				out = append(out, e)
			}
			return counters
		}, sink)
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(looks+1)*lookEvery+time.Second)
		defer cancel()
		s.Run(ctx)
		if look < looks {
			t.Fatalf("%d looks, want %d", look, looks)
		}
	})
	return out
}

func brief(events []audit.Event) (out []string) {
	for _, e := range events {
		what, _, _ := strings.Cut(e.Detail, ":")
		out = append(out, e.RequestID+" "+string(e.Kind)+" "+what)
	}
	return out
}

func TestSpikes(t *testing.T) {
	const hour, day = 360, 24 * 360 // looks
	between := func(look, from, to int) bool { return look >= from && look < to }
	for name, tt := range map[string]struct {
		looks int
		next  func(look int, a *app.Answers)
		want  []string
	}{
		"steady": {day, func(_ int, a *app.Answers) { a.Requests += 500; a.Status404 += 12 }, nil},
		"silence, then three": {hour, func(look int, a *app.Answers) {
			if look > 100 && look%50 == 0 {
				a.Requests, a.Status401, a.Status5xx = a.Requests+3, a.Status401+3, a.Status5xx+3
			}
		}, nil},
		"day and night": {3 * day, func(look int, a *app.Answers) {
			a.Requests += uint64(1000 * (1 + 0.8*math.Sin(2*math.Pi*float64(look)/day)))
		}, nil},
		"twice as much each hour": {6 * hour, func(look int, a *app.Answers) {
			a.Requests += uint64(100 * math.Exp2(float64(look)/hour))
		}, nil},
		"ten times as much within ten minutes": {3 * hour, func(look int, a *app.Answers) {
			n := 300.0
			if look > hour {
				n *= min(10, 1+9*float64(look-hour)/60)
			}
			if look > 2*hour {
				n = 300
			}
			a.Requests += uint64(n)
		}, []string{"377 traffic.spiked requests", "723 traffic.calmed requests"}},
		"401s at a quiet site": {2 * hour, func(look int, a *app.Answers) {
			if between(look, hour, hour+30) { // 5 a second for 5 minutes
				a.Requests, a.Status401 = a.Requests+50, a.Status401+50
			}
		}, []string{"361 traffic.spiked 401 answers", "392 traffic.calmed 401 answers"}},
		"one burst of ten seconds": {2 * hour, func(look int, a *app.Answers) {
			a.Requests += 50
			if look == hour {
				a.Requests += 5000
			}
		}, []string{"360 traffic.spiked requests", "363 traffic.calmed requests"}},
		"a job of ten seconds each ten minutes": {day, func(look int, a *app.Answers) {
			a.Requests += 50
			if look%60 == 7 {
				a.Requests += 500
			}
		}, nil},
		"the upstream is out": {2 * hour, func(look int, a *app.Answers) {
			a.Requests += 30
			if between(look, hour, hour+12) {
				a.Status5xx += 30
			}
		}, []string{"361 traffic.spiked 5xx answers", "374 traffic.calmed 5xx answers"}},
		"counters that begin anew": {2 * hour, func(look int, a *app.Answers) {
			if look%97 == 0 {
				*a = app.Answers{}
			}
			a.Requests += 400
			a.Status404 += 30
		}, nil},
		"counters that begin anew at every look": {hour + 100, func(look int, a *app.Answers) {
			if look >= hour {
				a.Status401 = uint64(200 - (look - hour))
			}
		}, []string{"360 traffic.spiked 401 answers"}},
		"an attack that was there before": {hour, func(_ int, a *app.Answers) { a.Requests += 900; a.Status401 += 800 }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			got := brief(spikesOf(t, tt.looks, func(look int, s *app.Stats) { tt.next(look, &s.Answers) }))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
			}
		})
	}
}

// A level that stays is told once, and is usual one day; what comes on top of
// it is then told again.
func TestSpikeThatStays(t *testing.T) {
	events := spikesOf(t, 24*360, func(look int, s *app.Stats) {
		switch s.Answers.Requests += 300; {
		case look > 20*360:
			s.Answers.Requests += 30000
		case look > 360:
			s.Answers.Requests += 2700
		}
	})
	got := brief(events)
	if len(got) < 3 || got[0] != "362 traffic.spiked requests" || !strings.HasSuffix(got[1], "traffic.calmed requests") || got[2] != "7202 traffic.spiked requests" {
		t.Fatalf("got %q", got)
	}
	var at int
	fmt.Sscan(events[1].RequestID, &at)
	if hours := float64(at-361) / 360; hours < 1 || hours > 4 {
		t.Errorf("ten times as much is usual after %.1f h, want 1 to 4", hours)
	}
	t.Logf("it is usual after %s", (time.Duration(at-361) * lookEvery))
}

func TestSpikesOfClasses(t *testing.T) {
	var events []audit.Event
	out := spikesOf(t, 200, func(look int, s *app.Stats) {
		a := s.Classes["auth"]
		if look > 100 {
			a.Status401 += 120
			s.Answers.Status401 += 5 // not above the floor
		}
		s.Classes = map[string]app.Answers{"auth": a, "search": {}}
		if look > 150 {
			delete(s.Classes, "auth")
		}
	})
	events = append(events, out...)
	if len(events) != 2 {
		t.Fatalf("got %+v", events)
	}
	if e := events[0]; e.Kind != audit.TrafficSpiked || e.Status != 401 || e.Detail != "401 answers in rate class auth: 120 in 10 s, usually 0.0" || e.Time.IsZero() {
		t.Errorf("got %+v", e)
	}
	if e := events[1]; e.Kind != audit.TrafficCalmed || e.Detail != "401 answers in rate class auth: the policy has no such class any more" {
		t.Errorf("got %+v", e)
	}
}

// TestFalseAlarms plays a month of pure chance: Poisson counts of several
// rates, steady, with a day and a night, and rough, with a rate that is drawn
// anew for each look (log-normal, coefficient of variation 0.53).
func TestFalseAlarms(t *testing.T) {
	if testing.Short() {
		t.Skip("a month of looks")
	}
	const month, day = 30 * 8640, 8640
	rates := []float64{0.01, 0.3, 2, 7, 15, 40, 120, 900}
	rng := rand.New(rand.NewPCG(4, 1789))
	events := spikesOf(t, month, func(look int, s *app.Stats) {
		classes := make(map[string]app.Answers, 3*len(rates))
		for _, rate := range rates {
			for _, shape := range []string{"steady", "wave", "rough"} {
				name := fmt.Sprint(shape, " ", rate)
				r := rate
				switch shape {
				case "wave":
					r *= 1 + 0.8*math.Sin(2*math.Pi*float64(look)/day)
				case "rough":
					r *= math.Exp(0.5*rng.NormFloat64() - 0.125)
				}
				a := s.Classes[name]
				a.Requests += poisson(rng, r)
				a.Status401 += poisson(rng, r)
				a.Status404 += poisson(rng, r)
				a.Status5xx += poisson(rng, r)
				classes[name] = a
			}
		}
		s.Classes = classes
	})
	alarms := map[string]int{}
	for _, e := range events {
		if e.Kind == audit.TrafficSpiked {
			_, class, _ := strings.Cut(e.Detail, "in rate class ")
			alarms[class[:5]]++
		}
	}
	each := len(rates) * 4
	t.Logf("false alarms of %d series of each shape in a month: %v", each, alarms)
	if alarms["stead"] > 0 || alarms["wave "] > 0 || alarms["rough"] > each {
		t.Errorf("got %q", brief(events))
	}
}

// poisson draws by inversion, and as a rounded normal where that is as good.
func poisson(r *rand.Rand, mean float64) uint64 {
	if mean > 100 {
		return uint64(max(0, math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	u, n := r.Float64(), uint64(0)
	for p := math.Exp(-mean); u > p && n < 1000; n++ {
		u -= p
		p *= mean / float64(n+1)
	}
	return n
}
