package inside_test

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/inside"
)

// TestHiddenFromRoot: with what root cannot read either, no sudo helps.
func TestHiddenFromRoot(t *testing.T) {
	files := map[string]string{"srv/a/x": "", "srv/b/.git/config": ""}
	for uid, says := range map[int]string{0: "permission denied", 1000: "sudo"} {
		m := fake{uid: uid, files: files}.machine(t)
		if err := errors.Join(os.Chmod(filepath.Join(m.Root, "srv/a"), 0), os.Chmod(m.Root, 0o755), os.Chmod(filepath.Dir(m.Root), 0o755)); err != nil {
			t.Fatal(err)
		}
		as := unix.SetfsuidRetUid
		runtime.LockOSThread()
		before, _ := as(65534) // to whom the mode matters
		for _, c := range inside.Checks(m) {
			if c.ID == "inside/key-files" || c.ID == "inside/tracked" {
				if f := c.Verify(t.Context()); f.Verdict != check.Unknown || !strings.Contains(f.Got, "1 folders cannot be read: ") || !strings.Contains(f.Got, says) || uid == 0 && strings.Contains(f.Got, "sudo") {
					t.Errorf("%s as %d: %s", c.ID, uid, f.Got)
				}
			}
		}
		_, _ = as(before)
		runtime.UnlockOSThread()
	}
}
