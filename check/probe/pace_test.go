package probe_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check/probe"
)

// A client keeps its pace, and each address has its own.
func TestPace(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	c, err := probe.New(s.URL, probe.Options{Pace: probe.Pace{Burst: 2, Every: time.Hour}})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(c *probe.Client, within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		res, err := c.Do(ctx, probe.Request{})
		if err == nil && res.Took <= 0 {
			t.Error("an answer that took no time")
		}
		return err
	}
	other, fresh := c.Fresh()
	if !fresh {
		t.Fatal("no address of its own on loopback")
	}
	for name, client := range map[string]*probe.Client{"first": c, "other": other} {
		for i := range 2 {
			if err := ask(client, time.Minute); err != nil {
				t.Fatalf("%s: request %d: %v", name, i, err)
			}
		}
		if err := ask(client, 100*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: a third request did not wait: %v", name, err)
		}
	}
}
