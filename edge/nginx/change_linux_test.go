package nginx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/disktest"
)

func content(t *testing.T, file, want string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if want == "" && errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil || string(b) != want {
		t.Errorf("%s: %.20q of %d bytes, %v; want %.20q", filepath.Base(file), b, len(b), err, want)
	}
}

// A disk that is full at any of the changes has all of them taken back, where
// there is no room for a second file either.
func TestUndoDiskFull(t *testing.T) {
	for _, at := range []int{0, 1, 2} {
		dir, root := t.TempDir(), t.TempDir()
		disktest.Small(t, dir, "256k")
		a, b, gone, made := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "gone"), filepath.Join(dir, "made")
		was := map[string]string{a: strings.Repeat("a", 20<<10), b: strings.Repeat("b", 20<<10), made: ""}
		for file, text := range was {
			if text != "" {
				if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := os.Symlink("nowhere", gone); err != nil {
			t.Fatal(err)
		}
		changes := []Change{{Path: gone, Remove: true}, {Path: a, Text: strings.Repeat("A", 40<<10), Mode: 0o644}, {Path: made, Text: "made", Mode: 0o600},
			{Path: b, Text: strings.Repeat("B", 40<<10), Mode: 0o644}}
		set, err := beginChanges(root, changes, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := set.write(changes[:at+1]); err != nil {
			t.Fatal(err)
		}
		disktest.Fill(t, dir)
		if err := set.write(changes[at+1:]); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d changes the disk is full: %v", at+1, err)
		}
		// By the next install, as if this one had been killed.
		old, err := unfinished(root)
		if err != nil || old == nil {
			t.Fatalf("%v, %v", old, err)
		}
		if err := old.undo(); err != nil {
			t.Errorf("after %d changes: %v", at+1, err)
		}
		for file, text := range was {
			content(t, file, text)
		}
		if fi, err := os.Stat(a); err != nil || fi.Mode().Perm() != 0o640 {
			t.Errorf("%v, %v", fi, err)
		}
		if to, err := os.Readlink(gone); err != nil || to != "nowhere" {
			t.Errorf("the link leads to %q: %v", to, err)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

// No backup is left of changes that could not begin, and not one of each install
// that ever was.
func TestBackupsAreBounded(t *testing.T) {
	root, dir := t.TempDir(), t.TempDir()
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	if _, err := beginChanges(root, []Change{{Path: "/dev/null"}}, now); err == nil {
		t.Fatal("a device was backed up")
	}
	if all, _ := os.ReadDir(root); len(all) != 0 {
		t.Errorf("left behind: %v", all)
	}
	var folders []string
	for i := range kept + 5 {
		set, err := beginChanges(root, []Change{{Path: filepath.Join(dir, "x"), Text: fmt.Sprint(i)}}, now.Add(time.Duration(i)*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if i != kept+4 {
			err = set.finish()
		}
		if err != nil {
			t.Fatal(err)
		}
		folders = append(folders, set.folder)
		forget(root)
	}
	var want []string
	want = append(append(want, folders[0]), folders[4:]...)
	have, _ := filepath.Glob(filepath.Join(root, "*"))
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("there are\n%v\nwant\n%v", have, want)
	}
	if set, err := unfinished(root); err != nil || set == nil || set.folder != folders[kept+4] {
		t.Errorf("%+v, %v", set, err)
	}
	for _, damage := range []string{"", "\x00\x00", "[{"} {
		if err := os.WriteFile(filepath.Join(folders[kept+4], manifestName), []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := unfinished(root); err == nil || !strings.Contains(err.Error(), folders[kept+4]) || !strings.Contains(err.Error(), "put them back by hand") {
			t.Errorf("%q: %v", damage, err)
		}
	}
}
