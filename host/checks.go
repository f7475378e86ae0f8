package host

import (
	"context"
	"errors"
	"slices"
	"strings"
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

// CheckWaivers finds waivers of controls of the server that there are not.
func CheckWaivers(p *policy.Policy) error {
	var errs []error
	for i, w := range p.Waivers {
		known := func(c Control) bool { return c.ID == w.Control }
		if strings.HasPrefix(w.Control, "host/") && !slices.ContainsFunc(controls, known) {
			var ids []string
			for _, c := range controls {
				ids = append(ids, c.ID)
			}
			errs = append(errs, p.NoControl(i, ids))
		}
	}
	return errors.Join(errs...)
}
