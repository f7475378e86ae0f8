package app

import (
	"time"

	"github.com/ringwall/ringwall/policy"
)

// ConstantHeaders are those that every answer of the ring has under p, whatever
// is asked for: for answers that must be given where there is no ring. secure
// tells answers over HTTPS.
func ConstantHeaders(p *policy.Policy, secure bool, now time.Time) map[string]string {
	out := map[string]string{}
	for _, c := range controls {
		if c.Static == nil || !inForce(p, c, now) {
			continue
		}
		for name, v := range c.Static(p) {
			out[name] = v
		}
	}
	if secure && inForce(p, hsts, now) {
		out["Strict-Transport-Security"] = hstsValue(p)
	}
	return out
}
