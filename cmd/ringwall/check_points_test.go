package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/quicktest"
	"github.com/ringwall/ringwall/internal/state"
)

// TestPointsAreSpentOnce: what a check earned is held against the next one until
// the edge has forgotten it.
func TestPointsAreSpentOnce(t *testing.T) {
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	open := func(host string) *pointsBudget {
		b, err := newPointsBudget(t.Context(), host, 100, dir, now)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	b := open("api.example.com")
	for _, tt := range []struct {
		points int
		after  time.Duration
		wait   time.Duration
		never  bool
	}{
		{points: 60},
		{points: 20},
		{points: 0},
		{points: 81, never: true},
		{points: 40, wait: 301 * time.Second},
		{points: 41, after: 299 * time.Second, wait: 12 * time.Second},
		{points: 40, after: 2 * time.Second},
	} {
		now = now.Add(tt.after)
		if wait, never, _ := b.take(t.Context(), tt.points, 0, now); wait.Round(2*time.Second) != tt.wait.Round(2*time.Second) || never != tt.never {
			t.Errorf("%d points: wait %v, never %v; want %v, %v", tt.points, wait, never, tt.wait, tt.never)
		}
		b = open("API.example.com") // another process
	}
	beside := open("api.example.com") // two at once
	now = now.Add(time.Hour)
	if wait, _, _ := b.take(t.Context(), 60, 0, now); wait != 0 {
		t.Errorf("after an hour: wait %v", wait)
	}
	if wait, _, _ := beside.take(t.Context(), 60, 0, now); wait == 0 {
		t.Error("the points of the check beside it are not seen")
	}
	now = now.Add(-30 * time.Minute)
	if wait, _, _ := open("api.example.com").take(t.Context(), 60, 0, now); wait == 0 {
		t.Error("a clock that was set back gives points back")
	}
	if wait, _, _ := open("other.example.com").take(t.Context(), 80, 0, now); wait != 0 {
		t.Errorf("another site's points are waited for: %v", wait)
	}
	if err := os.WriteFile(dir.Path(pointsFile), []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newPointsBudget(t.Context(), "api.example.com", 100, dir, now); err == nil || !strings.Contains(err.Error(), dir.Path(pointsFile)+" is damaged") {
		t.Error("a file that nobody can read is taken for none")
	}
}

// TestAStuckCheckHoldsNobodyUp: a process that does not let the points go is waited for
// no longer than --timeout, and once; nothing that could earn a ban is then made.
func TestAStuckCheckHoldsNobodyUp(t *testing.T) {
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		unlock, err := dir.Lock(pointsLock)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		short, end := context.WithTimeout(t.Context(), time.Second)
		defer end()
		if _, err := newPointsBudget(short, "api.example.com", 100, dir, began); err == nil || time.Since(began) != time.Second {
			t.Errorf("with a second: %v after %v", err, time.Since(began))
		}
		c, err := probe.New("https://api.example.com", probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		b, err := newPointsBudget(t.Context(), "api.example.com", 100, dir, began)
		if err == nil || !strings.Contains(err.Error(), "fuser -v "+dir.Path(pointsLock)) || time.Since(began) > 6*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		r := &lookingRun{client: c, points: b, flags: checkFlags{timeout: 5 * time.Minute}}
		one := func(id string, points int) check.Check {
			m := check.Meta{ID: id, Points: points}
			return check.Check{Meta: m, Ready: r.ready(m), Verify: func(context.Context) check.Finding { return check.Passed("made") }}
		}
		began = time.Now()
		res := check.Run(t.Context(), []check.Check{one("a", 9), one("b", 0), one("c", 9)}, check.Options{}).Results
		if !res[0].Unmade || !strings.Contains(res[0].Got, "nobody knows how many are spent") || res[1].Verdict != check.Pass || !res[2].Unmade || time.Since(began) != 0 {
			t.Errorf("%+v after %v", res, time.Since(began))
		}
		unlock()
		if res := check.Run(t.Context(), []check.Check{one("a", 9)}, check.Options{}).Results; res[0].Verdict != check.Pass {
			t.Errorf("let go: %+v", res)
		}
	})
}

// TestWhatCouldBanWaits: a check that may be afforded soon waits, one that may not
// says what to type, and nothing of it is its own time.
func TestWhatCouldBanWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := probe.New("https://api.example.com", probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := newPointsBudget(t.Context(), "api.example.com", 100, "", time.Now())
		r := &lookingRun{client: c, points: b, flags: checkFlags{timeout: 5 * time.Minute}}
		began := time.Now()
		one := func(id string, points int) check.Check {
			m := check.Meta{ID: id, Points: points}
			return check.Check{Meta: m, Ready: r.ready(m), Verify: func(ctx context.Context) check.Finding {
				end, _ := ctx.Deadline()
				return check.Passed("%v, %v left", time.Since(began), time.Until(end))
			}}
		}
		got := check.Run(t.Context(), []check.Check{one("a", 80), one("b", 9), one("c", 0), one("d", 30), one("e", 90)}, check.Options{PerCheck: 10 * time.Second}).Results
		for i, want := range []string{"0s, 10s left", "52s, 10s left", "52s, 10s left", "in 4 minutes make it alone, with --only d", "ringwall ban spare ADDRESS"} {
			if !strings.Contains(got[i].Got, want) {
				t.Errorf("%s: %q, want %q", got[i].ID, got[i].Got, want)
			}
		}
	})
}

