package inside

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
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
		n, hidden, why := 0, 0, errNotRoot
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
				file, err := m.rootsLink(name)
				var b []byte
				if err == nil {
					b, err = m.tail(file, 1<<20)
				}
				switch {
				case absent(err), errors.Is(err, errNoFile): // it went away; a folder, a socket
				case err != nil:
					if hidden++; m.UID == 0 {
						why = err
					}
				case len(b) > 0 && !strings.ContainsRune(string(b[:min(len(b), 512)]), 0): // not wtmp and its like
					look(name, b)
				}
			}
		}
		// Of others' messages, who is not root reads some or none.
		text, err := m.Run(ctx, "journalctl", "--no-pager", "-q", "-n", "5000", "-o", "cat")
		if err == nil && text == "" {
			err = errors.New("it is empty")
		}
		if err == nil {
			look("the journal", []byte(text))
		}
		switch {
		case len(found) > 0:
			return check.Failed(some(found), "no secret", "take it out of what is logged (headers by allow-list, no bodies, no queries), change it, and delete these logs")
		case hidden > 0:
			return check.Unseen("%d logs are right, and %d cannot be read: %v", n, hidden, why)
		case m.UID != 0:
			return check.Unseen("%d logs are right, and others may be hidden: %v", n, errNotRoot)
		case err != nil:
			return check.Unseen("%d logs are right, and the journal cannot be read: %v", n, err)
		}
		return check.Passed("the last of %d logs, and no secret in them", n)
	},
}

// rootsLink is the file that a link names which root made; others' stay what they are.
func (m *Machine) rootsLink(name string) (string, error) {
	fi, err := os.Lstat(m.path(name))
	if err != nil || fi.Mode()&fs.ModeSymlink == 0 || uidOf(fi) != m.root() {
		return name, err
	}
	to, err := filepath.EvalSymlinks(m.path(name))
	return "/" + strings.TrimPrefix(strings.TrimPrefix(to, m.path("/")), "/"), err
}
