package host_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// TestRefusalsInOneSentence: what a command says of a machine or a user that it is
// not for is said in our words; what is not known, in its own.
func TestRefusalsInOneSentence(t *testing.T) {
	const bus = "System has not been booted with systemd as init system (PID 1). Can't operate.\nFailed to connect to bus: Host is down"
	apart := []string{"unshare", "--mount", "sh", "-c", "mount -t tmpfs -o mode=755 tmpfs /run && mkdir -m 755 /run/sshd && exec sshd \"$@\"", "sshd", "sshd", "-T"}
	for _, tt := range []struct {
		refusal host.Refusal
		want    string
	}{
		{host.Refusal{Argv: []string{"systemctl", "show", "x"}, Code: 1, Said: bus}, "systemd does not run here: look on the server itself, not in a container"},
		{host.Refusal{Argv: []string{"passwd", "-S", "-a"}, Code: 1, Said: "passwd: Permission denied.", NotRoot: true}, "only root sees it"},
		{host.Refusal{Argv: apart, Code: 1, Said: "unshare: unshare failed: Operation not permitted", NotRoot: true}, "only root sees it"},
		{host.Refusal{Argv: []string{"ufw", "status"}, Code: 1, Said: "ERROR: You need to be root to run this script", NotRoot: true}, "only root sees it"},
		{host.Refusal{Argv: []string{"nft", "list", "ruleset"}, Code: 1, Said: "Operation not permitted (you must be root)"}, "nft list ruleset: exit code 1: Operation not permitted (you must be root)"},
		{host.Refusal{Argv: apart, Code: 127, Said: "sshd: 1: exec: sshd: not found"}, "sshd is not installed"},
		{host.Refusal{Argv: apart, Code: 255, Said: "/etc/ssh/sshd_config line 3: Bad configuration option"}, "sshd -T: exit code 255: /etc/ssh/sshd_config line 3: Bad configuration option"},
	} {
		if got := tt.refusal.Error(); got != tt.want {
			t.Errorf("%q", got)
		}
	}
	// The evidence has what was typed and said.
	for _, c := range host.Checks(policy.Default(), host.NewFacts(unbooted{}), time.Now()) {
		if c.ID != "host/core-dumps" {
			continue
		}
		f := c.Verify(t.Context())
		if f.Verdict != check.Unknown || strings.Contains(f.Got, "exit code") || !strings.Contains(f.Got, "systemd does not run here") {
			t.Errorf("%+v", f)
		}
		if !strings.Contains(fmt.Sprint(f.Evidence), "not been booted") {
			t.Errorf("evidence: %v", f.Evidence)
		}
	}
}

// unbooted is a machine without systemd, of which nothing else is known.
type unbooted struct{ host.Live }

func (unbooted) Ask(q host.Query, args ...string) (string, error) {
	if argv := q.Argv(args...); len(argv) > 0 && argv[0] == "systemctl" {
		return "", &host.Refusal{Argv: argv, Code: 1, Said: "System has not been booted with systemd as init system (PID 1)."}
	}
	return "", errors.New("not asked")
}
