package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

// An Owner is a user and a group of the machine.
type Owner struct{ UID, GID int }

// Replace writes a file as a whole, on the disk when it returns, with exactly
// these permissions and this owner; nil: whoever writes it. Whoever reads it sees
// the old content or the new, also after a crash, the end of the machine and on a
// full disk. What is in the file's place is never followed, be it a link.
//
// A process that is killed leaves a file beside, of another name; the next Replace
// after an hour removes it.
func Replace(name string, data []byte, perm fs.FileMode, owner *Owner) error {
	f, err := pending(name, data, perm, owner)
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if err := f.CloseAtomicallyReplace(); err != nil { // syncs the file
		return err
	}
	sweep(name, time.Now().Add(-time.Hour))
	return SyncFolder(name)
}

// Overwrite is Replace where that finds no room for a second file: what it writes over
// is lost at once, and there may be half of it after a crash. A link in the file's
// place is an error.
func Overwrite(name string, data []byte, perm fs.FileMode, owner *Owner) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(int64(len(data))); err != nil { // before others may read it
		return err
	}
	return errors.Join(fill(f, data, perm, owner), f.Sync())
}

// Make is Replace for a file that must not be there: else the error is
// fs.ErrExist. It is there whole, or not at all.
func Make(name string, data []byte, perm fs.FileMode, owner *Owner) error {
	if _, err := os.Lstat(name); err == nil {
		return &fs.PathError{Op: "make", Path: name, Err: fs.ErrExist}
	}
	f, err := pending(name, data, perm, owner)
	if err != nil {
		return err
	}
	defer func() { _ = f.Cleanup() }()
	if err := f.Sync(); err != nil {
		return err
	}
	switch err := os.Link(f.Name(), name); { // does not replace, as a rename would
	case err == nil:
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.ENOSYS):
		// A file system without links: only a power cut can leave half of it.
		if err := makeUnlinked(name, data, perm, owner); err != nil {
			return err
		}
	default:
		return err
	}
	return SyncFolder(name)
}

func makeUnlinked(name string, data []byte, perm fs.FileMode, owner *Owner) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err = errors.Join(fill(f, data, perm, owner), f.Sync(), f.Close()); err != nil {
		_ = os.Remove(name)
	}
	return err
}

// pending writes a new file beside, which is not in the place of name yet. It is
// in the same folder always: another one may be of another file system, and is
// where others look for secrets.
func pending(name string, data []byte, perm fs.FileMode, owner *Owner) (*renameio.PendingFile, error) {
	f, err := renameio.NewPendingFile(name, renameio.WithTempDir(filepath.Dir(name)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return nil, err
	}
	if err := fill(f.File, data, perm, owner); err != nil {
		_ = f.Cleanup()
		return nil, err
	}
	return f, nil
}

// fill is by the open file, which nobody can replace by a link meanwhile.
func fill(f *os.File, data []byte, perm fs.FileMode, owner *Owner) error {
	if _, err := f.Write(data); err != nil {
		return err
	}
	if owner != nil {
		if err := f.Chown(owner.UID, owner.GID); err != nil {
			return err
		}
	}
	return f.Chmod(perm)
}

// sweep removes what processes that were killed while they wrote the file left
// behind before a time. It is not worth an error.
func sweep(name string, before time.Time) {
	dir, begin := filepath.Dir(name), "."+filepath.Base(name)
	d, err := os.Open(dir)
	if err != nil {
		return
	}
	defer d.Close()
	names, _ := d.Readdirnames(4096) // of a folder that is not ours alone
	for _, n := range names {
		number, ok := strings.CutPrefix(n, begin)
		if !ok || len(number) < 15 || strings.Trim(number, "0123456789") != "" {
			continue
		}
		fi, err := os.Lstat(filepath.Join(dir, n))
		if err != nil || !fi.Mode().IsRegular() || !fi.ModTime().Before(before) {
			continue
		}
		_ = os.Remove(filepath.Join(dir, n)) // unless it is another user's
	}
}

// SyncFolder has the name of a file, or that there is none, survive the end of the
// machine.
func SyncFolder(name string) error {
	d, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) { // the file system does so by itself, or cannot
		return nil
	}
	return err
}

// Follow is where a path leads, as filepath.EvalSymlinks says, but the end of it
// need not be there. A link that belongs neither to root nor to this user is an
// error: somebody may have put it there so that we write to what only we can.
func Follow(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range 40 {
		next, more, err := step(path)
		if err != nil || !more {
			return path, err
		}
		path = next
	}
	return "", fmt.Errorf("%s: %w", path, syscall.ELOOP)
}

// step follows the first link of a path; more is false when there is none.
func step(path string) (next string, more bool, err error) {
	at := "/"
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, part := range parts {
		dir := at
		at = filepath.Join(at, part)
		fi, err := os.Lstat(at)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return path, false, nil // whoever opens it says so
		}
		if err != nil {
			return "", false, err
		}
		if fi.Mode()&fs.ModeSymlink == 0 {
			continue
		}
		if uid := fi.Sys().(*syscall.Stat_t).Uid; uid != 0 && uid != uint32(os.Geteuid()) {
			return "", false, fmt.Errorf("%s is a link of another user (uid %d), and is not followed: name the place that it leads to", at, uid)
		}
		to, err := os.Readlink(at)
		if err != nil {
			return "", false, err
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		return filepath.Join(append([]string{to}, parts[i+1:]...)...), true, nil
	}
	return path, false, nil
}
