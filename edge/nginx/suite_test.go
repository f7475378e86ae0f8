package nginx_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
)

// suite is the whole outside suite, as ringwall check runs it.
func (s *site) suite(c *probe.Client) []check.Check {
	return slices.DeleteFunc(slices.Concat(app.Checks(s.policy, c, time.Now()), edge.Checks(s.policy, c, time.Now())), func(c check.Check) bool { return c.Inside != "" })
}

func (s *site) find(t testing.TB, id string) check.Finding {
	t.Helper()
	checks := slices.DeleteFunc(s.suite(s.client(t)), func(c check.Check) bool { return c.ID != id })
	if len(checks) != 1 {
		t.Fatalf("there are %d checks %s", len(checks), id)
	}
	return check.Run(t.Context(), checks, check.Options{PerCheck: 50 * time.Second}).Results[0].Finding
}
