package edge

import (
	"context"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// Checks binds every control's proof to a target. Waived ones answer Waived.
// Each proof has an address of its own where that can be had, so that what one
// of them uses up, or is banned for, is not held against the next.
func Checks(p *policy.Policy, c *probe.Client, now time.Time) []check.Check {
	var out []check.Check
	for _, ctl := range controls {
		chk := check.Check{Meta: ctl.Meta, Inside: ctl.Inside}
		if ctl.Size != nil {
			chk.Most, chk.Points = ctl.Size(p, c)
		}
		if ctl.Verify != nil && (ctl.Here == nil || ctl.Here(p, c)) {
			chk.Inside = ""
			chk.Verify = func(ctx context.Context) check.Finding {
				own, _ := c.Fresh()
				return ctl.Verify(ctx, p, own)
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
