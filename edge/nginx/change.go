package nginx

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/google/renameio/v2"

	"github.com/ringwall/ringwall/internal/state"
)

// A Change is one file as it is to be.
type Change struct {
	Path   string
	Text   string
	Mode   fs.FileMode
	Secret bool // its content is not shown

	Remove bool   // it is to be gone instead
	Folder bool   // it is a folder
	Owner  *Owner // nil: whoever writes it
	Keep   bool   // one that is there stays as it is
}

// Owner is a user and a group of the machine.
type Owner struct{ UID, GID int }

// A changeSet writes changes and can take them back, also after the process was
// killed: what was there is in a folder of its own before anything is written.
// It is the only code of this package that changes files outside of the state
// folder.
type changeSet struct {
	folder string // of the backup
	was    []wasThere
}

// wasThere is what was at a path.
type wasThere struct {
	Path string
	Kind string      // "": nothing; file, link or folder
	Link string      // where the link led
	Copy string      // name of the copy in the backup's folder
	Mode fs.FileMode // of a file
	UID  int
	GID  int
}

const (
	manifestName = "manifest.json"
	finishedName = "finished"
)

// beginChanges copies what the changes would touch into a new folder in root.
func beginChanges(root string, changes []Change, now time.Time) (s *changeSet, err error) {
	defer func() {
		if err != nil && s != nil { // there is nothing to be put back
			_ = os.RemoveAll(s.folder)
			s = nil
		}
	}()
	s = &changeSet{folder: filepath.Join(root, now.UTC().Format("20060102T150405.000Z"))}
	if err := os.MkdirAll(s.folder, 0o700); err != nil {
		return s, fmt.Errorf("backup: %w", err)
	}
	for _, dir := range []string{root, s.folder} {
		if err := state.SyncFolder(dir); err != nil {
			return s, fmt.Errorf("backup: %w", err)
		}
	}
	for i, c := range changes {
		if c.stays() { // its owner may write it before all is put back
			continue
		}
		was, err := s.remember(c.Path, fmt.Sprintf("%02d", i))
		if err != nil {
			return s, fmt.Errorf("backup of %s: %w", c.Path, err)
		}
		s.was = append(s.was, was)
	}
	b, err := json.MarshalIndent(s.was, "", "  ")
	if err == nil {
		err = state.Replace(filepath.Join(s.folder, manifestName), b, 0o600, nil)
	}
	if err != nil {
		return s, fmt.Errorf("backup: %w", err)
	}
	return s, nil
}

func (s *changeSet) remember(path, copied string) (wasThere, error) {
	was := wasThere{Path: path}
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return was, nil
	case err != nil:
		return was, err
	case fi.IsDir():
		was.Kind = "folder"
		return was, nil
	case fi.Mode()&fs.ModeSymlink != 0:
		was.Kind = "link"
		was.Link, err = os.Readlink(path)
		return was, err
	case !fi.Mode().IsRegular():
		return was, errors.New("it is no ordinary file")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return was, err
	}
	was.Kind, was.Mode, was.Copy = "file", fi.Mode().Perm(), copied
	was.UID, was.GID = ownerOf(fi)
	return was, state.Replace(filepath.Join(s.folder, copied), b, 0o600, nil)
}

// write carries the changes out, in their order.
func (s *changeSet) write(changes []Change) error {
	for i, c := range changes {
		if err := c.write(); err != nil {
			return fmt.Errorf("write %s: %w", c.Path, err)
		}
		fault(strconv.Itoa(i + 1))
	}
	return nil
}

// stays reports whether what is there is left alone.
func (c Change) stays() bool {
	fi, err := os.Stat(c.Path)
	return c.Keep && !c.Remove && err == nil && fi.IsDir() == c.Folder
}

func (c Change) write() error {
	if c.Remove {
		if err := os.Remove(c.Path); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	if c.stays() {
		return nil
	}
	owner := c.Owner
	if os.Geteuid() != 0 {
		owner = nil
	}
	if !c.Folder {
		if err := os.MkdirAll(filepath.Dir(c.Path), 0o755); err != nil {
			return err
		}
		return state.Replace(c.Path, []byte(c.Text), c.Mode, (*state.Owner)(owner))
	}
	if err := os.MkdirAll(c.Path, c.Mode); err != nil {
		return err
	}
	if err := os.Chmod(c.Path, c.Mode); err != nil { // whatever the umask
		return err
	}
	if owner != nil {
		return os.Lchown(c.Path, owner.UID, owner.GID)
	}
	return nil
}

// undo puts back what was there, all of it, and joins what goes wrong. Until finish
// the next install does so again.
func (s *changeSet) undo() error {
	var errs []error
	for i := len(s.was) - 1; i >= 0; i-- {
		if err := s.restore(s.was[i]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.was[i].Path, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("put back from %s: %w", s.folder, err)
	}
	return nil
}

func (s *changeSet) restore(was wasThere) error {
	switch was.Kind {
	case "folder":
		return nil
	case "":
		fi, err := os.Lstat(was.Path)
		if errors.Is(err, fs.ErrNotExist) || err == nil && fi.IsDir() {
			return nil // an empty folder harms nobody, and one that is not has others' files
		}
		return os.Remove(was.Path)
	case "link":
		if now, err := os.Readlink(was.Path); err == nil && now == was.Link {
			return nil
		}
		return renameio.Symlink(was.Link, was.Path)
	}
	b, err := os.ReadFile(filepath.Join(s.folder, was.Copy))
	if err != nil {
		return err
	}
	var owner *state.Owner
	if os.Geteuid() == 0 {
		owner = &state.Owner{UID: was.UID, GID: was.GID}
	}
	err = state.Replace(was.Path, b, was.Mode, owner)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = state.Overwrite(was.Path, b, was.Mode, owner)
	}
	return err
}

// finish says that nothing is to be put back any more.
func (s *changeSet) finish() error {
	return state.Replace(filepath.Join(s.folder, finishedName), nil, 0o600, nil)
}

// kept is how many backups stay, besides the first: that of an nginx without Ringwall.
const kept = 20

// forget removes the backups that are not kept. Nothing depends on it.
func forget(root string) {
	done, err := filepath.Glob(filepath.Join(root, "*", finishedName))
	for i := 1; err == nil && i < len(done)-kept; i++ {
		_ = os.RemoveAll(filepath.Dir(done[i]))
	}
}

func ownerOf(fi fs.FileInfo) (uid, gid int) {
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return 0, 0
}

// unfinished is the newest backup in root that neither was put back nor came to
// a good end: that of an install that was killed. nil: there is none.
func unfinished(root string) (*changeSet, error) {
	folders, err := filepath.Glob(filepath.Join(root, "*", manifestName))
	if err != nil {
		return nil, err
	}
	for i := len(folders) - 1; i >= 0; i-- {
		s := &changeSet{folder: filepath.Dir(folders[i])}
		if _, err := os.Stat(filepath.Join(s.folder, finishedName)); err == nil {
			continue
		}
		b, err := os.ReadFile(folders[i])
		if err == nil {
			err = json.Unmarshal(b, &s.was)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, which says what an install that was broken off had found, cannot be read: %w: look which files beside it differ from those of nginx, put them back by hand, and move its folder away", folders[i], err)
		}
		return s, nil
	}
	return nil, nil
}
