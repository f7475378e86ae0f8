package main

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// TestStrangersAreNotAttacked: of a host that is neither this machine nor the
// policy's site only passive checks are made, and the others say why.
func TestStrangersAreNotAttacked(t *testing.T) {
	manner := map[string]outside.Manner{}
	for _, c := range outside.Checks() {
		manner[c.ID] = c.Manner
	}
	for name, tt := range map[string]struct {
		url      string
		held     bool
		flags    checkFlags
		attacked bool
	}{
		"a stranger":                 {url: "https://other.example.org"},
		"a stranger, with a policy":  {url: "https://other.example.org", held: true},
		"one's own":                  {url: "https://other.example.org", flags: checkFlags{own: true}, attacked: true},
		"the policy's site":          {url: "https://api.example.com", held: true, attacked: true},
		"the site's name, no policy": {url: "https://api.example.com"},
		"this machine":               {url: "https://localhost:8443", attacked: true},
	} {
		p := policy.Default()
		p.Site = "api.example.com"
		c, err := probe.New(tt.url, probe.Options{MaxRequests: 1, Timeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		// Nothing is left to be sent: a check that is made says so.
		_, _ = c.DialPort(t.Context(), "127.0.0.1:1", time.Millisecond)
		r := &lookingRun{client: c, flags: tt.flags}
		_, r.fresh = c.Fresh()
		checks, err := r.choose(&target{url: tt.url, policy: p, held: tt.held})
		if err != nil {
			t.Fatal(err)
		}
		made := 0
		for _, ch := range checks {
			if ch.Inside != "" {
				continue
			}
			f := ch.Verify(t.Context())
			refused := strings.Contains(f.Got, "--i-own-this")
			m, known := manner[ch.ID]
			switch passive := known && m == outside.Passive; {
			case refused && ch.Most+ch.Points > 0:
				t.Errorf("%s: %s is not made, and counts %d requests and %d points", name, ch.ID, ch.Most, ch.Points)
			case f.Verdict == check.Pass:
				t.Errorf("%s: %s passes without a request", name, ch.ID)
			case m == outside.Intrusive:
				t.Errorf("%s: %s is made without --intrusive", name, ch.ID)
			case passive && refused:
				t.Errorf("%s: %s looks like any visitor, and is not made", name, ch.ID)
			case !passive && refused == tt.attacked:
				t.Errorf("%s: %s: %s", name, ch.ID, f.Got)
			case !refused:
				made++
			}
		}
		if made < 10 {
			t.Errorf("%s: only %d checks", name, made)
		}
	}
}

// TestNothingIsSentToWhoShutsTheDoor: once an ordinary request is not answered any
// more, the rest is not made.
func TestNothingIsSentToWhoShutsTheDoor(t *testing.T) {
	var n, late atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n.Add(1) > 5 {
			late.Add(1)
			panic(http.ErrAbortHandler)
		}
	}))
	defer s.Close()
	s.Config.ErrorLog = nil
	c, err := probe.New(s.URL, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := &lookingRun{client: c, fresh: false}
	p := policy.Default()
	p.Site = "127.0.0.1"
	checks, err := r.choose(&target{url: s.URL, policy: p})
	if err != nil {
		t.Fatal(err)
	}
	report := check.Run(t.Context(), checks, check.Options{})
	last := report.Results[len(report.Results)-1]
	if last.Verdict != check.Unknown || !strings.Contains(last.Got, "does not answer this address any more") {
		t.Errorf("%+v", last)
	}
	if late.Load() > 60 {
		t.Errorf("%d requests after the door was shut", late.Load())
	}
	t.Logf("%d requests after the fifth", late.Load())
}

// TestSilenceIsNoRefusal: a target that goes away in the middle of a check has
// refused nothing, and one that refuses by hanging up still has.
func TestSilenceIsNoRefusal(t *testing.T) {
	for name, tt := range map[string]struct {
		goes bool
		want check.Verdict
	}{"gone": {true, check.Unknown}, "hangs up": {false, check.Pass}} {
		t.Run(name, func(t *testing.T) {
			var s *httptest.Server
			s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					return
				}
				if tt.goes {
					_ = s.Listener.Close()
				}
				panic(http.ErrAbortHandler)
			}))
			defer s.Close()
			c, err := probe.New(s.URL, probe.Options{})
			if err != nil {
				t.Fatal(err)
			}
			r := &lookingRun{client: c, flags: checkFlags{only: []string{"outside/methods"}}}
			checks, err := r.choose(&target{url: s.URL, policy: policy.Default()})
			if err != nil {
				t.Fatal(err)
			}
			report := check.Run(t.Context(), checks, check.Options{})
			if got := report.Results[0]; got.Verdict != tt.want {
				t.Errorf("%v: %s", got.Verdict, got.Got)
			}
		})
	}
}

// TestTheRequestsAreToldFirst: every check that sends something says how much, and
// of a server without a policy the default is enough for all of them.
func TestTheRequestsAreToldFirst(t *testing.T) {
	c, err := probe.New("https://localhost", probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Default()
	p.Identity.Registration = "open"
	for _, ch := range slices.Concat(app.Checks(p, c, time.Now()), edge.Checks(p, c, time.Now()), identity.Checks(p, c, time.Now())) {
		if ch.Verify != nil && ch.Most < 1 {
			t.Errorf("%s does not say how many requests it sends", ch.ID)
		}
	}
	all := 0
	for _, ch := range outside.Checks() {
		if ch.Most < 1 {
			t.Errorf("%s does not say how many requests it sends", ch.ID)
		}
		if ch.Manner < outside.Intrusive {
			all += ch.Most
		}
	}
	if all >= 400 {
		t.Errorf("a server without a policy is sent %d requests, want fewer than 400", all)
	}
	t.Logf("about %d requests without a policy", all)
}
