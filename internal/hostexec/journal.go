package hostexec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/ringwall/ringwall/host"
)

// Phase is how far an apply has come.
type Phase string

const (
	Applying  Phase = "applying"  // begun, and either under way or cut short; or its undoing is
	Applied   Phase = "applied"   // done, and not confirmed
	Confirmed Phase = "confirmed" // in force
	Undone    Phase = "undone"    // everything is as it was
)

// An Apply is one run of changes, as its journal tells it.
type Apply struct {
	Number int
	Phase  Phase
	Began  time.Time
	Ended  Moment // when the last change was done; zero before
	Until  time.Time
	Why    string // why it was undone
	Steps  []Step

	dir       string
	end       int64 // of the last whole line of the journal
	confirmed bool  // once, whatever became of it
}

// A Step is a change that was begun.
type Step struct {
	Change host.Change
	Done   bool
	Undone bool
	before before
	after  after
}

type event string

const (
	began     event = "began"
	starts    event = "starts"
	done      event = "done"
	applied   event = "applied"
	confirmed event = "confirmed"
	undoing   event = "undoing"
	undid     event = "undid"
	undone    event = "undone"
)

// A record is one line of a journal.
type record struct {
	Event  event        `json:"event"`
	At     time.Time    `json:"at"`
	Step   int          `json:"step,omitempty"` // from 1
	Change *host.Change `json:"change,omitempty"`
	Before *before      `json:"before,omitempty"`
	After  *after       `json:"after,omitempty"`
	Moment *Moment      `json:"moment,omitempty"`
	Until  time.Time    `json:"until,omitzero"`
	Why    string       `json:"why,omitempty"`
}

func (a *Apply) journal() string { return filepath.Join(a.dir, "journal") }

// write adds a record, on the disk when it returns. What follows the last whole
// line goes first: the rest of a record that a full disk or the end of the
// machine cut off, to which the next one must not be joined.
func (a *Apply) write(r record) error {
	r.At = time.Now().UTC()
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	b = append(b, '\n')
	f, err := os.OpenFile(a.journal(), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(a.end); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if _, err := f.WriteAt(b, a.end); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	a.end += int64(len(b))
	a.take(r)
	return nil
}

// take is what a record means.
func (a *Apply) take(r record) {
	switch r.Event {
	case began:
		a.Phase, a.Began = Applying, r.At
	case starts:
		a.Steps = append(a.Steps, Step{Change: *r.Change, before: *r.Before})
	case done:
		if s := a.step(r.Step); s != nil {
			s.Done, s.after = true, *r.After
		}
	case applied:
		a.Phase, a.Ended, a.Until = Applied, *r.Moment, r.Until
	case confirmed:
		a.Phase, a.confirmed = Confirmed, true
	case undoing: // what is half undone cannot be confirmed
		a.Phase = Applying
	case undid:
		if s := a.step(r.Step); s != nil {
			s.Undone = true
		}
	case undone:
		a.Phase, a.Why = Undone, r.Why
	}
}

func (a *Apply) step(n int) *Step {
	if n < 1 || n > len(a.Steps) {
		return nil
	}
	return &a.Steps[n-1]
}

// readApply reads a journal. Its last line may be cut off, by the end of the
// process or of the machine: then what it was to say did not happen yet.
func readApply(dir string, number int) (*Apply, error) {
	a := &Apply{Number: number, Phase: Applying, dir: dir}
	b, err := os.ReadFile(a.journal())
	if errors.Is(err, fs.ErrNotExist) {
		a.Phase = Undone // nothing was begun
		return a, nil
	}
	if err != nil {
		return nil, err
	}
	lines := bytes.SplitAfter(b, []byte("\n"))
	for i, line := range lines {
		if len(line) == 0 {
			continue
		}
		var r record
		if err := json.Unmarshal(line, &r); err != nil || r.broken() || !bytes.HasSuffix(line, []byte("\n")) {
			if i >= len(lines)-2 {
				break
			}
			return nil, fmt.Errorf("%s, line %d: %w", a.journal(), i+1,
				errors.Join(err, errors.New("the journal is damaged: put back by hand what it says was begun and not undone, from the copies beside it, and move its folder away")))
		}
		a.take(r)
		a.end += int64(len(line))
	}
	if len(a.Steps) == 0 && a.Phase == Applying && a.Began.IsZero() {
		a.Phase = Undone
	}
	return a, nil
}

func (r record) broken() bool {
	return r.Event == starts && (r.Change == nil || r.Before == nil) || r.Event == done && r.After == nil || r.Event == applied && r.Moment == nil
}

// Applies lists all runs of changes, the oldest first.
func (m *Machine) Applies() ([]*Apply, error) {
	dirs, err := m.folders()
	if err != nil {
		return nil, err
	}
	var all []*Apply
	for _, dir := range dirs {
		a, err := readApply(dir, numberOf(dir))
		if err != nil {
			return nil, err
		}
		all = append(all, a)
	}
	return all, nil
}

// folders are those of the runs, the oldest first.
func (m *Machine) folders() ([]string, error) {
	dirs, err := filepath.Glob(filepath.Join(m.dir, "applies", "[0-9][0-9][0-9][0-9]*"))
	dirs = slices.DeleteFunc(dirs, func(dir string) bool { return numberOf(dir) == 0 })
	slices.SortFunc(dirs, func(a, b string) int { return numberOf(a) - numberOf(b) })
	return dirs, err
}

// numberOf is that of a run's folder, 0 of another one.
func numberOf(dir string) int {
	n, _ := strconv.Atoi(filepath.Base(dir))
	return n
}

// undoneKept is how many runs that are undone keep their folder, for what is kept aside
// in it.
const undoneKept = 20

// prune removes the folders of all other runs that are undone: an apply that fails is
// one more each time it is tried. One that is confirmed, or may be, can be undone yet,
// and drift is told from it; of one with a damaged journal nobody knows.
func (m *Machine) prune() {
	dirs, err := m.folders()
	if err != nil {
		return
	}
	kept := 0
	for _, dir := range slices.Backward(dirs) {
		if a, err := readApply(dir, numberOf(dir)); err != nil || a.Phase != Undone {
			continue
		}
		if kept++; kept > undoneKept {
			_ = os.RemoveAll(dir) // what is left of it has no journal, or the whole, and goes the next time
		}
	}
}

// Last is the newest run that is not undone; nil is none. No older one is read: a
// journal of long ago that is damaged does not keep this one from being undone.
func (m *Machine) Last() (*Apply, error) {
	dirs, err := m.folders()
	if err != nil {
		return nil, err
	}
	for _, dir := range slices.Backward(dirs) {
		if a, err := readApply(dir, numberOf(dir)); err != nil || a.Phase != Undone {
			return a, err
		}
	}
	return nil, nil
}

// newApply makes the folder of the next run, where runs of before make room.
func (m *Machine) newApply() (*Apply, error) {
	dirs, err := m.folders()
	if err != nil {
		return nil, err
	}
	n := 1
	if len(dirs) > 0 {
		n = numberOf(dirs[len(dirs)-1]) + 1
	}
	m.prune()
	dir := filepath.Join(m.dir, "applies", fmt.Sprintf("%04d", n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for _, d := range []string{filepath.Dir(dir), m.dir} {
		if err := syncDir(d); err != nil {
			return nil, err
		}
	}
	a := &Apply{Number: n, dir: dir}
	if err := a.write(record{Event: began}); err != nil {
		return nil, err
	}
	return a, syncDir(dir)
}
