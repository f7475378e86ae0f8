package host

import (
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

// timeServices set the clock; one is enough.
var timeServices = []string{"systemd-timesyncd.service", "chrony.service", "ntpsec.service", "ntp.service", "openntpd.service"}

var clock = Control{
	Meta: check.Meta{
		ID:    "host/time",
		Title: "The clock is right",
		Why:   "tokens, certificates, one-time codes and the order of the log all hang on it",
		Ref:   "CIS Debian 12, 2.3; systemd-timesyncd(8); blueprint H7",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		if kind, err := f.Container(); err != nil || kind != "" {
			return nil, err // it has no clock of its own
		}
		for _, name := range timeServices[1:] {
			u, err := f.Unit(name)
			switch {
			case err != nil:
				return nil, err
			case u.Running() && !u.Stays():
				return nil, Hint(name + " runs, and would not after the next start of the machine: systemctl enable " + name)
			case u.Running():
				return nil, nil // another does it, and two would fight
			}
		}
		changes, err := f.install("systemd-timesyncd")
		if err != nil {
			return nil, err
		}
		more, err := f.enable(timeServices[0])
		return append(changes, more...), err
	},
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		kind, err := f.Container()
		if err != nil {
			return check.Unseen("%v", err)
		}
		if kind != "" {
			return notOurs(kind, "the clock is that")
		}
		running, stays := "", false
		for _, name := range timeServices {
			u, err := f.Unit(name)
			if err != nil {
				return check.Unseen("%v", err)
			}
			if u.Running() {
				running, stays = name, stays || u.Stays()
			}
		}
		if running == "" {
			return check.Failed("no service sets the clock", "one of "+strings.Join(timeServices, ", "), "ringwall host apply")
		}
		if !stays {
			return check.Failed(running+" runs, and would not after the next start of the machine", "a service that sets the clock", "systemctl enable "+running)
		}
		said, err := f.ask(askTime)
		switch said = strings.TrimSpace(said); {
		case err != nil:
			return check.Unseen("%v", err)
		case said != "yes": // it takes a while after the start, and a server to ask
			return check.Unseen("%s runs, and the kernel does not call the clock synchronized yet: timedatectl", running)
		}
		return check.Passed("%s runs, and the kernel calls the clock synchronized", running)
	},
}
