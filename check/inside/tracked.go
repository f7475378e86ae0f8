package inside

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/ringwall/ringwall/check"
)

// tracked finds files with secrets that git tracks. It reads git's index itself:
// git would run what a repository's own configuration names, as root.
var tracked = Check{
	Meta: check.Meta{
		ID:    "inside/tracked",
		Title: "No file with secrets is tracked by git",
		Why:   "What was committed once is in every clone, and stays there when the file is deleted.",
		Ref:   "ASVS 5.0 V13.3.1, V13.4.1; OWASP API8 2023; CWE-540; blueprint A9, T6, checklist 11",
		Layer: "host",
	},
	Verify: func(ctx context.Context, m *Machine) check.Finding {
		var repos, found []string
		var odd error
		hidden, why, err := m.walk(ctx, func(name string, e fs.DirEntry) {
			repo := path.Dir(name)
			switch {
			case e.Name() == "HEAD" && e.Type().IsRegular() && m.bare(repo):
				repos = append(repos, repo)
				odd = fmt.Errorf("%s is bare, and what it tracks stands in its objects alone: git -C %s ls-tree -r --name-only HEAD | grep -iE 'env|key|secret'", repo, repo)
				return
			case e.Name() != ".git":
				return
			}
			repos = append(repos, repo)
			folder, err := m.gitFolder(name, e)
			var b []byte
			if err == nil {
				b, err = m.head(folder+"/index", 64<<20)
				if errors.Is(err, fs.ErrNotExist) {
					return // nothing was added yet
				}
			}
			files, ierr := indexed(b)
			if err = cmp.Or(err, ierr); err != nil {
				odd = fmt.Errorf("%s: %w", repo, err)
				return
			}
			for _, f := range files {
				if base := path.Base(f); !secretName.MatchString(base) || example.MatchString(base) {
					continue
				}
				switch secret, err := m.holdsSecret(path.Join(repo, f)); {
				case err != nil:
					odd = fmt.Errorf("%s tracks %s, which cannot be read: %w", repo, f, err)
				case secret:
					found = append(found, path.Join(repo, f))
				}
			}
		})
		switch {
		case len(found) > 0:
			return check.Failed(some(found), "no secret in any commit", "change these secrets now: they are in every clone; then git rm --cached FILE and name it in .gitignore")
		case err != nil:
			return check.Unseen("%v", err)
		case odd != nil:
			return check.Unseen("%v", odd)
		case hidden > 0:
			return check.Unseen("%d repositories are right, and %d folders cannot be read: %v", len(repos), hidden, why)
		case len(repos) == 0:
			return check.Moot("no git repository was found on this server: look where the code is, git ls-files | grep -i env")
		}
		return check.Passed("%d repositories, and none tracks a file with secrets", len(repos))
	},
}

// gitFolder is where git keeps what it knows of a repository: .git, or what that
// file names, in a second working tree or a submodule.
func (m *Machine) gitFolder(name string, e fs.DirEntry) (string, error) {
	if e.IsDir() {
		return name, nil
	}
	b, err := m.head(name, 1<<16)
	if err != nil {
		return "", err
	}
	to, ok := strings.CutPrefix(strings.TrimSpace(string(b)), "gitdir: ")
	if !ok {
		return "", errors.New(".git is no repository")
	}
	if !path.IsAbs(to) {
		to = path.Join(path.Dir(name), to)
	}
	return to, nil
}

// bare reports a repository without a working tree.
func (m *Machine) bare(folder string) bool {
	for _, part := range []string{"objects", "refs"} {
		if fi, err := os.Stat(m.path(folder + "/" + part)); err != nil || !fi.IsDir() {
			return false
		}
	}
	return path.Base(folder) != ".git" && !strings.Contains(folder, "/.git/")
}

// indexed are the files of git's index, versions 2 to 4 (gitformat-index).
func indexed(b []byte) (names []string, err error) {
	short := errors.New("git's index is cut short")
	if len(b) < 12 || string(b[:4]) != "DIRC" {
		return nil, errors.New("this is no index of git's")
	}
	version, n := binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
	if version < 2 || version > 4 {
		return nil, fmt.Errorf("git's index has version %d", version)
	}
	rest, last := b[12:], ""
	for range n {
		const fixed = 62
		if len(rest) < fixed {
			return names, short
		}
		size := fixed
		if version > 2 && rest[60]&0x40 != 0 { // extended
			size += 2
		}
		if len(rest) < size {
			return names, short
		}
		at := size
		name := ""
		if version == 4 { // how much of the last name is dropped, then what is added
			drop, more := 0, true
			for first := true; more; first = false {
				if at >= len(rest) || drop > 1<<20 {
					return names, short
				}
				if !first {
					drop++
				}
				drop = drop<<7 | int(rest[at]&0x7f)
				more = rest[at]&0x80 != 0
				at++
			}
			if drop > len(last) {
				return names, short
			}
			name = last[:len(last)-drop]
		}
		end := bytes.IndexByte(rest[at:], 0)
		if end < 0 {
			return names, short
		}
		name += string(rest[at : at+end])
		at += end + 1
		if version < 4 {
			at = (at - 1 + 8) &^ 7 // padded to 8 bytes, with one at least
			if at > len(rest) {
				return names, short
			}
		}
		names, last, rest = append(names, name), name, rest[at:]
	}
	return names, nil
}
