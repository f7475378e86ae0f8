package state_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringwall/ringwall/internal/state"
)

func TestChmodSocket(t *testing.T) {
	dir := t.TempDir()
	path, target := filepath.Join(dir, "s"), filepath.Join(dir, "target")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := state.ChmodSocket(path, 0o606); err != nil || mode(t, path) != 0o606 {
		t.Errorf("mode %04o, %v", mode(t, path), err)
	}
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, target} {
		if err := state.ChmodSocket(path, 0o666); err == nil || mode(t, target) != 0o600 {
			t.Errorf("%s: mode %04o, %v", path, mode(t, target), err)
		}
	}
	toSocket := filepath.Join(dir, "to-socket")
	if err := os.Symlink(path, toSocket); err != nil {
		t.Fatal(err)
	}
	if err := state.ChmodSocket(toSocket, 0o666); err == nil || mode(t, path) != 0o606 {
		t.Errorf("mode %04o, %v", mode(t, path), err)
	}
}
