package hostexec

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/ringwall/ringwall/host"
)

// TestALinkIsTakenAwayAndMadeAgain: what a link leads to is touched by neither; and one is
// never written through, nor taken for a file.
func TestALinkIsTakenAwayAndMadeAgain(t *testing.T) {
	a, dir := &Apply{dir: t.TempDir()}, t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("somebody's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("target", link); err != nil {
		t.Fatal(err)
	}
	if b, err := a.look(host.Change{File: &host.File{Path: link, Content: "ours"}}, 1); err == nil {
		t.Errorf("a link was to be written through: %+v", b)
	}
	gone := host.Change{File: &host.File{Path: link, Absent: true}}
	b, err := a.look(gone, 2)
	if err != nil {
		t.Fatal(err)
	}
	out, err := do(gone, b)
	if _, there := os.Lstat(link); err != nil || there == nil {
		t.Fatalf("it is still there: %v", err)
	}
	step := Step{Change: gone, before: b, after: out, Done: true}
	for range 2 { // twice does no harm
		if err := a.undo(step); err != nil {
			t.Fatal(err)
		}
		if to, err := os.Readlink(link); err != nil || to != "target" {
			t.Errorf("it leads to %q: %v", to, err)
		}
	}
	if b, err := os.ReadFile(target); err != nil || string(b) != "somebody's" {
		t.Errorf("what it leads to: %q %v", b, err)
	}
	// What somebody put in its place stays.
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(link, []byte("a hand's"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := a.undo(step); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(link); err != nil || string(b) != "a hand's" {
		t.Errorf("a hand's work: %q %v", b, err)
	}
}