// TestRequestsLast: a check that needs more requests than are left says so before
// it sends one, one beside it gives back what it did not send, and a second try
// is made only of what is left.
func TestRequestsLast(t *testing.T) {
	c, err := probe.New("https://localhost:1", probe.Options{MaxRequests: 10})
	if err != nil {
		t.Fatal(err)
	}
	r := &lookingRun{client: c, fresh: true}
	tries := map[string]int{}
	one := func(id, lane string, most, sends int, f check.Finding) check.Check {
		m := check.Meta{ID: id, Most: most}
		return check.Check{Meta: m, Lane: lane, Ready: r.ready(m), Verify: r.mannered(m, func(ctx context.Context) check.Finding {
			tries[id]++
			for range sends {
				_, _ = c.Dial(ctx)
			}
			return f
		})}
	}
	got := check.Run(t.Context(), []check.Check{
		one("a", "", 4, 2, check.Unseen("nothing")), // 2 of 4, twice
		one("b", "", 5, 5, check.Unseen("nothing")), // 5, and not again
		one("c", "", 2, 2, check.Passed("seen")),
		one("d", "", 1, 1, check.Passed("seen")),
	}, check.Options{}).Results
	if tries["a"] != 2 || tries["b"] != 1 || tries["c"] != 0 || tries["d"] != 1 || c.Sent() != 10 {
		t.Errorf("tries %v, %d requests", tries, c.Sent())
	}
	if want := "it sends up to 2 requests, and of 10 (--max-requests) 1 are left"; got[2].Verdict != check.Unknown || !strings.Contains(got[2].Got, want) {
		t.Errorf("got %q, want %q", got[2].Got, want)
	}
}

