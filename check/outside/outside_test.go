package outside_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
)

func find(t *testing.T, c outside.Check, target *outside.Target) check.Finding {
	t.Helper()
	return check.Run(t.Context(), []check.Check{{Meta: c.Meta, Verify: func(ctx context.Context) check.Finding { return c.Verify(ctx, target) }}}, check.Options{PerCheck: 80 * time.Second}).Results[0].Finding
}

// TestEveryCheckOnAGoodServer: no false alarm, and nothing unseen.
func TestEveryCheckOnAGoodServer(t *testing.T) {
	for _, c := range outside.Checks() {
		t.Run(c.ID, func(t *testing.T) {
			t.Parallel()
			target, _ := server(t, "")
			f := find(t, c, target)
			if f.Verdict != check.Pass {
				t.Errorf("%v: got %q, want %q", f.Verdict, f.Got, f.Want)
			}
			if n := int(target.Client.Sent()); n > c.Most {
				t.Errorf("it opened %d connections, and says at most %d", n, c.Most)
			}
			t.Log(f.Got)
		})
	}
}

// TestEveryCheckFindsItsFault is the sabotage of each.
func TestEveryCheckFindsItsFault(t *testing.T) {
	for _, c := range outside.Checks() {
		if len(faults[c.ID]) == 0 {
			t.Errorf("%s has no fault here that it must find", c.ID)
		}
		for _, fault := range faults[c.ID] {
			t.Run(c.ID+"/"+strings.ReplaceAll(fault, " ", "-"), func(t *testing.T) {
				if fault == "waits for ever" && testing.Short() {
					t.Skip("it waits for a minute")
				}
				t.Parallel()
				target, _ := server(t, fault)
				f := find(t, c, target)
				if f.Verdict != check.Fail || f.Got == "" || f.Want == "" || f.Fix == "" {
					t.Errorf("%v: got %q, want %q, fix %q", f.Verdict, f.Got, f.Want, f.Fix)
				}
				t.Log(f.Got)
			})
		}
	}
}

// TestAnOpenPortIsNotHidden: a budget that ends in the middle does not make a port
// that was found open unknown.
func TestAnOpenPortIsNotHidden(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	open := l.Addr().(*net.TCPAddr).Port
	shut := porttest.Port(t)
	v4, both := []net.IP{net.IPv4(127, 0, 0, 1)}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 2), net.IPv6loopback} // one of each is looked at
	for name, tt := range map[string]struct {
		port   int
		at     []net.IP
		budget int
		want   check.Verdict
		said   []string
	}{
		"found, then spent":    {open, both, 1, check.Fail, []string{"open: 127.0.0.1:" + strconv.Itoa(open), "not tried", "1 of 1 ports of ::1"}},
		"spent before it":      {shut, both, 1, check.Unknown, []string{"not tried", "1 of 1 ports of ::1", "--max-requests"}},
		"enough, and all shut": {shut, v4, 1, check.Pass, []string{"are closed at 127.0.0.1"}},
	} {
		c, err := probe.New("https://localhost", probe.Options{MaxRequests: tt.budget})
		if err != nil {
			t.Fatal(err)
		}
		target := outside.NewTarget(c)
		target.Ports = []int{tt.port}
		target.Lookup = func(context.Context, string) ([]net.IP, error) { return tt.at, nil }
		for _, ch := range outside.Checks() {
			if ch.ID != "outside/ports" {
				continue
			}
			f := find(t, ch, target)
			if f.Verdict != tt.want {
				t.Errorf("%s: %v %q, want %v", name, f.Verdict, f.Got, tt.want)
			}
			for _, words := range tt.said {
				if !strings.Contains(f.Got, words) {
					t.Errorf("%s: %q does not say %q", name, f.Got, words)
				}
			}
		}
	}
}

// TestEveryCheckOfADeadServerIsUnknown: of a server that is down, of one that
// hangs up, nothing is known.
func TestEveryCheckOfADeadServerIsUnknown(t *testing.T) {
	mute := porttest.Serve(t, func(net.Conn) {})
	dead := porttest.Port(t)
	for name, address := range map[string]string{
		"down": fmt.Sprintf("https://localhost:%d", dead), "hangs up": "https://" + mute, "hangs up in plain": "http://" + mute,
	} {
		for _, c := range outside.Checks() {
			client, err := probe.New(address, probe.Options{Timeout: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			target := outside.NewTarget(client)
			target.PlainPort, target.SSHPort = strconv.Itoa(dead), strconv.Itoa(dead)
			if c.ID == "outside/ports" {
				target = unseen(t, name != "down")
			}
			if f := find(t, c, target); f.Verdict != check.Unknown || f.Got == "" {
				t.Errorf("%s, %s: %v %q", name, c.ID, f.Verdict, f.Got)
			}
		}
	}
}

// unseen is a target whose ports cannot be looked at: its name is not known, or this
// machine may not connect to it.
func unseen(t *testing.T, named bool) *outside.Target {
	t.Helper()
	client, err := probe.New("https://gone.invalid", probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	target := outside.NewTarget(client)
	target.Lookup = func(context.Context, string) ([]net.IP, error) {
		if named {
			return []net.IP{net.IPv4bcast}, nil
		}
		return nil, errors.New("no such host")
	}
	return target
}

// TestALimitThatRefillsIsNotBlamed: what never goes down does not show whom it counts.
func TestALimitThatRefillsIsNotBlamed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("RateLimit", `"global";r=5998;t=1`)
		_, _ = io.WriteString(w, "{}")
	}))
	defer s.Close()
	c, err := probe.New(s.URL, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, ch := range outside.Checks() {
		if ch.ID == "outside/client-address" {
			if f := find(t, ch, outside.NewTarget(c)); f.Verdict != check.Unknown || !strings.Contains(f.Got, "refills as fast") {
				t.Errorf("%v: %s", f.Verdict, f.Got)
			}
		}
	}
}

// TestAServerThatOnlyReads: who knows no other method than GET says so of all bodies
// and of all preflights, which is neither a body that was taken nor an error.
func TestAServerThatOnlyReads(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusNotImplemented)
		}
	}))
	defer s.Close()
	client, err := probe.New(s.URL, probe.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range outside.Checks() {
		want, ok := map[string]check.Verdict{"outside/cors": check.Pass, "outside/body": check.Unknown}[c.ID]
		if !ok {
			continue
		}
		if f := c.Verify(t.Context(), outside.NewTarget(client)); f.Verdict != want {
			t.Errorf("%s: %+v", c.ID, f)
		}
	}
}
