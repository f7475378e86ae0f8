package hostexec

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

// jails are those that host/fail2ban sets up.
var jails = []string{"sshd", "recidive"}

// brief is how long a command may take that only asks a service: one that hangs is no
// reason to wait.
const brief = 10 * time.Second

// spare has nothing on this server ban the address that the owner comes from while
// his time to confirm runs: who tries a new way in, and fails a few times, would be
// shut out by what was just set up. fail2ban and the edge are told, and their settings
// stay the policy's. What does not work is told, and no reason to undo everything.
func (m *Machine) spare(run runner, p *policy.Policy, from netip.Addr, window time.Duration) {
	if !from.IsValid() || from.IsLoopback() || host.Spares(p, from) {
		return
	}
	tell := func(who string, err error) {
		if err != nil {
			m.tell(fmt.Sprintf("  %s may ban you, at %s, before you confirm: %v", who, from, err))
		}
	}
	if _, waived := p.Waived("host/fail2ban"); !waived {
		err := replace(m.spared(), []byte(from.String()+"\n"), 0o600, 0, 0)
		for _, jail := range jails {
			if err == nil {
				_, err := run("fail2ban-client", "set", jail, "addignoreip", from.String())
				tell("fail2ban's jail "+jail, err)
			}
		}
		tell("fail2ban", err)
	}
	if _, err := run("systemctl", "is-active", "--", "ringwall.service"); err == nil {
		out, err := run("systemctl", "show", "--property=Environment", "--value", "--", "ringwall.service")
		state := "RINGWALL_STATE=/var/lib/ringwall/serve"
		for word := range strings.FieldsSeq(out) {
			if strings.HasPrefix(word, "RINGWALL_STATE=") {
				state = word
			}
		}
		if err == nil {
			_, err = run("env", state, filepath.Join(m.dir, "ringwall"), "ban", "spare", from.String(), "--for", (window + time.Minute).String())
		}
		tell("Ringwall", err)
	}
}

// unspare has fail2ban count that address like any other's again; the edge does it by
// itself, as the time that it was told ends.
func (m *Machine) unspare(run runner) {
	b, err := os.ReadFile(m.spared())
	if err != nil {
		return
	}
	_ = os.Remove(m.spared()) // what is spared after this fails host/fail2ban
	from, err := netip.ParseAddr(strings.TrimSpace(string(b)))
	if err != nil {
		return // a half-written one: nobody was spared yet
	}
	for _, jail := range jails {
		_, err := run("fail2ban-client", "set", jail, "delignoreip", from.String())
		if err == nil {
			continue
		}
		// One that was stopped, reloaded or taken away has forgotten it.
		said, unseen := run("fail2ban-client", "get", jail, "ignoreip")
		_, off := run("systemctl", "is-active", "--", "fail2ban.service")
		switch {
		case off != nil || strings.Contains(said, "does not exist"):
		case unseen != nil:
			m.tell(fmt.Sprintf("fail2ban's jail %s may still spare %s: systemctl restart fail2ban (%v)", jail, from, err))
		case slices.Contains(strings.Fields(said), from.String()):
			m.tell(fmt.Sprintf("fail2ban's jail %s still spares %s: systemctl restart fail2ban (%v)", jail, from, err))
		}
	}
}

func (m *Machine) spared() string { return filepath.Join(m.dir, filepath.Base(host.SparedFile)) }
