package inside

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/check"
)

// A Machine is the server, or a test's copy of one.
type Machine struct {
	Root string // of its files; "": /
	UID  int    // who looks; what others keep to themselves only 0 sees

	// Run runs a command that only reads, and returns what it prints.
	Run func(ctx context.Context, argv ...string) (string, error)

	// Open are the ports that the policy lets in, beside 80 and 443.
	Open []int

	// ACME says that the server renews its certificate itself.
	ACME bool

	Now time.Time

	seen *[]check.Exchange // what one check looked at
}

// Here is this machine.
func Here() *Machine {
	return &Machine{UID: os.Geteuid(), Run: run, Now: time.Now()}
}

func run(ctx context.Context, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second) // apt has a lot to read on a server that has a lot to do
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/nonexistent"}
	var out, errs bounded
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	switch {
	case err != nil && len(errs.b) > 0:
		err = fmt.Errorf("%w: %.200s", err, strings.TrimSpace(string(errs.b)))
	case err == nil && out.more: // what is left of it proves nothing
		err = fmt.Errorf("it prints more than %d MB", most>>20)
	}
	return string(out.b), err
}

const most = 16 << 20 // of what a command prints

// bounded keeps the first of what is written.
type bounded struct {
	b    []byte
	more bool // was written
}

func (w *bounded) Write(p []byte) (int, error) {
	keep := min(len(p), most-len(w.b))
	w.b, w.more = append(w.b, p[:keep]...), w.more || keep < len(p)
	return len(p), nil
}

func (m *Machine) path(name string) string { return filepath.Join("/", m.Root, name) }

// glob lists what a pattern names, without Root.
func (m *Machine) glob(pattern string) (out []string) {
	found, _ := filepath.Glob(m.path(pattern)) // the patterns are our own
	for _, f := range found {
		out = append(out, "/"+strings.TrimPrefix(strings.TrimPrefix(f, m.path("/")), "/"))
	}
	return out
}

var errNoFile = errors.New("that is no file")

// head reads a regular file of n bytes at most: a longer one is an error. tail reads
// the last n. Neither waits for a pipe, nor follows a link that somebody put there.
func (m *Machine) head(name string, n int64) ([]byte, error) { return m.read(name, n, false) }
func (m *Machine) tail(name string, n int64) ([]byte, error) { return m.read(name, n, true) }

func (m *Machine) read(name string, n int64, tail bool) ([]byte, error) {
	f, err := os.OpenFile(m.path(name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ENXIO) { // a socket
		return nil, fmt.Errorf("%s: %w", name, errNoFile)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: %w", name, errNoFile)
	}
	if tail && fi.Size() > n {
		if _, err := f.Seek(-n, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, n+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > n && tail: // it grew
		b = b[:n]
	case int64(len(b)) > n:
		return nil, fmt.Errorf("%s has more than %d kB", name, n>>10)
	}
	m.note(check.Exchange{Sent: "[file " + name + "]", Received: fmt.Sprintf("[%d bytes]", len(b))})
	return b, nil
}

var errNoSystemd = errors.New("systemd does not run here: look on the server itself, not in a container")

// plainly says in one sentence what commands say in theirs.
func plainly(argv []string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Errorf("%s is not installed: %w", argv[0], exec.ErrNotFound)
	case err != nil && strings.Contains(err.Error(), "not been booted with systemd"):
		return errNoSystemd
	}
	return err
}

// absent reports a file that is not there: of no other error is that known.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// homes are the folders of people, and of accounts that programs have.
func (m *Machine) homes() ([]string, error) {
	out := append(m.glob("/home/*"), "/root")
	b, err := m.head("/etc/passwd", 1<<20)
	if err != nil {
		return nil, err
	}
	for _, line := range lines(b) {
		part := strings.Split(string(line), ":")
		if len(part) > 5 && strings.HasPrefix(part[5], "/") && !slices.Contains(out, path.Clean(part[5])) {
			out = append(out, path.Clean(part[5]))
		}
	}
	return out, nil
}

// note keeps what was looked at, as evidence.
func (m *Machine) note(e check.Exchange) {
	if m.seen != nil {
		*m.seen = append(*m.seen, e)
	}
}

// roots are where people put what they serve.
var roots = []string{"/srv", "/opt", "/var/www", "/home", "/root", "/etc/ringwall"}

// dull are folders that hold others' code, or nothing of anybody's.
var dull = []string{"node_modules", ".cache", ".npm", ".cargo", ".rustup", "go", "vendor", "venv", ".venv", "site-packages", "dist", "build", "lost+found", "proc", "sys", ".vscode-server"}

const (
	deepest   = 4       // folders below a root
	mostFiles = 200_000 // looked at in all
)

// walk calls see for every file below the roots, not too deep. hidden are folders
// that could not be read, and why is the reason for the last.
func (m *Machine) walk(ctx context.Context, see func(name string, e fs.DirEntry)) (hidden int, why, err error) {
	n := 0
	for _, root := range roots {
		top := m.path(root)
		if to, err := filepath.EvalSymlinks(top); err == nil {
			top = to // a link to another disk
		}
		werr := filepath.WalkDir(top, func(full string, e fs.DirEntry, err error) error {
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case absent(err):
				return nil
			case err != nil:
				if hidden, why = hidden+1, err; m.UID != 0 {
					why = errNotRoot
				}
				return nil
			}
			if n++; n > mostFiles {
				return errors.New("there are too many files to look at all")
			}
			below := strings.TrimPrefix(full, top)
			if e.IsDir() && (slices.Contains(dull, e.Name()) && below != "" || strings.Count(below, "/") > deepest) {
				return fs.SkipDir
			}
			see(root+below, e)
			return nil
		})
		if werr != nil {
			return hidden, why, werr
		}
	}
	return hidden, why, nil
}

// lines splits without copying more than once.
func lines(b []byte) [][]byte { return bytes.Split(b, []byte("\n")) }

// some names a few of many.
func some(list []string) string {
	const few = 4
	if len(list) <= few {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:few], ", "), len(list)-few)
}
