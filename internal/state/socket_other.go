//go:build !linux

package state

import "os"

// ChmodSocket gives a socket a mode.
func ChmodSocket(path string, mode os.FileMode) error { return os.Chmod(path, mode) }
