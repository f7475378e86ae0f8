// Package state is the folder where Ringwall keeps what it makes itself: the
// local certificate authority, keys, the control socket. Everything in it is
// the owner's alone.
package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A Dir is a state directory that exists, with mode 0700.
type Dir string

// Path is where the state directory is: the first of $STATE_DIRECTORY (set by
// systemd), $RINGWALL_STATE, $XDG_STATE_HOME/ringwall and
// ~/.local/state/ringwall. It makes nothing. A relative folder is an error, as
// the XDG base directory specification asks.
func Path(getenv func(string) string) (string, error) {
	// systemd separates several directories by colons, in the order of their names:
	// ours is called serve, or is the first.
	first, _, _ := strings.Cut(getenv("STATE_DIRECTORY"), ":")
	for dir := range strings.SplitSeq(getenv("STATE_DIRECTORY"), ":") {
		if filepath.Base(dir) == "serve" {
			first = dir
			break
		}
	}
	for _, c := range []struct{ from, dir string }{
		{"STATE_DIRECTORY", first},
		{"RINGWALL_STATE", getenv("RINGWALL_STATE")},
		{"XDG_STATE_HOME", under(getenv("XDG_STATE_HOME"), "ringwall")},
		{"HOME", under(getenv("HOME"), ".local", "state", "ringwall")},
	} {
		if c.dir == "" {
			continue
		}
		if !filepath.IsAbs(c.dir) {
			return "", fmt.Errorf("state directory %q of $%s is not an absolute path", c.dir, c.from)
		}
		return filepath.Clean(c.dir), nil
	}
	return "", errors.New("no state directory: set RINGWALL_STATE to a folder, or StateDirectory=ringwall/serve in the systemd unit")
}

func under(base string, elem ...string) string {
	if base == "" {
		return ""
	}
	return filepath.Join(append([]string{base}, elem...)...)
}

// Open makes the state directory when it is missing and takes all access to it
// from others. It is an error when it, or a link that leads to it, belongs to
// another user.
func Open(path string) (Dir, error) {
	if _, err := Follow(path); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("state directory: %w", err)
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return "", fmt.Errorf("state directory %s belongs to another user (uid %d): set RINGWALL_STATE to a folder of your own", path, st.Uid)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		if err := os.Chmod(path, 0o700); err != nil {
			return "", fmt.Errorf("state directory: %w", err)
		}
	}
	return Dir(path), nil
}

// Path of a file in the directory.
func (d Dir) Path(name string) string { return filepath.Join(string(d), name) }

// Write is Replace of a file in the directory.
func (d Dir) Write(name string, data []byte, perm os.FileMode) error {
	if err := Replace(d.Path(name), data, perm, nil); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}

// Secret reads a file that holds a secret. It is an error when others than the
// owner can read it, since it is then no secret any more.
func (d Dir) Secret(name string) ([]byte, error) {
	fi, err := os.Stat(d.Path(name))
	if err != nil {
		return nil, err
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is readable by others (mode %04o)", d.Path(name), fi.Mode().Perm())
	}
	return os.ReadFile(d.Path(name))
}

// Lock waits for the lock of a name and returns what gives it back. The kernel
// gives it back when the process ends, however it ends.
func (d Dir) Lock(name string) (unlock func(), err error) {
	return release(d.lock(name, syscall.LOCK_EX))
}

// ErrLocked says that another process holds a lock.
var ErrLocked = errors.New("another process holds the lock")

// TryLock is Lock that does not wait: it returns ErrLocked instead.
func (d Dir) TryLock(name string) (unlock func(), err error) {
	return release(d.TryLockFile(name))
}

// TryLockFile is TryLock with the open file that holds the lock. A process that
// inherits it holds the lock as well, until the last of them has closed it.
func (d Dir) TryLockFile(name string) (*os.File, error) {
	return d.lock(name, syscall.LOCK_EX|syscall.LOCK_NB)
}

func release(f *os.File, err error) (unlock func(), _ error) {
	if err != nil {
		return nil, err
	}
	return func() { f.Close() }, nil
}

func (d Dir) lock(name string, how int) (*os.File, error) {
	// A folder may be of a user that a program of root's serves: no link of his is
	// followed.
	f, err := os.OpenFile(d.Path(name), os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock state: %w", err)
	}
	for {
		err = syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		if err == syscall.EWOULDBLOCK {
			return nil, ErrLocked
		}
		return nil, fmt.Errorf("lock state: %s: %w", d.Path(name), err)
	}
	return f, nil
}
