package hostexec

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/state"
)

// A fileBefore is a file or folder as it was.
type fileBefore struct {
	Path   string      `json:"path"`
	Exists bool        `json:"exists"`
	Folder bool        `json:"folder,omitempty"`
	Mode   fs.FileMode `json:"mode,omitempty"`
	UID    int         `json:"uid"`
	GID    int         `json:"gid"`
	Backup string      `json:"backup,omitempty"` // its copy, in the apply's folder
	Link   string      `json:"link,omitempty"`   // where it led, of a link that was taken away
	Made   []string    `json:"made,omitempty"`   // folders above that were missing, the deepest first
}

// keep copies a file into the apply's folder and says how it was. A link is only ever
// taken away.
func (a *Apply) keep(path, name string, absent bool) (fileBefore, error) {
	b := fileBefore{Path: path}
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
				return b, err
			}
			b.Made = append(b.Made, dir)
		}
	}
	if err != nil {
		return b, err
	}
	if absent && fi.Mode()&fs.ModeSymlink != 0 {
		b.Exists = true
		b.Link, err = os.Readlink(path)
		return b, err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || !fi.Mode().IsRegular() && !fi.IsDir() {
		return b, fmt.Errorf("%s is neither a file nor a folder: it is left alone", path)
	}
	b.Exists, b.Folder, b.Mode, b.UID, b.GID = true, fi.IsDir(), fi.Mode(), int(st.Uid), int(st.Gid)
	if b.Folder {
		return b, nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return b, err
	}
	b.Backup = name
	if err := replace(filepath.Join(a.dir, name), content, 0o600, 0, 0); err != nil {
		return b, fmt.Errorf("back up %s: %w", path, err)
	}
	return b, nil
}

// back puts a file back as it was. What somebody changed since, which is
// neither what was there nor what we wrote, is kept aside.
func (a *Apply) back(b fileBefore, wrote string) error {
	_ = os.Remove(temporary(b.Path))
	if b.Link != "" {
		return a.linkBack(b)
	}
	if a.unchanged(b) {
		return nil // which also holds where nothing can be written
	}
	now, err := os.ReadFile(b.Path)
	switch {
	case b.Folder, err != nil:
	case b.Exists && a.same(b, now), wrote == sum(now):
	case wrote == "" && !b.Exists:
	default:
		if err := a.aside(b.Path, now); err != nil {
			return err
		}
	}
	if !b.Exists {
		if err := os.Remove(b.Path); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return err
		}
		for _, dir := range b.Made {
			_ = os.Remove(dir) // unless there is something in it now
		}
		return nil
	}
	// Somebody may have taken away the folder since, as the purge of a package does.
	folder := filepath.Dir(b.Path)
	if b.Folder {
		folder = b.Path
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if b.Folder {
		if err := os.Chown(b.Path, b.UID, b.GID); err != nil {
			return err
		}
		return os.Chmod(b.Path, b.Mode)
	}
	content, err := os.ReadFile(filepath.Join(a.dir, b.Backup))
	if err != nil {
		return err
	}
	err = replace(b.Path, content, b.Mode, b.UID, b.GID)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = state.Overwrite(b.Path, content, b.Mode, &state.Owner{UID: b.UID, GID: b.GID})
	}
	return err
}

// aside keeps a file beside the journal that is about to go, as far as there is room.
func (a *Apply) aside(path string, content []byte) error {
	err := replace(filepath.Join(a.dir, "aside"+strings.ReplaceAll(path, "/", "_")), content, 0o600, 0, 0)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
}

// clear takes away what commands left: files, which are kept aside, and folders that are
// empty then, also where systemd has moved one and left a link. What cannot be kept, or
// has something else in it, stays: it stands in nobody's way. Others write there: a
// link of theirs leads to nothing that goes.
func (a *Apply) clear() {
	for _, s := range slices.Backward(a.Steps) {
		if c := s.Change.Command; c != nil {
			for _, path := range slices.Backward(c.Leaves) {
				a.clearOne(path)
			}
		}
	}
}

