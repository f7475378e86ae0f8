package hostexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/disktest"
)

// TestJournalCutOff cuts a journal at every byte, as the end of a machine does:
// it is always read, and never tells more than was written.
func TestJournalCutOff(t *testing.T) {
	m := &Machine{dir: t.TempDir(), tell: func(string) {}}
	a, err := m.newApply()
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []record{
		{Event: starts, Step: 1, Change: &host.Change{Title: "one", Command: &host.Command{Argv: []string{"true"}}}, Before: &before{}},
		{Event: done, Step: 1, After: &after{}},
		{Event: starts, Step: 2, Change: &host.Change{Title: "two", File: &host.File{Path: "/x"}}, Before: &before{}},
		{Event: done, Step: 2, After: &after{}},
		{Event: applied, Moment: &Moment{Boot: "b", Since: time.Hour}},
		{Event: confirmed},
	} {
		if err := a.write(r); err != nil {
			t.Fatal(err)
		}
	}
	whole, err := os.ReadFile(a.journal())
	if err != nil {
		t.Fatal(err)
	}
	phases := map[Phase]bool{}
	last, in := 0, t.TempDir()
	for n := range len(whole) + 1 {
		dir := filepath.Join(in, fmt.Sprintf("%04d", n))
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "journal"), whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := readApply(dir, 1)
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		if len(got.Steps) < last || len(got.Steps) > 2 {
			t.Fatalf("cut at %d: %d steps", n, len(got.Steps))
		}
		if got.Phase == Confirmed && n < len(whole)-1 {
			t.Fatalf("cut at %d: it is confirmed", n)
		}
		last = len(got.Steps)
		phases[got.Phase] = true

		// What is written after the cut is read again. Each waits for the disk,
		// so that not all are tried.
		if n%7 != 0 {
			continue
		}
		if err := got.write(record{Event: undone, Why: "cut"}); err != nil {
			t.Fatal(err)
		}
		again, err := readApply(dir, 1)
		if err != nil || again.Phase != Undone || again.Why != "cut" || len(again.Steps) != len(got.Steps) {
			t.Fatalf("cut at %d, and gone on with: %v, %+v", n, err, again)
		}
	}
	for _, p := range []Phase{Undone, Applying, Applied, Confirmed} {
		if !phases[p] {
			t.Errorf("it never was %s", p)
		}
	}
	// In its middle, a line that cannot be read is damage.
	if err := os.WriteFile(a.journal(), []byte(strings.Replace(string(whole), `"starts"`, `"st`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readApply(a.dir, 1); err == nil {
		t.Error("a damaged journal is read")
	}
}

// TestJournalDiskFull: of a record that the disk had no room for, a part may be
// in the journal; the process that wrote it goes on all the same.
func TestJournalDiskFull(t *testing.T) {
	if !disktest.Alone(t) {
		return
	}
	m := &Machine{dir: t.TempDir(), tell: func(string) {}}
	a, err := m.newApply()
	if err != nil {
		t.Fatal(err)
	}
	err = disktest.Full(t, a.end+20, func() error {
		return a.write(record{Event: undone, Why: "there is no room for all of this"})
	})
	if !errors.Is(err, syscall.EFBIG) || a.Phase != Applying {
		t.Fatalf("%v, %s", err, a.Phase)
	}
	if fi, err := os.Stat(a.journal()); err != nil || fi.Size() != a.end+20 {
		t.Fatalf("no part of it was written: %v", err)
	}
	for range 2 {
		if err := a.write(record{Event: undone}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := readApply(a.dir, 1); err != nil || got.Phase != Undone {
		t.Errorf("%v, %+v", err, got)
	}
}

// TestConfirm: only a session that began after the change counts, and what was
// cut short or is confirmed cannot be.
func TestConfirm(t *testing.T) {
	end := Moment{Boot: "b", Since: time.Hour}
	for _, tt := range []struct {
		name    string
		records []record
		session *Moment
		want    string
	}{
		{"nothing", nil, nil, "nothing to confirm"},
		{"cut short", []record{}, nil, "cut short"},
		{"before", []record{{Event: applied, Moment: &end}}, &Moment{"b", time.Hour - time.Second}, "began 1s before"},
		{"at the same moment", []record{{Event: applied, Moment: &end}}, &Moment{"b", time.Hour}, "began 0s before"},
		{"again", []record{{Event: applied, Moment: &end}, {Event: confirmed}}, nil, "confirmed already"},
		{"undone", []record{{Event: applied, Moment: &end}, {Event: undone}}, nil, "nothing to confirm"},
		{"half undone", []record{{Event: applied, Moment: &end}, {Event: undoing}}, nil, "cut short"},
		{"half undone after it was confirmed", []record{{Event: applied, Moment: &end}, {Event: confirmed}, {Event: undoing}}, nil, "cut short"},
	} {
		m := &Machine{dir: t.TempDir(), tell: func(string) {}}
		if tt.records != nil {
			a, err := m.newApply()
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range tt.records {
				if err := a.write(r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := m.Confirm(tt.session); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestSession: this test does not run in an SSH session that began in the
// future, whatever it runs in.
func TestSession(t *testing.T) {
	now, err := Now()
	if err != nil {
		t.Skip(err)
	}
	if s, err := Session(os.Getpid()); err == nil && s.Since > now.Since || err != nil && !errors.Is(err, ErrNoSession) {
		t.Errorf("%v, %v", s, err)
	}
	q, err := proc("/proc").process(os.Getpid())
	if err != nil || q.parent != os.Getppid() || q.since <= 0 || q.since > now.Since+time.Second || !strings.HasPrefix("hostexec.test", q.name) {
		t.Errorf("%+v, %v", q, err)
	}
}

// TestUndoneRunsAreFew: folders of runs that are undone go, the oldest first, and with them
// nothing that a link in them leads to. None goes of a run that can be undone, or confirmed,
// or of which nobody knows.
func TestUndoneRunsAreFew(t *testing.T) {
	m := &Machine{dir: t.TempDir(), tell: func(string) {}}
	mine := filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(mine, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(m.dir, "applies", "0001.mine"), 0o700); err != nil {
		t.Fatal(err)
	}
	const runs, kept = 40, 20
	for n := range runs {
		a, err := m.newApply()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(mine, filepath.Join(a.dir, "aside_mine")); err != nil {
			t.Fatal(err)
		}
		var records []record
		switch n + 1 {
		case 2:
			records = []record{{Event: applied, Moment: &Moment{}}, {Event: confirmed}}
		case 3:
			if err := os.WriteFile(a.journal(), []byte("x\ny\nz\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		case 4:
			records = []record{{Event: applied, Moment: &Moment{}}, {Event: confirmed}, {Event: undoing}}
		case runs:
			records = []record{{Event: applied, Moment: &Moment{}}}
		default:
			records = []record{{Event: undone}}
		}
		for _, r := range records {
			if err := a.write(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	dirs, err := m.folders()
	if err != nil || len(dirs) != kept+4 {
		t.Fatalf("%d are left: %q, %v", len(dirs), dirs, err)
	}
	for i, want := range []int{2, 3, 4, runs - kept} {
		if numberOf(dirs[i]) != want {
			t.Errorf("%s is left in the place of %d", dirs[i], want)
		}
	}
	if last, err := m.Last(); err != nil || last.Number != runs || last.Phase != Applied {
		t.Errorf("%+v, %v", last, err)
	}
	for _, name := range []string{mine, filepath.Join(m.dir, "applies", "0001.mine")} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

// TestManyRuns: the number of a run has as many digits as it needs, and is the newest.
func TestManyRuns(t *testing.T) {
	m := &Machine{dir: t.TempDir(), tell: func(string) {}}
	if err := os.MkdirAll(filepath.Join(m.dir, "applies", "9999"), 0o700); err != nil {
		t.Fatal(err)
	}
	for want := 10000; want < 10002; want++ {
		a, err := m.newApply()
		if err != nil || a.Number != want {
			t.Fatalf("%+v, %v", a, err)
		}
		if last, err := m.Last(); err != nil || last == nil || last.Number != want {
			t.Errorf("%+v, %v", last, err)
		}
	}
}
