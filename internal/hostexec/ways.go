package hostexec

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringwall/ringwall/host"
)

// KeepWaysIn keeps the ways in that the owner confirms, for host/accounts to
// compare with, and returns those that were not known before. What was not seen is
// none.
func (m *Machine) KeepWaysIn(ways []string) (more []string, err error) {
	path := m.waysIn()
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	ways = slices.DeleteFunc(slices.Clone(ways), func(w string) bool { return strings.HasPrefix(w, host.Unseen) })
	text := strings.Join(ways, "\n") + "\n"
	if text == string(old) {
		return nil, nil
	}
	return host.NewWays(string(old), ways), replace(path, []byte(text), 0o600, 0, 0)
}

// forgetWaysIn is for a server that goes back to what nobody has confirmed.
func (m *Machine) forgetWaysIn() error {
	if err := os.Remove(m.waysIn()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (m *Machine) waysIn() string { return filepath.Join(m.dir, filepath.Base(host.WaysInFile)) }
