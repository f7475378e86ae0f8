package state_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/internal/disktest"
	"github.com/ringwall/ringwall/internal/state"
)

// On a full disk a shorter content takes the place of a longer one, with its own mode,
// in the same file.
func TestOverwriteDiskFull(t *testing.T) {
	dir := t.TempDir()
	disktest.Small(t, dir, "1m")
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("long"), 10<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	disktest.Fill(t, dir)
	text := strings.Repeat("short", 1000)
	if err := state.Replace(file, []byte(text), 0o640, nil); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("there is room for a second file: %v", err)
	}
	if err := state.Overwrite(file, []byte(text), 0o640, nil); err != nil {
		t.Fatal(err)
	}
	reads(t, file, text)
	if m := mode(t, file); m != 0o640 {
		t.Errorf("mode %04o", m)
	}
}
