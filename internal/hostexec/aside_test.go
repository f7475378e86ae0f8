package hostexec

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/host"
)

// TestAFolderIsKeptAside: what a package's purge takes away is copied before, with
// its links, and once: a second undo does not overwrite it with less.
func TestAFolderIsKeptAside(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "nginx")
	if err := os.MkdirAll(filepath.Join(folder, "ssl"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ssl", "site.key"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("ssl/site.key", filepath.Join(folder, "link")); err != nil {
		t.Fatal(err)
	}
	a := &Apply{dir: t.TempDir()}
	if err := a.asideFolder(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(folder, "ssl")); err != nil {
		t.Fatal(err)
	}
	if err := a.asideFolder(folder); err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob(filepath.Join(a.dir, "aside_*"))
	if len(found) != 1 {
		t.Fatalf("beside the journal is %q", found)
	}
	key, err := os.ReadFile(filepath.Join(found[0], "ssl", "site.key"))
	if to, lerr := os.Readlink(filepath.Join(found[0], "link")); err != nil || string(key) != "mine" || lerr != nil || to != "ssl/site.key" {
		t.Errorf("%q %v, %q %v", key, err, to, lerr)
	}
	if err := a.asideFolder(filepath.Join(folder, "none")); err != nil {
		t.Errorf("what is not there: %v", err)
	}
}

// TestWhatACommandLeavesIsGone: files are kept aside, folders go when nothing else is in
// them, also where systemd has moved them; and nothing goes that a link of somebody's leads to.
func TestWhatACommandLeavesIsGone(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	write := func(name string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte("of the service"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"private/state", "lib", "empty", "full"} {
		if err := os.MkdirAll(at(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../private/state", at("lib/state")); err != nil {
		t.Fatal(err)
	}
	write("lib/state/bans.conf")
	write("full/other")
	write("target")
	for from, to := range map[string]string{"state/file": "../target", "state/folder": "../empty"} {
		if err := os.Symlink(to, at("private/"+from)); err != nil || os.Lchown(at("private/"+from), 4711, 4711) != nil {
			t.Skip("only root can give a link away")
		}
	}
	m := &Machine{dir: at("journals"), tell: func(string) {}}
	a, err := m.newApply()
	if err != nil {
		t.Fatal(err)
	}
	leaves := []string{at("lib/state"), at("lib/state/bans.conf"), at("lib/state/file"), at("lib/state/folder"), at("full"), at("none")}
	a.Steps = []Step{{Change: host.Change{Command: &host.Command{Argv: []string{"true"}, Leaves: leaves}}}}
	a.clear()
	for name, there := range map[string]bool{"lib/state": false, "private/state": false, "lib": true, "empty": true, "target": true, "full/other": true} {
		if _, err := os.Lstat(at(name)); (err == nil) != there {
			t.Errorf("%s is there: %v", name, err == nil)
		}
	}
	found, _ := filepath.Glob(filepath.Join(a.dir, "aside_*"))
	if len(found) != 1 || !strings.HasSuffix(found[0], "_lib_state_bans.conf") {
		t.Errorf("beside the journal is %q", found)
	}
}
