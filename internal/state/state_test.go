package state_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ringwall/ringwall/internal/state"
)

func TestPath(t *testing.T) {
	for _, tt := range []struct {
		name, want, err string
		env             map[string]string
	}{
		{name: "systemd first", want: "/var/lib/ringwall", env: map[string]string{
			"STATE_DIRECTORY": "/var/lib/ringwall:/var/lib/other", "RINGWALL_STATE": "/r", "HOME": "/h"}},
		{name: "systemd sorts", want: "/var/lib/ringwall/serve", env: map[string]string{"STATE_DIRECTORY": "/var/lib/ringwall/nginx:/var/lib/ringwall/serve"}},
		{name: "own variable", want: "/r", env: map[string]string{"RINGWALL_STATE": "/r/", "XDG_STATE_HOME": "/x", "HOME": "/h"}},
		{name: "xdg", want: "/x/ringwall", env: map[string]string{"XDG_STATE_HOME": "/x", "HOME": "/h"}},
		{name: "home", want: "/h/.local/state/ringwall", env: map[string]string{"HOME": "/h"}},
		{name: "nothing", err: "RINGWALL_STATE", env: nil},
		{name: "relative", err: "not an absolute path", env: map[string]string{"RINGWALL_STATE": "here"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := state.Path(func(k string) string { return tt.env[k] })
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Path = %q, %v; want %q, error with %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func open(t *testing.T) state.Dir {
	t.Helper()
	d, err := state.Open(filepath.Join(t.TempDir(), "a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return fi.Mode().Perm()
}

func TestOpenTakesAccessFromOthers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(dir); err != nil {
		t.Fatal(err)
	}
	if m := mode(t, dir); m != 0o700 {
		t.Errorf("mode %04o, want 0700", m)
	}
}

func TestWriteSetsPermissionsOfAnExistingFile(t *testing.T) {
	d := open(t)
	if err := os.WriteFile(d.Path("key"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Secret("key"); err == nil || !strings.Contains(err.Error(), "0644") {
		t.Errorf("a secret that others can read: error %v, want its mode", err)
	}
	if err := d.Write("key", []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	if m := mode(t, d.Path("key")); m != 0o600 {
		t.Errorf("mode %04o, want 0600", m)
	}
	if b, err := d.Secret("key"); err != nil || string(b) != "new" {
		t.Errorf("Secret = %q, %v", b, err)
	}
	if _, err := d.Secret("none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing secret: %v, want os.ErrNotExist", err)
	}
	left, _ := os.ReadDir(string(d))
	if len(left) != 1 {
		t.Errorf("%d files are left, want 1", len(left))
	}
}

func TestLock(t *testing.T) {
	d := open(t)
	unlock, err := d.TryLock("lock")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.TryLock("lock"); !errors.Is(err, state.ErrLocked) {
		t.Errorf("a lock that is held: %v, want ErrLocked", err)
	}
	unlock()
	unlock, err = d.Lock("lock")
	if err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	unlock()
}
