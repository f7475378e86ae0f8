package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/ringwall/ringwall/check"
)

var errNotRoot = errors.New("only root sees it: sudo ringwall check --inside")

// secretName are files that hold secrets by their name. What they hold decides.
var secretName = regexp.MustCompile(`^(\.env(\..+)?|.*\.env|.*\.(key|pem|p12|pfx)|id_(rsa|ed25519|ecdsa)|.*_key|credentials(\.json)?|\.pgpass|\.netrc|\.my\.cnf|secrets?\.(ya?ml|json|toml))$`)

var example = regexp.MustCompile(`(?i)(example|sample|template|dist)`)

// envSecret is a line that gives a secret a value that is none of an example.
var envSecret = regexp.MustCompile(`(?mi)^(?:export )?[A-Z0-9_]*(?:SECRET|TOKEN|PASSWORD|PASSWD|PRIVATE|API_?KEY|DATABASE_URL)[A-Z0-9_]*\s*[=:]\s*['"]?[^\s'"<$]{8,}`)

// keyFiles finds files with secrets that others than their owner can read.
var keyFiles = Check{
	Meta: check.Meta{
		ID:    "inside/key-files",
		Title: "Files with secrets are readable by their owner alone",
		Why:   "Any program on the server, the one that was broken into too, reads what everybody may read.",
		Ref:   "ASVS 5.0 V13.3.2; CIS Controls v8 3.3; CWE-732; blueprint A9, T6, T9, checklist 11",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		var open []string
		n, unread := 0, 0
		var odd error
		hidden, why, err := m.walk(ctx, func(name string, e fs.DirEntry) {
			if e.IsDir() || !secretName.MatchString(e.Name()) || example.MatchString(e.Name()) {
				return
			}
			file, fi, err := m.names(name) // of a link, what it names
			if absent(err) || err == nil && !fi.Mode().IsRegular() {
				return
			}
			secret := false
			if err == nil {
				secret, err = m.holdsSecret(file)
			}
			switch {
			case err != nil && fi != nil && fi.Mode().Perm()&0o077 == 0: // whatever it holds
			case err != nil:
				unread++
				odd = err
			case secret:
				n++
				if fi.Mode().Perm()&0o077 != 0 && !m.shut(path.Dir(file)) {
					open = append(open, fmt.Sprintf("%s (%04o)", name, fi.Mode().Perm()))
				}
			}
		})
		switch {
		case len(open) > 0:
			return check.Failed(some(open), "mode 0600, or 0640 for a group of the service's own in a folder of 0750", "chmod 600 each of them; then change the secrets that others may have read")
		case err != nil:
			return check.Unseen("%d files with secrets are right, but: %v", n, err)
		case hidden > 0:
			return check.Unseen("%d files with secrets are right, and %d folders cannot be read: %v", n, hidden, why)
		case unread > 0:
			return check.Unseen("%d files with secrets are right, and %d that may hold some cannot be read: %v", n, unread, odd)
		case n == 0:
			return check.Moot("no file with secrets was found below %s", strings.Join(roots, ", "))
		}
		return check.Passed("%d files with secrets, each its owner's alone", n)
	},
}

func (m *Machine) holdsSecret(name string) (bool, error) {
	b, err := m.head(name, 8<<20)
	return check.Token(b) != "" || envSecret.Match(b) || bytes.Contains(b, []byte("BEGIN OPENSSH PRIVATE KEY")) || strings.HasSuffix(name, "/.pgpass") && len(b) > 0, err
}

// names is the file that a link leads to, or the file itself.
func (m *Machine) names(link string) (string, fs.FileInfo, error) {
	full, err := filepath.EvalSymlinks(m.path(link))
	if err != nil {
		return link, nil, err
	}
	fi, err := os.Stat(full)
	return "/" + strings.TrimPrefix(strings.TrimPrefix(full, m.path("/")), "/"), fi, err
}

// shut reports whether a folder above keeps others out.
func (m *Machine) shut(dir string) bool {
	for ; dir != "/" && dir != "."; dir = path.Dir(dir) {
		if fi, err := os.Stat(m.path(dir)); err == nil && fi.Mode().Perm()&0o007 == 0 {
			return true
		}
	}
	return false
}
