package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ringwall/ringwall/internal/state"
)

// ringMost is the longest file of a key ring that is read, in bytes. The most
// keys that a ring can hold are a third of it.
const ringMost = 64 << 10

// A KeyFileError says what is wrong with the file of a key ring and what to do.
type KeyFileError struct{ File, Reason, Fix string }

func (e *KeyFileError) Error() string {
	return "signing keys: " + e.File + " " + e.Reason + "\n  hint: " + e.Fix
}

// readRing reads the file, unless others could read or replace it.
func readRing(file string) ([]byte, error) {
	if err := judgeFolder(filepath.Dir(file)); err != nil {
		return nil, err
	}
	// O_NONBLOCK: opening a pipe must not wait for its writer.
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, &KeyFileError{file, "is a symbolic link", "name the file itself in identity.keys: the link would be replaced by the first rotation"}
	}
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, &KeyFileError{file, "is not a regular file", "name a file in identity.keys"}
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, &KeyFileError{file, fmt.Sprintf("can be read or written by others (mode %04o)", mode),
			"type `chmod 600 " + file + "`; if somebody may have read it, rotate and revoke the keys too"}
	}
	text, err := io.ReadAll(io.LimitReader(f, ringMost+1))
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if len(text) > ringMost {
		return nil, &KeyFileError{file, "is longer than 64 kB", "put a good copy of it back"}
	}
	return text, nil
}

// judgeFolder refuses a folder in which others could put another file in the
// place of ours.
func judgeFolder(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return &KeyFileError{dir, fmt.Sprintf("can be written by others (mode %04o)", mode), "type `chmod go-w " + dir + "`"}
	}
	if uid, _ := ownerOf(info); uid != 0 && os.Geteuid() != 0 && uid != os.Geteuid() {
		return &KeyFileError{dir, fmt.Sprintf("belongs to another user (uid %d)", uid), "name a file in a folder of your own in identity.keys"}
	}
	return nil
}

// lockRing waits until no other process changes the file, and makes its folder
// when it is missing. The lock is a file beside, since the ring is replaced as
// a whole.
func lockRing(file string) (unlock func(), err error) {
	dir, name := filepath.Dir(file), filepath.Base(file)+".lock"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if err := judgeFolder(dir); err != nil {
		return nil, err
	}
	unlock, err = state.Dir(dir).Lock(name)
	if err != nil {
		return nil, fmt.Errorf("signing keys: %w", err)
	}
	if err := handOver(filepath.Join(dir, name), dir); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// writeRing replaces the file as a whole: after a crash at any time the old one
// is there or the new one. The caller holds the lock.
func writeRing(file string, text []byte) error {
	dir, base := filepath.Dir(file), filepath.Base(file)
	wrap := func(err error) error { return fmt.Errorf("write the signing keys: %w", err) }
	if err := removeLeftOvers(dir, base); err != nil {
		return wrap(err)
	}
	as := file
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		as = dir
	}
	owner, err := ownerFor(as)
	if err != nil {
		return wrap(err)
	}
	if err := state.Replace(file, text, 0o600, owner); err != nil {
		return wrap(err)
	}
	return nil
}

// removeLeftOvers removes what a process that was killed while it wrote left
// behind: private keys that nobody uses.
func removeLeftOvers(dir, base string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if number, ok := strings.CutPrefix(e.Name(), "."+base); ok && strings.Trim(number, "0123456789") == "" {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// handOver gives a file that root made to the owner of another, so that a
// command that root types does not lock the server's user out.
func handOver(file, as string) error {
	owner, err := ownerFor(as)
	if err == nil && owner != nil {
		err = os.Lchown(file, owner.UID, owner.GID)
	}
	if err != nil {
		return fmt.Errorf("signing keys: %w", err)
	}
	return nil
}

// ownerFor is who a file that root makes is given to: the owner of another. nil:
// this is not root.
func ownerFor(as string) (*state.Owner, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	info, err := os.Lstat(as)
	if err != nil {
		return nil, err
	}
	uid, gid := ownerOf(info)
	return &state.Owner{UID: uid, GID: gid}, nil
}

func ownerOf(info fs.FileInfo) (uid, gid int) {
	st := info.Sys().(*syscall.Stat_t)
	return int(st.Uid), int(st.Gid)
}
