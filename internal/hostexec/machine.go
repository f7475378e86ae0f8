package hostexec

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Dir is where the journals and the backups are.
const Dir = "/var/lib/ringwall/host"

// A Machine is this machine, with the folder of its journals. One process at a
// time changes it.
type Machine struct {
	dir  string
	tell func(string) // progress, a line each
	lock *os.File
}

var (
	// ErrPending is in the error when a change waits for its confirmation.
	ErrPending = errors.New("the last change is not confirmed")

	// ErrCutShort is in the error when a change was begun and its process ended in
	// the middle: it can only be undone.
	ErrCutShort = errors.New("the last change was cut short")

	// ErrNothing is in the error when no change waits for its confirmation.
	ErrNothing = errors.New("nothing to confirm")

	// ErrDrift is in the error when a change would overwrite what somebody
	// changed by hand.
	ErrDrift = errors.New("changed by hand since")

	// ErrRestored is in the error when a change did not work and everything is
	// as it was.
	ErrRestored = errors.New("everything is as it was")
)

// Look opens the folder to read only. It need not be there.
func Look() *Machine { return &Machine{dir: Dir, tell: func(string) {}} }

// Open makes the folder when it is missing, and keeps every other process from
// changing the machine until Close. tell gets progress, a line each. With force,
// a process that is at it is killed: it has had its time.
func Open(tell func(string), force bool) (*Machine, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root can change the server")
	}
	if err := makeDir(Dir); err != nil {
		return nil, err
	}
	m := &Machine{dir: Dir, tell: tell}
	f, err := os.OpenFile(filepath.Join(Dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		pid := holder(f)
		if !force {
			f.Close()
			return nil, fmt.Errorf("another ringwall host is at work, process %d", pid)
		}
		if pid > 1 {
			tell(fmt.Sprintf("process %d did not end: it is killed", pid))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	sign(f)
	m.lock = f
	return m, nil
}

// sign writes who has the lock in the place of who had it, which needs no room: a full
// disk is no reason not to undo, and one that hangs can only be killed by its number.
// A wrong number is worse than none.
func sign(f *os.File) {
	if _, err := f.WriteAt(fmt.Appendf(nil, "%-16d", os.Getpid()), 0); err != nil {
		_ = f.Truncate(0)
	}
}

func holder(f *os.File) int {
	b := make([]byte, 16)
	n, _ := f.ReadAt(b, 0)
	pid, _ := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	return pid
}

// Close lets others change the machine.
func (m *Machine) Close() error { return m.lock.Close() }

// makeDir makes the folder, root's alone, and refuses one whose parents are not
// root's: what is in it is run as root.
func makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil { // services have their own folders in it
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for at := dir; at != "/"; at = filepath.Dir(at) {
		fi, err := os.Lstat(at)
		if err != nil {
			return err
		}
		st, ok := fi.Sys().(*syscall.Stat_t)
		switch {
		case !fi.IsDir():
			return fmt.Errorf("%s is not a folder: a service that keeps its state there needs one of its own, such as StateDirectory=ringwall/serve", at)
		case !ok || st.Uid != 0 || fi.Mode()&0o022 != 0:
			return fmt.Errorf("%s can be written by others than root, and what is in %s is run as root: chown root:root %s; chmod 755 %s", at, dir, at, at)
		}
	}
	return os.Chmod(dir, 0o700)
}

// need is how much room there must be before anything is changed.
const need = 64 << 20

// reserve is kept free for putting things back on a full disk.
const reserve = 2 << 20

// makeRoom sees that there is room for a change, and for undoing it.
func (m *Machine) makeRoom() error {
	for _, at := range []string{m.dir, "/etc", "/"} {
		var s syscall.Statfs_t
		if err := syscall.Statfs(at, &s); err != nil {
			return fmt.Errorf("room at %s: %w", at, err)
		}
		if free := int64(s.Bavail) * int64(s.Bsize); free < need {
			return fmt.Errorf("%s has %d MB free, and %d are wanted: apt clean, journalctl --vacuum-size=50M", at, free>>20, need>>20)
		}
	}
	f, err := os.Create(filepath.Join(m.dir, "reserve"))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, zeros{}, reserve); err != nil {
		return err
	}
	return f.Sync()
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// giveRoom gives back what makeRoom kept.
func (m *Machine) giveRoom() { _ = os.Remove(filepath.Join(m.dir, "reserve")) }

// A Moment is a time that a wrong clock cannot move: since the machine started.
type Moment struct {
	Boot  string        `json:"boot"`
	Since time.Duration `json:"since"`
}
