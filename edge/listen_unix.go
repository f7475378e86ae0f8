package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/internal/state"
)

// listenUnix opens a unix socket that every user of the machine may connect to:
// whoever does proves himself by what he sends. The folder is made when it is
// not there. A socket that a process left behind, which nobody listens on, is
// replaced; anything else at the path is an error. It stays when the listener is
// closed, as another process may go on listening on it.
func listenUnix(ctx context.Context, path string) (*net.UnixListener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := removeStale(ctx, "unix", path); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	u := l.(*net.UnixListener)
	u.SetUnlinkOnClose(false)
	if err := state.ChmodSocket(path, 0o666); err != nil {
		u.Close()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return u, nil
}

// removeStale removes a socket that nobody listens on.
func removeStale(ctx context.Context, network, path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if fi.Mode()&os.ModeSocket == 0 {
		return fmt.Errorf("listen unix:%s: there is a file that is no socket", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, network, path)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen unix:%s: %w", path, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("listen unix:%s: %w", path, err)
	}
	return os.Remove(path)
}

// inheritUnix takes a socket that the process was started with.
func inheritUnix(f *os.File, path string) (*net.UnixListener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("is unknown: %w", err)
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("is of the network %s, and the policy says unix:%s", l.Addr().Network(), path)
	}
	u.SetUnlinkOnClose(false)
	if at := strings.TrimPrefix(u.Addr().String(), "unix:"); at != path {
		u.Close()
		return nil, fmt.Errorf("is at %s, and the policy says unix:%s: make the socket unit and the policy agree", at, path)
	}
	return u, nil
}
