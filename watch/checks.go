package watch

import "github.com/ringwall/ringwall/check"

// Checks are what is promised here. None can be seen from outside, and none is
// judged, so that there is nothing to waive.
func Checks() []check.Check {
	return []check.Check{
		{
			Meta: check.Meta{
				ID:    "watch/traffic",
				Title: "Traffic and refusals far above the usual raise an event",
				Why:   "An attack that the limits hold back is still an attack, and looks like nothing in a log of single requests.",
				Ref:   "OWASP A09 2021; NIST SP 800-92; ASVS 5.0 V16.3.3; blueprint A8, T2, checklist 10",
			},
			Inside: "look in the log for what was seen: journalctl -u ringwall -o cat | grep traffic.spiked",
		},
		{
			Meta: check.Meta{
				ID:    "watch/notices",
				Title: "Signs of an attack or an outage reach a person",
				Why:   "A log that nobody reads warns nobody.",
				Ref:   "OWASP A09 2021, CWE-778; ASVS 5.0 V16.3.3; blueprint A8, H7, checklist 10",
			},
			Inside: "type `ringwall watch test`, and see the test come in",
		},
	}
}
