package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/check"
)

// bystanders are programs that serve no API: a secret in their environment was
// exported where everything that is started from there gets it.
var bystanders = []string{"bash", "sh", "dash", "zsh", "fish", "tmux", "tmux: server", "screen", "sshd", "cron", "su", "sudo", "login", "systemd"}

var secretVariable = regexp.MustCompile(`(?i)(SECRET|TOKEN|PASSWORD|PASSWD|API_?KEY|PRIVATE_KEY|DATABASE_URL)`)

// environment looks for secrets in the environment of programs that have no use
// for them.
var environment = Check{
	Meta: check.Meta{
		ID:    "inside/environment",
		Title: "No secret is in the environment of a program that has no use for it",
		Why:   "What a shell exports, every program that is started from it gets, and writes into its crash reports.",
		Ref:   "ASVS 5.0 V13.3.2; OWASP API8 2023; CWE-526; blueprint A9, T6, checklist 11",
		Layer: "host",
	},
	Verify: func(_ context.Context, m *Machine) check.Finding {
		var found []string
		n, hidden, why := 0, 0, errNotRoot
		for _, name := range m.glob("/proc/[0-9]*/environ") {
			pid := strings.Split(name, "/")[2]
			comm, err := os.ReadFile(m.path("/proc/" + pid + "/comm"))
			if ended(err) {
				continue
			}
			if err != nil {
				if hidden++; m.UID == 0 {
					why = err
				}
				continue
			}
			program := strings.TrimSpace(string(comm))
			if !slices.Contains(bystanders, program) {
				continue
			}
			b, err := os.ReadFile(m.path(name))
			if ended(err) {
				continue
			}
			if err != nil {
				if hidden++; m.UID == 0 {
					why = err
				}
				continue
			}
			n++
			m.note(check.Exchange{Sent: "[file " + name + ", of " + program + "]", Received: fmt.Sprintf("[%d bytes]", len(b))})
			for _, v := range bytes.Split(b, []byte{0}) {
				key, value, _ := bytes.Cut(v, []byte("="))
				if len(value) < 8 || bytes.HasPrefix(value, []byte("/")) || bytes.HasSuffix(key, []byte("_FILE")) { // a path to one is no secret
					continue
				}
				if secretVariable.Match(key) || check.Token(value) != "" {
					found = append(found, fmt.Sprintf("%.40s in %s (process %s)", key, program, pid))
				}
			}
		}
		switch {
		case len(found) > 0:
			return check.Failed(some(found), "secrets for the service alone", "have systemd hand them over (LoadCredential= in the unit), and take the export out of .profile, .bashrc or /etc/environment")
		case hidden > 0:
			return check.Unseen("%d processes are right, and %d cannot be looked into: %v", n, hidden, why)
		case m.UID != 0: // hidepid in proc(5) hides them whole
			return check.Unseen("%d processes are right, and others may be hidden: %v", n, errNotRoot)
		case n == 0:
			return check.Unseen("no process could be looked into")
		}
		return check.Passed("%d shells, sessions and schedulers, and none has a secret", n)
	},
}

// ended is what is read of a process that is no more.
func ended(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}
