package app_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/policy"
)

// TestStatsOfClasses counts every status that tells of trouble, in all and by
// rate class, and goes on counting in the ring of the next policy.
func TestStatsOfClasses(t *testing.T) {
	p := policy.Default()
	p.Site = "localhost"
	p.App.Routes = []policy.Route{{Path: "/", Allow: []string{"anyone"}}}
	p.App.Limits["search"] = policy.Limit{Requests: 1000, Per: time.Minute, Paths: []string{"/search/", "/api/auth/find"}}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("q") {
		case "401":
			w.WriteHeader(401)
		case "403":
			w.WriteHeader(403)
		case "404":
			w.WriteHeader(404)
		case "429":
			w.WriteHeader(429)
		case "503":
			w.WriteHeader(503)
		case "409":
			w.WriteHeader(409)
		}
	})
	var counters app.Counters
	ring := func() *app.Ring {
		r, err := app.New(p, handler, app.Deps{Counters: &counters})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	get := func(r *app.Ring, target string) {
		req := httptest.NewRequest("GET", target, nil)
		req.Host = "localhost"
		r.ServeHTTP(httptest.NewRecorder(), req)
	}
	one := ring()
	for _, target := range []string{"/", "/?q=401", "/search/?q=403", "/search/a?q=404", "/api/auth/find?q=429", "/api/auth/login?q=401", "/search/?q=503", "/?q=409", "/a//b"} {
		get(one, target)
	}
	want := app.Stats{
		Answers: app.Answers{Requests: 9, Status401: 2, Status403: 1, Status404: 1, Status429: 1, Status5xx: 1},
		Classes: map[string]app.Answers{
			"auth":   {Requests: 2, Status401: 1, Status429: 1},
			"search": {Requests: 4, Status403: 1, Status404: 1, Status429: 1, Status5xx: 1},
		},
	}
	judge := func(got app.Stats) {
		t.Helper()
		if got.Answers != want.Answers || len(got.Classes) != len(want.Classes) {
			t.Errorf("got %+v", got)
		}
		for name, a := range want.Classes {
			if got.Classes[name] != a {
				t.Errorf("class %s: got %+v, want %+v", name, got.Classes[name], a)
			}
		}
	}
	judge(one.Stats())

	// A policy without a class and with another, whose bits are not the same.
	delete(p.App.Limits, "auth")
	p.App.Limits["a"] = policy.Limit{Requests: 1000, Per: time.Minute, Paths: []string{"/a/"}}
	two := ring()
	get(two, "/search/?q=404")
	get(two, "/a/")
	want.Answers.Requests, want.Answers.Status404 = 11, 2
	want.Classes = map[string]app.Answers{"a": {Requests: 1}, "search": {Requests: 5, Status403: 1, Status404: 2, Status429: 1, Status5xx: 1}}
	judge(two.Stats())
	if s := two.Stats(); s.Requests != 11 || s.InFlight != 0 || s.Denials["app/path"] != 1 {
		t.Errorf("got %+v", s)
	}
}
