package hostexec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/disktest"
)

// TestUndoDiskFull: where there is no room for a second file, one is put back with its
// owner and its mode all the same.
func TestUndoDiskFull(t *testing.T) {
	dir := t.TempDir()
	disktest.Small(t, dir, "64k")
	a, file, was := &Apply{dir: t.TempDir()}, filepath.Join(dir, "file"), strings.Repeat("w", 8<<10)
	if err := errors.Join(os.WriteFile(file, []byte(was), 0o640), os.Chown(file, 1234, 1235), os.Chmod(file, 0o640)); err != nil {
		t.Fatal(err)
	}
	change := host.Change{File: &host.File{Path: file, Content: strings.Repeat("o", 16<<10), Mode: 0o604}}
	before, err := a.look(change, 1)
	if err != nil {
		t.Fatal(err)
	}
	after, err := do(change, before)
	if err != nil {
		t.Fatal(err)
	}
	disktest.Fill(t, dir)
	if err := a.undo(Step{Change: change, before: before, after: after, Done: true}); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != was {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	fi, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 1234 || st.Gid != 1235 || fi.Mode().Perm() != 0o640 {
		t.Errorf("it is of %d:%d, mode %v", st.Uid, st.Gid, fi.Mode())
	}
}

// TestAnOldJournalHoldsNothingUp: one that is damaged, of a run of long ago, keeps the
// newest from neither its end nor its undoing; what reads it says what to do.
func TestAnOldJournalHoldsNothingUp(t *testing.T) {
	m := &Machine{dir: t.TempDir(), tell: func(string) {}}
	old, err := m.newApply()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(old.journal(), []byte("x\ny\nz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Last(); err == nil || !strings.Contains(err.Error(), old.journal()) || !strings.Contains(err.Error(), "move its folder away") {
		t.Errorf("%v", err)
	}
	a, err := m.newApply()
	if err != nil || a.Number != 2 {
		t.Fatalf("%+v, %v", a, err)
	}
	if last, err := m.Last(); err != nil || last.Number != 2 {
		t.Errorf("%+v, %v", last, err)
	}
	if _, err := m.Applies(); err == nil {
		t.Error("all are read")
	}
	if err := a.write(record{Event: undone}); err != nil {
		t.Fatal(err)
	}
	if last, err := m.Last(); err == nil {
		t.Errorf("what was before is not known, and is said to be %+v", last)
	}
}
