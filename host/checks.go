package host

import (
	"context"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// Checks binds every control's proof to a server. Waived ones answer Waived.
func Checks(p *policy.Policy, f *Facts, now time.Time) []check.Check {
	var out []check.Check
	for _, c := range controls {
		out = append(out, check.Check{Meta: c.Meta, Verify: func(context.Context) check.Finding { return verify(c, p, f, now) }})
	}
	return out
}
