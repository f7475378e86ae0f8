package host

import (
	"strconv"
	"strings"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

var idleShell = Control{
	Meta: check.Meta{
		ID:    "host/idle-shell",
		Title: "A shell that nobody types in ends after 15 minutes",
		Why:   "a session left open on a laptop is root to whoever sits down at it",
		Ref:   "CIS Debian 12, 5.4.3; bash(1), TMOUT; blueprint H7",
	},
	Plan: func(_ *policy.Policy, f *Facts) ([]Change, error) {
		return f.need(Change{Title: "end shells that are idle", File: &File{Path: "/etc/profile.d/ringwall-idle.sh", Mode: 0o644,
			Content: "# Written by ringwall host apply: seconds at the prompt; what runs in the shell goes on.\nTMOUT=900\nreadonly TMOUT\n"}})
	},
	Verify: func(_ *policy.Policy, f *Facts) check.Finding {
		const want, fix = "TMOUT is 1 to 900 in a login shell", "ringwall host apply; if it stays, a file in /etc/profile.d sets it before ours"
		said, err := f.ask(askIdle)
		if err != nil {
			return check.Unseen("%v", err)
		}
		_, value, ok := strings.Cut(said, "TMOUT is")
		if !ok {
			return check.Unseen("a login shell does not say: %q", said)
		}
		value = strings.TrimSpace(value)
		if n, err := strconv.Atoi(value); err != nil || n < 1 || n > 900 {
			return check.Failed("in a login shell TMOUT is "+strconv.Quote(value), want, fix)
		}
		return check.Passed("a login shell ends after %s idle seconds", value)
	},
}
