package host

import (
	"context"
	"errors"
	"fmt"
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
			errs = append(errs, p.Errorf(fmt.Sprintf("waivers[%d].control", i), "docs/controls.md lists the controls", "no control is called %q", w.Control))
		}
	}
	return errors.Join(errs...)
}
