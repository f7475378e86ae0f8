package inside

import (
	"context"
	"fmt"
	"os"
	"regexp"

	"github.com/ringwall/ringwall/check"
)

// typed are secrets on a command line.
var typed = regexp.MustCompile(`(?:^|\s)(?:mysql|mariadb|mysqldump)\b.* -p[^\s'"$-]{4,}|\bsshpass -p ?['"]?[^\s$'"]{4,}|\bcurl\b.* (?:-u|--user) ?['"]?[^\s:'"$]+:[^\s'"$]{4,}|\b(?:export |set )?[A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|API_?KEY)[A-Z0-9_]*=['"]?[^\s'"$<]{8,}|\bPGPASSWORD=['"]?[^\s'"$]{4,}`)

// history looks through what people typed.
var history = Check{
	Meta: check.Meta{
		ID:    "inside/history",
		Title: "No secret is in anybody's shell history",
		Why:   "A history outlives the day on which the secret was typed, and goes into backups.",
		Ref:   "ASVS 5.0 V13.3.2; OWASP API8 2023; CWE-532; blueprint A9, T6, checklist 11",
		Layer: "host",
	},
	Verify: func(_ context.Context, m *Machine) check.Finding {
		homes, err := m.homes()
		if err != nil {
			return check.Unseen("whose histories there are: %v", err)
		}
		var found []string
		n, hidden, why := 0, 0, errNotRoot
		for _, home := range homes {
			for _, name := range []string{".bash_history", ".zsh_history", ".local/share/fish/fish_history", ".psql_history", ".mysql_history", ".node_repl_history", ".python_history"} {
				name = home + "/" + name
				if to, err := os.Readlink(m.path(name)); err == nil && to == "/dev/null" {
					continue // none is kept
				}
				b, err := m.head(name, 64<<20)
				if absent(err) {
					continue
				}
				if err != nil {
					if hidden++; m.UID == 0 {
						why = err
					}
					continue
				}
				n++
				for i, line := range lines(b) {
					what := check.Token(line)
					if what == "" && typed.Match(line) {
						what = "a secret"
					}
					if what != "" {
						found = append(found, fmt.Sprintf("%s in %s, line %d", what, name, i+1))
					}
				}
			}
		}
		if n == 0 {
			m.note(check.Exchange{Sent: "[histories in " + some(homes) + "]", Received: "[none]"})
		}
		switch {
		case len(found) > 0:
			return check.Failed(some(found), "no secret", "change these secrets; delete the lines (history -d N, then history -w); begin such commands with a space, with HISTCONTROL=ignorespace, or read the secret from a file")
		case hidden > 0:
			return check.Unseen("%d histories are right, and %d cannot be read: %v", n, hidden, why)
		case m.UID != 0:
			return check.Unseen("%d histories are right, and others may be hidden: %v", n, errNotRoot)
		case n == 0:
			return check.Moot("nobody keeps a history of a shell or a database here: look where people work on the data")
		}
		return check.Passed("%d histories, and no secret in them", n)
	},
}
