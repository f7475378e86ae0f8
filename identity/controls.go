package identity

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// A Control is one promise of the service and how the wire proves it. The
// promises are kept by the parts of this package together, and none has a switch:
// a waiver says of one that its proof is not asked for, such as where another
// program signs people in, and the service keeps it all the same.
type Control struct {
	check.Meta

	// Verify proves the control from outside, with the account of the probe.
	Verify func(context.Context, *policy.Policy, *probe.Client) check.Finding

	// Inside says how to see the control on the server, for those that no
	// answer can ever show. There is then no Verify.
	Inside string
}

// Controls lists what is proved of accounts, in the order of the proofs. Those
// that use up the attempts of an address come last.
func Controls() []Control {
	return []Control{
		keySet,
		signIn,
		refreshRotation,
		refreshTheft,
		signOut,
		administration,
		accountErrors,
		passwordStrength,
		registration,
		unknownAccount,
		signInDelay,
		passwordStorage,
		auditChain,
	}
}

// Checks binds the proofs to a target. There are none while registration is
// off: the target then keeps no accounts. Waived ones answer Waived.
func Checks(p *policy.Policy, c *probe.Client, now time.Time) []check.Check {
	if p.Identity.Registration == "off" {
		return nil
	}
	var out []check.Check
	for _, ctl := range Controls() {
		chk := check.Check{Meta: ctl.Meta, Inside: ctl.Inside}
		if ctl.Verify != nil {
			chk.Verify = func(ctx context.Context) check.Finding {
				own, _ := c.Fresh() // attempts of one proof must not delay the next
				return undisturbed(ctx, ctl, p, own)
			}
		}
		if w, ok := p.Waived(ctl.ID); ok {
			chk.Inside, chk.Most, chk.Points = "", 0, 0
			chk.Verify = func(context.Context) check.Finding {
				return check.OffUntil(w.Until, w.Reason, w.Control, w.Expired(now))
			}
		}
		out = append(out, chk)
	}
	return out
}

// undisturbed makes a proof. It fails by what the service answers: what a limit, a
// server that is busy or a proxy answered in its place tells nothing of that. The
// proof of a delay is made to meet the limit.
func undisturbed(ctx context.Context, ctl Control, p *policy.Policy, c *probe.Client) check.Finding {
	status := 0
	heard := &probe.Tally{Heard: func(_ probe.Request, res *probe.Response) {
		if res != nil && res.InItsPlace() && (res.Status != http.StatusTooManyRequests || ctl.ID != signInDelay.ID) {
			status = res.Status
		}
	}}
	f := ctl.Verify(probe.WithTally(ctx, heard), p, c)
	if f.Verdict == check.Fail && !f.Shown && status != 0 {
		return check.Unseen("a request was answered %d, by a limit or in the place of the service, which tells nothing of what that does (%s)", status, f.Got)
	}
	return f
}

// CheckWaivers finds waivers of controls of accounts that there are not.
func CheckWaivers(p *policy.Policy) error {
	var errs []error
	for i, w := range p.Waivers {
		known := func(c Control) bool { return c.ID == w.Control }
		if strings.HasPrefix(w.Control, "identity/") && !slices.ContainsFunc(Controls(), known) {
			var ids []string
			for _, c := range Controls() {
				ids = append(ids, c.ID)
			}
			errs = append(errs, p.NoControl(i, ids))
		}
	}
	return errors.Join(errs...)
}
