package state_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/internal/disktest"
	"github.com/ringwall/ringwall/internal/state"
)

// The test of kill -9 starts this program again, as one that writes a file over
// and over.
func TestMain(m *testing.M) {
	file := os.Getenv("STATE_FILE")
	if file == "" {
		os.Exit(m.Run())
	}
	for n := byte('a'); ; n = 'a' + (n-'a'+1)%26 {
		if err := state.Replace(file, bytes.Repeat([]byte{n}, 300<<10), 0o600, nil); err != nil {
			panic(err)
		}
		if n == 'a' {
			os.Stdout.Close() // it is at work
		}
	}
}

// only wants a folder to hold these files and no other.
func only(t *testing.T, dir string, want ...string) {
	t.Helper()
	var have []string
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(want, " ") {
		t.Errorf("there are %q, want %q", have, want)
	}
}

func reads(t *testing.T, file, want string) {
	t.Helper()
	if b, err := os.ReadFile(file); err != nil || string(b) != want {
		t.Errorf("%s: %.40q, %v; want %.40q", file, b, err, want)
	}
}

// A disk that is full at any byte leaves the old file, or none, and nothing beside.
func TestReplaceDiskFull(t *testing.T) {
	if !disktest.Alone(t) {
		return
	}
	dir := t.TempDir()
	file, fresh := filepath.Join(dir, "file"), filepath.Join(dir, "new")
	if err := state.Replace(file, []byte("old"), 0o600, nil); err != nil {
		t.Fatal(err)
	}
	const text = "the new content"
	for n := range uint64(len(text)) {
		if err := disktest.Full(t, int64(n), func() error { return state.Replace(file, []byte(text), 0o600, nil) }); !errors.Is(err, syscall.EFBIG) {
			t.Fatalf("full at byte %d: %v", n, err)
		}
		if err := disktest.Full(t, int64(n), func() error { return state.Make(fresh, []byte(text), 0o600, nil) }); !errors.Is(err, syscall.EFBIG) {
			t.Fatalf("full at byte %d: %v", n, err)
		}
		reads(t, file, "old")
		only(t, dir, "file")
	}
	if err := errors.Join(state.Replace(file, []byte(text), 0o600, nil), state.Make(fresh, []byte(text), 0o640, nil)); err != nil {
		t.Fatal(err)
	}
	reads(t, file, text)
	reads(t, fresh, text)
	only(t, dir, "file", "new")
	if m := mode(t, fresh); m != 0o640 {
		t.Errorf("mode %04o", m)
	}
	if err := state.Make(fresh, []byte("other"), 0o600, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("what was there was made: %v", err)
	}
	reads(t, fresh, text)
}

// kill -9 at any moment leaves the old file or the new one, and what it leaves
// beside does not pile up.
func TestReplaceKilled(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	left := func() (n int) {
		all, _ := filepath.Glob(filepath.Join(dir, ".file*"))
		return len(all)
	}
	for round := 0; round < 200 && (round < 20 || left() == 0); round++ {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "STATE_FILE="+file)
		works, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if round%3 > 0 { // else it may not have begun
			_, _ = io.Copy(io.Discard, works)
		}
		time.Sleep(time.Duration(round%7) * time.Millisecond) // somewhere in its work
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || len(b) != 300<<10 || bytes.Count(b, b[:1]) != len(b) {
			t.Fatalf("round %d: %d bytes, %v", round, len(b), err)
		}
	}
	if left() == 0 {
		t.Fatal("it was never killed while it wrote")
	}
	notOurs := filepath.Join(dir, ".file2024")
	if err := os.WriteFile(notOurs, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := state.Replace(file, nil, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	if left() < 2 {
		t.Error("what another process may still be writing was removed")
	}
	all, _ := filepath.Glob(filepath.Join(dir, ".file*"))
	for _, f := range all {
		if err := os.Chtimes(f, time.Time{}, time.Now().Add(-2*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := state.Replace(file, nil, 0o600, nil); err != nil {
		t.Fatal(err)
	}
	only(t, dir, ".file2024", "file")
}

// A link that another user has planted leads nobody to a file that is not his.
func TestLinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target, file := filepath.Join(dir, "target"), filepath.Join(dir, "file")
	if err := os.WriteFile(target, []byte("precious"), 0o644); err != nil {
		t.Fatal(err)
	}
	plant := func(to, name string) {
		t.Helper()
		_ = os.Remove(name)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() == 0 {
			if err := os.Lchown(name, 65534, 65534); err != nil {
				t.Fatal(err)
			}
		}
	}
	plant(target, file)
	if err := state.Overwrite(file, []byte("mine"), 0o600, nil); err == nil {
		t.Error("a link was followed")
	}
	reads(t, target, "precious")
	if err := state.Make(file, []byte("mine"), 0o600, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a link is nothing: %v", err)
	}
	if err := state.Replace(file, []byte("mine"), 0o600, &state.Owner{UID: os.Geteuid(), GID: os.Getegid()}); err != nil {
		t.Fatal(err)
	}
	reads(t, target, "precious")
	reads(t, file, "mine")
	if m := mode(t, target); m != 0o644 {
		t.Errorf("the target has mode %04o", m)
	}

	made := filepath.Join(dir, "made")
	plant(made, filepath.Join(dir, "lock"))
	if unlock, err := state.Dir(dir).TryLock("lock"); err == nil {
		unlock()
		t.Error("a lock was taken through a link")
	}
	if _, err := os.Lstat(made); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file was made where the link leads")
	}

	if os.Geteuid() != 0 {
		t.Skip("only root can make a link of another user")
	}
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	plant(folder, filepath.Join(dir, "state"))
	for _, path := range []string{filepath.Join(dir, "state"), filepath.Join(dir, "state", "below")} {
		if _, err := state.Open(path); err == nil || !strings.Contains(err.Error(), "link of another user (uid 65534)") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if m := mode(t, folder); m != 0o755 {
		t.Errorf("the folder has mode %04o", m)
	}
	if err := os.Lchown(filepath.Join(dir, "state"), 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(filepath.Join(dir, "state")); err != nil { // as with DynamicUser=
		t.Error(err)
	}
}

func TestFollow(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, to := range map[string]string{"a": "b", "b": "real/../real", "out": "a/none", "loop": "loop", "up": filepath.Join(dir, "real")} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "real", "a/x": "real/x", "out": "real/none", "up/y/z": "real/y/z", "none": "none", "real": "real"} {
		if got, err := state.Follow(filepath.Join(dir, name)); err != nil || got != filepath.Join(dir, want) {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if _, err := state.Follow(filepath.Join(dir, "loop")); !errors.Is(err, syscall.ELOOP) {
		t.Error(err)
	}
}

func TestReplaceOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := state.Replace(file, nil, 0o600, &state.Owner{UID: 65534, GID: 65534}); err != nil {
		t.Fatal(err)
	}
	fi, err := os.Stat(file)
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 65534 || fi.Sys().(*syscall.Stat_t).Gid != 65534 {
		t.Errorf("%+v, %v", fi, err)
	}
}
