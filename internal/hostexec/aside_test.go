package hostexec

import (
	"os"
	"path/filepath"
	"testing"
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
