package host

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/ringwall/ringwall/check"
)

// Facts is what can be seen of a server. Every method reads, and answers with
// an error that says why when it could not see: no caller may take that for an
// answer. What was read once stays as it was; NewFacts looks again.
type Facts struct {
	source Source
	*known
	seen *[]check.Exchange // what one control looked at; nil: nobody asks
}

// known is what was read already.
type known struct {
	mu    sync.Mutex
	files map[string]FileState
	said  map[string]answer
	right map[string]bool // files that a plan found as they should be
}

type answer struct {
	text string
	err  error
}

// A Source is where facts come from: Live, or a test's own.
type Source interface {
	// ReadFile reads a file or folder without following a link in its last
	// element. What is not there is no error but State.Exists false.
	ReadFile(path string) (FileState, error)

	// Glob lists the files that a pattern names, in order.
	Glob(pattern string) ([]string, error)

	// Ask runs one of the commands of the closed list of queries. The error of
	// a command that answers no has its output, and text is what it printed.
	Ask(q Query, args ...string) (text string, err error)

	// Offer asks the SSH server on an address of this machine whether it would
	// let a user in with a key, which needs no private key, and by what else.
	Offer(address, user string, key ssh.PublicKey) (Offer, error)

	// Caller is the account that became root by sudo, "" for none.
	Caller() string
}

// FileState is a file as it is.
type FileState struct {
	Exists  bool
	Content string      // "" for a folder
	Mode    fs.FileMode // with its type
	Owner   string      // user:group, numbers where they have no name
	Target  string      // where a link leads
}

// Offer is what an SSH server says before anybody has signed in.
type Offer struct {
	Accepts bool     // the key, for that user
	Methods []string // offered: publickey, password, keyboard-interactive
}

// A Query is a command that only reads. The list in queries.go is closed.
type Query string

// NewFacts looks at a server through source. Nothing is read before it is asked for.
func NewFacts(source Source) *Facts {
	return &Facts{source: source, known: &known{files: map[string]FileState{}, said: map[string]answer{}, right: map[string]bool{}}}
}

// watched is the same facts, and what is looked at through them.
func (f *Facts) watched() (*Facts, *[]check.Exchange) {
	seen := new([]check.Exchange)
	return &Facts{f.source, f.known, seen}, seen
}

// note keeps what was seen, once, as evidence.
func (f *Facts) note(e check.Exchange) {
	if f.seen != nil && !slices.Contains(*f.seen, e) {
		*f.seen = append(*f.seen, e)
	}
}

// File is a file or folder as it is; not there is no error.
func (f *Facts) File(path string) (FileState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.files[path]
	if !ok {
		var err error
		if s, err = f.source.ReadFile(path); err != nil {
			f.note(check.Exchange{Sent: "[file " + path + "]", Received: "[" + err.Error() + "]"})
			return s, err
		}
		f.files[path] = s
	}
	f.note(s.evidence(path))
	return s, nil
}

// Follow is a file that links may lead to, and what it is called.
func (f *Facts) Follow(name string) (string, FileState, error) {
	for range 10 {
		s, err := f.File(name)
		if err != nil || s.Mode.Type() != fs.ModeSymlink {
			return name, s, err
		}
		if !path.IsAbs(s.Target) {
			s.Target = path.Join(path.Dir(name), s.Target)
		}
		name = s.Target
	}
	return name, FileState{}, fmt.Errorf("%s: too many links", name)
}

func (s FileState) evidence(path string) check.Exchange {
	if s.Mode.IsRegular() && s.Exists {
		return check.File(path, s.Content)
	}
	e := check.Exchange{Sent: "[file " + path + "]", Received: "[it is not there]"}
	if s.Exists {
		e.Received = "[" + s.Mode.String() + " " + s.Owner + "]"
	}
	return e
}

// Caller is the account that became root by sudo, "" for none.
func (f *Facts) Caller() string { return f.source.Caller() }