// TestPointsAreSpentOnceByTwo has two processes spend from one file at once.
func TestPointsAreSpentOnceByTwo(t *testing.T) {
	quicktest.Skip(t, "starts processes")
	const each = 40
	if dir := os.Getenv("RINGWALL_TEST_SPENDS"); dir != "" {
		b, err := newPointsBudget(t.Context(), "api.example.com", 1000, state.Dir(dir), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		for range each {
			if wait, never, _ := b.take(t.Context(), 5, 0, time.Now()); wait > 0 || never {
				t.Fatal(wait, never)
			}
		}
		return
	}
	dir, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var spenders []*exec.Cmd
	for range 2 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPointsAreSpentOnceByTwo$")
		cmd.Env = append(os.Environ(), "RINGWALL_TEST_SPENDS="+string(dir))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		spenders = append(spenders, cmd)
	}
	for _, cmd := range spenders {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	b, err := newPointsBudget(t.Context(), "api.example.com", 1000, dir, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if left := b.left(time.Now()); left < 2*each*5*0.9 {
		t.Errorf("%d points were spent, and %.0f are known of", 2*each*5, left)
	}
}

// TestPointsNotEarnedAreGivenBack: a check that ends earlier than at its worst leaves
// to the next ones what it had set aside, and one of whose connections something is
// not known leaves nothing.
func TestPointsNotEarnedAreGivenBack(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.env":
			panic(http.ErrAbortHandler)
		case "/":
		case "/me":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	get := func(path string) probe.Request { return probe.Request{Target: path} }
	for name, tt := range map[string]struct {
		sends []probe.Request
		dials bool
		want  float64
	}{
		"nothing":           {nil, false, 0},
		"what is there":     {[]probe.Request{get("/")}, false, 0},
		"what is not there": {[]probe.Request{get("/"), get("/x")}, false, 2},
		"nobody":            {[]probe.Request{get("/me")}, false, 0},
		"a forged token":    {[]probe.Request{{Target: "/me", Token: "x.y.z"}}, false, 10},
		"a password":        {[]probe.Request{{Method: "POST", Target: "/me", Body: `{"password":"x"}`}}, false, 4},
		"an old session":    {[]probe.Request{{Method: "POST", Target: "/me", Body: `{"refresh_token":"x"}`}}, false, 20},
		"its cookie":        {[]probe.Request{{Method: "POST", Target: "/me", Headers: [][2]string{{"Cookie", "a=b"}}}}, false, 20},
		"a forged header":   {[]probe.Request{{Target: "/", Headers: [][2]string{{"X_Forwarded_For", "::1"}}}}, false, 10},
		"hung up on":        {[]probe.Request{get("/.env")}, false, 20},
		"at its worst":      {[]probe.Request{get("/.env"), get("/.env"), get("/.env")}, false, 50},
		"by hand":           {[]probe.Request{get("/")}, true, 50},
	} {
		c, err := probe.New(s.URL, probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, _ := newPointsBudget(t.Context(), "api.example.com", 100, "", time.Now())
		r := &lookingRun{client: c, points: b}
		m := check.Meta{ID: "app/a", Most: 5, Points: 50}
		check.Run(t.Context(), []check.Check{{Meta: m, Ready: r.ready(m), Verify: r.mannered(m, func(ctx context.Context) check.Finding {
			for _, req := range tt.sends {
				_, _ = c.Do(ctx, req)
			}
			if tt.dials {
				if conn, err := c.Dial(ctx); err == nil {
					conn.Close()
				}
			}
			return check.Passed("seen")
		})}}, check.Options{})
		// Of fifty, one is forgotten in nine seconds.
		if got := b.left(time.Now()); got > tt.want+0.5 || got < 0.9*tt.want-0.5 {
			t.Errorf("%s: %.1f points are held against this address, want %.0f", name, got, tt.want)
		}
	}
}

// TestEachHasItsTurn: what was left out is made in one of the next runs, also when
// cheaper checks would take all points again.
func TestEachHasItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := probe.New("https://api.example.com", probe.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var last *check.Report
		made := map[string]int{}
		for range 4 {
			b, _ := newPointsBudget(t.Context(), "api.example.com", 100, "", time.Now())
			r := &lookingRun{client: c, points: b}
			var checks []check.Check
			for id, points := range map[string]int{"a": 10, "b": 11, "c": 30, "d": 31, "e": 60, "f": 90} {
				m := check.Meta{ID: id, Points: points, Spends: id == "e"}
				checks = append(checks, check.Check{Meta: m, Ready: r.ready(m), Verify: func(context.Context) check.Finding {
					made[id]++
					return check.Passed("seen")
				}})
			}
			slices.SortFunc(checks, func(a, b check.Check) int { return a.Points - b.Points })
			r.owe(checks, missed(last))
			next := check.Carry(last, check.Run(t.Context(), checks, check.Options{}))
			last = &next
			time.Sleep(time.Hour)
		}
		for _, id := range []string{"a", "b", "c", "d", "e"} {
			if made[id] == 0 {
				t.Errorf("%s was never made: %v", id, made)
			}
		}
		if made["f"] > 0 {
			t.Error("what earns more than there is was made")
		}
	})
}

// TestWhatIsHeldForOthersIsNotWaitedFor: they come after it, in the same lane.
func TestWhatIsHeldForOthersIsNotWaitedFor(t *testing.T) {
	b := &pointsBudget{threshold: 100}
	if wait, never, _ := b.take(t.Context(), 10, 90, time.Now()); never || wait < 24*time.Hour {
		t.Errorf("it waits %v, never is %v", wait, never)
	}
	if wait, never, _ := b.take(t.Context(), 10, 10, time.Now()); never || wait != 0 {
		t.Errorf("with room for both it waits %v, never is %v", wait, never)
	}
}

// TestWhatAnAnswerCanCost: each counts for the most that the weights of docs/bans.md let
// it stand for.
func TestWhatAnAnswerCanCost(t *testing.T) {
	for _, tt := range []struct {
		req    probe.Request
		status int // 0: no answer
		want   int
	}{
		{probe.Request{}, 200, 0},
		{probe.Request{}, 0, 20},
		{probe.Request{}, 502, 20},
		{probe.Request{}, 401, 0},
		{probe.Request{Token: "x"}, 401, 10},
		{probe.Request{Token: "x"}, 403, 1},
		{probe.Request{Method: "POST", Token: "x"}, 403, 1},
		{probe.Request{}, 400, 2},
		{probe.Request{}, 404, 2},
		{probe.Request{Method: "POST"}, 400, 4},
		{probe.Request{Method: "POST", Body: `{"refresh_token":"x"}`}, 401, 20},
		{probe.Request{Headers: [][2]string{{"X-Auth-User", "root"}}}, 403, 11},
	} {
		var res *probe.Response
		if tt.status > 0 {
			res = &probe.Response{Status: tt.status}
		}
		if got := mostEarned(tt.req, res); got != tt.want {
			t.Errorf("%+v answered %d: %d points, want %d", tt.req, tt.status, got, tt.want)
		}
	}
}
