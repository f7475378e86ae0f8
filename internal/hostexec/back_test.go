package hostexec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringwall/ringwall/host"
)

// TestAProcessThatHangs has the timer end after all, so that it is killed and everything
// is put back.
func TestAProcessThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var set atomic.Int64
		stop := heartbeat(5*time.Minute, func() error { set.Store(int64(time.Since(began))); return nil })
		time.Sleep(50 * time.Minute)
		if last := time.Duration(set.Load()); last < 45*time.Minute {
			t.Errorf("the timer was last set after %v of work", last)
		}
		time.Sleep(5 * time.Hour)
		stop()
		if last := time.Duration(set.Load()); last > atWork+5*time.Minute {
			t.Errorf("the timer was set after %v", last)
		}
	})
}

// TestTheHolderOfTheLock: its number takes the place of a longer one.
func TestTheHolderOfTheLock(t *testing.T) {
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("1234567890123"); err != nil {
		t.Fatal(err)
	}
	if sign(f); holder(f) != os.Getpid() {
		t.Errorf("%d, and not %d", holder(f), os.Getpid())
	}
}

// TestTheFolderIsGone: what was in a folder that somebody took away since goes back, and
// the folder with it.
func TestTheFolderIsGone(t *testing.T) {
	for name, change := range map[string]host.Change{
		"file":        {File: &host.File{Path: "etc/site/file", Content: "ours", Mode: 0o600}},
		"folder":      {File: &host.File{Path: "etc/site", Folder: true, Mode: 0o700}},
		"link":        {File: &host.File{Path: "etc/site/link", Absent: true}},
		"of commands": {Command: &host.Command{Argv: []string{"true"}, Files: []string{"etc/site/file"}}},
	} {
		a, dir := &Apply{dir: t.TempDir()}, t.TempDir()
		site := filepath.Join(dir, "etc/site")
		if err := errors.Join(os.MkdirAll(site, 0o755), os.WriteFile(filepath.Join(site, "file"), []byte("before"), 0o644), os.Symlink("file", filepath.Join(site, "link"))); err != nil {
			t.Fatal(err)
		}
		path := ""
		if f := change.File; f != nil {
			f.Path = filepath.Join(dir, f.Path)
			f.Owner = owners(t, site)
			path = f.Path
		} else {
			path = filepath.Join(dir, change.Command.Files[0])
			change.Command.Files[0] = path
		}
		b, err := a.look(change, 1)
		if err != nil {
			t.Fatal(err)
		}
		out, err := do(change, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "etc")); err != nil {
			t.Fatal(err)
		}
		if err := a.undo(Step{Change: change, before: b, after: out, Done: true}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if fi, err := os.Lstat(path); err != nil || fi.IsDir() && fi.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// owners is whose a file is, in numbers.
func owners(t *testing.T, path string) string {
	t.Helper()
	f, err := host.Live{}.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f.Owner
}

// TestTheProgramIsGone: what undid a command went with its package, and so did what it undid.
func TestTheProgramIsGone(t *testing.T) {
	a := &Apply{dir: t.TempDir()}
	undo := func(argv ...string) error {
		return a.undo(Step{Change: host.Change{Command: &host.Command{Argv: []string{"true"}, Undo: argv}}, Done: true})
	}
	if err := undo("a-firewall-that-nobody-has", "reload"); err != nil {
		t.Error(err)
	}
	if err := undo("false"); err == nil {
		t.Error("it failed, and nobody says so")
	}
	if err := undo("/bin/false"); err == nil {
		t.Error("it failed, and nobody says so")
	}
}

// TestAPackageThatCannotBeSetUp goes all the same; one that apt may still be at is tried again.
func TestAPackageThatCannotBeSetUp(t *testing.T) {
	for name, tt := range map[string]struct {
		there, purged, want string
		done                bool
	}{
		"half":    {"installed old\nhalf-configured new\n", "dpkg --purge new", "", false},
		"nothing": {"installed old\n", "", "it is locked", false},
		"done":    {"installed old\nhalf-configured new\n", "dpkg --purge new", "", true},
	} {
		purged := ""
		run := func(argv ...string) (string, error) {
			switch line := strings.Join(argv, " "); {
			case argv[0] == "dpkg-query":
				return tt.there, nil
			case strings.HasPrefix(line, "dpkg --configure -a"):
				return "", errors.New("it is locked")
			default:
				purged = line
				return "", nil
			}
		}
		s := Step{Change: host.Change{Package: &host.Package{Names: []string{"new"}}}, before: before{Installed: []string{"old"}}, Done: tt.done}
		if tt.done {
			s.after.New = []string{"new"}
		}
		err := (&Apply{dir: t.TempDir()}).uninstall(run, s)
		if purged != tt.purged || (err == nil) != (tt.want == "") {
			t.Errorf("%s: %q %v", name, purged, err)
		}
	}
}
