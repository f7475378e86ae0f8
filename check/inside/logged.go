package inside

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"

	"github.com/ringwall/ringwall/check"
)

// loggedPassword is what a log of requests has when somebody logs bodies or
// queries.
var loggedPassword = regexp.MustCompile(`(?i)["'&?](?:password|passwd|access_token|refresh_token|client_secret|api_?key)["']?\s*[=:]\s*["']?[^\s"'&*\[<]{6,}`)

// logged looks for secrets in the last of every log.
var logged = Check{
	Meta: check.Meta{
		ID:    "inside/logged",
		Title: "No secret is in the logs",
		Why:   "Logs are copied to more places, and read by more people, than any secret should be.",
		Ref:   "ASVS 5.0 V16.2.5; OWASP API8 2023; CWE-532; blueprint A8, A9, T6, checklist 10, checklist 11",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		var found []string
		n, hidden := 0, 0
		look := func(name string, b []byte) {
			n++
			for _, line := range lines(b) {
				what := check.Token(line)
				if what == "" && loggedPassword.Match(line) {
					what = "a password or token"
				}
				if what != "" {
					found = append(found, what+" in "+name)
					return
				}
			}
		}
		for _, pattern := range []string{"/var/log/*", "/var/log/*/*.log", "/srv/*/*.log", "/opt/*/*.log", "/srv/*/logs/*", "/opt/*/logs/*"} {
			for _, name := range m.glob(pattern) {
				if strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".xz") || strings.HasSuffix(name, "tmp") {
					continue
				}
				b, err := m.tail(name, 1<<20)
				switch {
				case errors.Is(err, fs.ErrPermission):
					hidden++
				case err == nil && len(b) > 0 && !strings.ContainsRune(string(b[:min(len(b), 512)]), 0): // not wtmp and its like
					look(name, b)
				}
			}
		}
		if text, err := m.Run(ctx, "journalctl", "--no-pager", "-q", "-n", "5000", "-o", "cat"); err == nil && text != "" {
			look("the journal", []byte(text))
		}
		switch {
		case len(found) > 0:
			return check.Failed(some(found), "no secret", "take it out of what is logged (headers by allow-list, no bodies, no queries), change it, and delete these logs")
		case hidden > 0:
			return check.Unseen("%d logs are right, and %d cannot be read: %v", n, hidden, errNotRoot)
		case n == 0:
			return check.Unseen("there is no log that can be read")
		}
		return check.Passed("the last of %d logs, and no secret in them", n)
	},
}