// Glob lists the files that a pattern names.
func (f *Facts) Glob(pattern string) ([]string, error) { return f.source.Glob(pattern) }

// ask runs a query once and keeps its answer.
func (f *Facts) ask(q Query, args ...string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := string(q) + "\x00" + strings.Join(args, "\x00")
	a, ok := f.said[key]
	if !ok {
		a.text, a.err = f.source.Ask(q, args...)
		f.said[key] = a
	}
	said := a.err
	var refusal *Refusal
	if errors.As(a.err, &refusal) { // as evidence, in its own words
		said = errors.New(refusal.Raw())
	}
	f.note(check.Command(q.Argv(args...), a.text, said))
	return a.text, a.err
}

// A System is a distribution and its version, such as debian 12.
type System struct{ ID, Version string }

func (s System) String() string { return strings.TrimSpace(s.ID + " " + s.Version) }

var supported = []System{{"debian", "12"}, {"debian", "13"}, {"ubuntu", "22.04"}, {"ubuntu", "24.04"}}

// ErrUnsupported is in the error for a machine that this ring does not know.
var ErrUnsupported = errors.New("this machine is not one that Ringwall can set up")

// System reads os-release(5).
func (f *Facts) System() (System, error) {
	s, err := f.File("/etc/os-release")
	if err == nil && s.Mode.Type() == fs.ModeSymlink {
		s, err = f.File("/usr/lib/os-release")
	}
	if err != nil {
		return System{}, err
	}
	var sys System
	for line := range strings.Lines(s.Content) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch value = strings.Trim(value, `"'`); key {
		case "ID":
			sys.ID = value
		case "VERSION_ID":
			sys.Version = value
		}
	}
	return sys, nil
}

// Supported is nil on a server whose controls were tested, and otherwise an
// error that wraps ErrUnsupported.
func (f *Facts) Supported() error {
	sys, err := f.System()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	for _, s := range supported {
		if s == sys {
			return nil
		}
	}
	name := sys.String()
	if name == "" {
		name = runtime.GOOS + " without a name in /etc/os-release"
	}
	return fmt.Errorf("%w: it is %s, and known are Debian 12 and 13 and Ubuntu 22.04 and 24.04", ErrUnsupported, name)
}

// differs reports whether a file is not as it should be.
func (f *Facts) differs(want *File) (bool, error) {
	s, err := f.File(want.Path)
	if err != nil {
		return false, err
	}
	return !want.Matches(s), nil
}

// Matches reports whether a file is as it should be.
func (w *File) Matches(s FileState) bool {
	switch {
	case w.Absent || !s.Exists:
		return w.Absent && !s.Exists
	case w.Folder != s.Mode.IsDir() || !w.Folder && !s.Mode.IsRegular():
		return false
	}
	return s.Mode.Perm() == fs.FileMode(w.Mode) && s.Owner == w.owner() && (w.Folder || s.Content == w.Content)
}

func (w *File) owner() string {
	if w.Owner == "" {
		return "root:root"
	}
	return w.Owner
}

// need returns the change for a file unless it is right already. A link in its place is a
// Hint: where it leads is somebody's choice, and apply writes through none.
func (f *Facts) need(change Change) ([]Change, error) {
	if s, err := f.File(change.File.Path); err == nil && s.Exists && !change.File.Absent && !s.Mode.IsRegular() && !s.Mode.IsDir() {
		return nil, Hint(change.File.Path + " is neither a file nor a folder, and is left alone: put a file in its place, such as a copy of what the link leads to")
	}
	different, err := f.differs(change.File)
	if err != nil {
		return nil, err
	}
	if !different {
		f.mu.Lock()
		f.right[change.File.Path] = true
		f.mu.Unlock()
		return nil, nil
	}
	return []Change{change}, nil
}

// AsPlanned reports whether a plan that was made of these facts found a file as it
// should be, whoever wrote it.
func (f *Facts) AsPlanned(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.right[path]
}