func (a *Apply) clearOne(path string) {
	fi, err := os.Lstat(path)
	if err != nil {
		return
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case fi.Mode().IsRegular():
		f, err := host.Live{}.ReadFile(path)
		if err != nil || a.aside(path, []byte(f.Content)) != nil {
			return
		}
	case fi.Mode()&fs.ModeSymlink != 0 && ok && st.Uid == 0:
		if to, err := filepath.EvalSymlinks(path); err != nil || syscall.Rmdir(to) != nil {
			return
		}
	}
	_ = os.Remove(path)
}

// asideFolder copies a folder that is about to go beside the journal, once.
func (a *Apply) asideFolder(path string) error {
	to := filepath.Join(a.dir, "aside_"+strings.ReplaceAll(strings.TrimPrefix(path, "/"), "/", "_"))
	if _, err := os.Lstat(to); err == nil {
		return nil
	}
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	half := to + ".half"
	if err := os.RemoveAll(half); err != nil {
		return err
	}
	if _, err := run("cp", "-a", "--", path, half); err != nil {
		return fmt.Errorf("keep %s: %w", path, err)
	}
	return os.Rename(half, to)
}

// linkBack makes a link again, unless there is something in its place now.
func (a *Apply) linkBack(b fileBefore) error {
	switch _, err := os.Lstat(b.Path); {
	case err == nil:
		return nil
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := os.MkdirAll(filepath.Dir(b.Path), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(b.Link, b.Path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(b.Path))
}

// unchanged reports that a file or folder is as it was.
func (a *Apply) unchanged(b fileBefore) bool {
	fi, err := os.Lstat(b.Path)
	if err != nil || !b.Exists {
		return errors.Is(err, fs.ErrNotExist) && !b.Exists && len(b.Made) == 0
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok || fi.Mode() != b.Mode || int(st.Uid) != b.UID || int(st.Gid) != b.GID {
		return false
	}
	if b.Folder {
		return true
	}
	now, err := os.ReadFile(b.Path)
	return err == nil && a.same(b, now)
}

func (a *Apply) same(b fileBefore, now []byte) bool {
	old, err := os.ReadFile(filepath.Join(a.dir, b.Backup))
	return err == nil && string(old) == string(now)
}

// put makes a file as a change wants it.
func put(f *host.File) error {
	if f.Absent {
		if err := os.Remove(f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(filepath.Dir(f.Path))
	}
	uid, gid, err := owner(f.Owner)
	if err != nil {
		return err
	}
	mode := fs.FileMode(f.Mode)
	if f.Folder {
		if err := os.MkdirAll(f.Path, 0o755); err != nil {
			return err
		}
		if err := os.Chown(f.Path, uid, gid); err != nil {
			return err
		}
		if err := os.Chmod(f.Path, mode); err != nil {
			return err
		}
		return syncDir(filepath.Dir(f.Path))
	}
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	return replace(f.Path, []byte(f.Content), mode, uid, gid)
}

// temporary begins with a dot, so that no program that reads all files of a
// folder takes it for one of them. There is one for each file, so that a
// killed process leaves nothing that nobody finds.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".ringwall")
}

// replace writes a file whole or not at all, on the disk when it returns.
func replace(path string, content []byte, mode fs.FileMode, uid, gid int) error {
	tmp := temporary(path)
	_ = os.Remove(tmp)
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp) // it is gone when all went well
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Chown(uid, gid); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func owner(s string) (uid, gid int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	u, g, ok := strings.Cut(s, ":")
	if !ok {
		return 0, 0, fmt.Errorf("owner %q is not user:group", s)
	}
	if uid, err = strconv.Atoi(u); err != nil {
		known, err := user.Lookup(u)
		if err != nil {
			return 0, 0, err
		}
		if uid, err = strconv.Atoi(known.Uid); err != nil {
			return 0, 0, err
		}
	}
	if gid, err = strconv.Atoi(g); err != nil {
		known, err := user.LookupGroup(g)
		if err != nil {
			return 0, 0, err
		}
		gid, err = strconv.Atoi(known.Gid)
		return uid, gid, err
	}
	return uid, gid, nil
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// sumOf is the sum of a file, "" when there is none.
func sumOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}
