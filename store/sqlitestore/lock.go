package sqlitestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// ErrInUse says that another process has the store open.
var ErrInUse = errors.New("another process uses the store")

// A fileLock is beside the store's file: shared by all that have it open, and
// of one alone while the schema or the whole file changes. It is a file of its
// own, since closing the database's file would drop SQLite's own locks. The
// kernel gives it back when the process ends, however it ends.
type fileLock struct{ f *os.File }

// openLock opens the lock of a store's file and takes it not yet.
func openLock(file string) (*fileLock, error) {
	f, err := makeFile(file + ".lock")
	if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(file+".lock", os.O_RDWR|syscall.O_NOFOLLOW, 0)
	}
	return &fileLock{f}, err
}

// makeFile makes a file that is not there, for the owner alone. What root makes in
// the folder of another user is that user's: else a command that root types would
// lock the server out.
func makeFile(file string) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	if err := give(f, filepath.Dir(file)); err != nil {
		f.Close()
		_ = os.Remove(file)
		return nil, err
	}
	return f, nil
}

// give makes a file the owner's alone: when root has it, that of what is at another
// path.
func give(f *os.File, like string) error {
	if err := f.Chmod(0o600); err != nil || os.Geteuid() != 0 {
		return err
	}
	fi, err := os.Stat(like)
	if err != nil {
		return err
	}
	st := fi.Sys().(*syscall.Stat_t)
	return f.Chown(int(st.Uid), int(st.Gid))
}

// claim takes a file that is going to be written, empties it, and gives it the owner
// of what is at another path. It is an error when another process is writing it; what
// one left that was killed is no matter.
func claim(file, like string) (*fileLock, error) {
	for {
		f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		l := &fileLock{f}
		if err := l.alone(); err != nil {
			l.release()
			if errors.Is(err, ErrInUse) {
				err = fmt.Errorf("another process is writing %s", file)
			}
			return nil, err
		}
		mine, err := f.Stat()
		if err == nil {
			if now, serr := os.Lstat(file); serr != nil || !os.SameFile(now, mine) {
				l.release() // the one before has ended, and removed it
				continue
			}
			if mine.Sys().(*syscall.Stat_t).Nlink > 1 { // what has another name is not ours to empty
				err = os.Remove(file)
				l.release()
				if err != nil {
					return nil, err
				}
				continue
			}
			err = f.Truncate(0)
		}
		if err == nil {
			err = give(f, like)
		}
		if err != nil {
			l.release()
			return nil, err
		}
		for _, suffix := range besides {
			_ = os.Remove(file + suffix)
		}
		return l, nil
	}
}

// lockFolder makes those that open a store in one folder take turns: of several
// that start with an empty file one makes the schema, and finds no other in its
// way. The folder itself is locked, so that no file is left for it.
func lockFolder(ctx context.Context, file string) (*fileLock, error) {
	f, err := os.Open(filepath.Dir(file))
	if err != nil {
		return nil, err
	}
	l := &fileLock{f}
	if err := l.wait(ctx, syscall.LOCK_EX); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// alone turns a shared lock into an exclusive one: ErrInUse when another process
// has one too. Then the lock may be lost, and only release is left to do.
func (l *fileLock) alone() error { return l.try(syscall.LOCK_EX) }

// share takes the lock with others; it waits for one that has it alone.
func (l *fileLock) share(ctx context.Context) error { return l.wait(ctx, syscall.LOCK_SH) }

// mayMake refuses to make a file that is missing while another process has the
// store open: it was removed from under that one, and a new one would be another.
func (l *fileLock) mayMake(file string) error {
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := l.alone(); err != nil {
		return fmt.Errorf("the file is missing, and %w: it was removed or moved away; put it back", err)
	}
	return nil
}

// release gives the lock back. The file stays: others may wait for it.
func (l *fileLock) release() { l.f.Close() }

func (l *fileLock) wait(ctx context.Context, how int) error {
	for {
		err := l.try(how)
		if !errors.Is(err, ErrInUse) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrInUse, ctx.Err())
		case <-time.After(10 * time.Millisecond): // flock cannot wait with a context
		}
	}
}

func (l *fileLock) try(how int) error {
	for {
		switch err := syscall.Flock(int(l.f.Fd()), how|syscall.LOCK_NB); err {
		case nil:
			return nil
		case syscall.EINTR:
		case syscall.EWOULDBLOCK:
			return ErrInUse
		default:
			return fmt.Errorf("lock %s: %w", l.f.Name(), err)
		}
	}
}
