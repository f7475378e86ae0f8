package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/internal/state"
)

// The control socket is how `ringwall policy reload` reaches a server. It is a
// unix socket that only the server's own user can open, in a folder that only
// he can enter, so that no web page and no other user can. It takes one line,
// "reload", and answers one line of JSON; it knows nothing else.
const (
	controlSocket = "control.sock"
	controlWait   = 30 * time.Second
)

// outcome is the answer.
type outcome struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// listenControl opens the socket. The caller holds the state directory's lock,
// so that a socket that is there belongs to a server that is gone.
func listenControl(dir state.Dir) (net.Listener, error) {
	path := dir.Path(controlSocket)
	if len(path) > 107 { // sun_path, unix(7)
		return nil, fmt.Errorf("the control socket's path %s is longer than 107 bytes: set RINGWALL_STATE to a shorter folder", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

// serveControl answers one client after the other until the listener closes.
func serveControl(l net.Listener, reload func() error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		answerControl(c, reload)
	}
}

func answerControl(c net.Conn, reload func() error) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(controlWait))
	line, err := bufio.NewReader(io.LimitReader(c, 64)).ReadString('\n')
	if err != nil {
		return
	}
	out := outcome{true, "the new policy is in force"}
	if line != "reload\n" {
		out = outcome{false, "the control socket knows one word only: reload"}
	} else if err := reload(); err != nil {
		out = outcome{false, err.Error()}
	}
	_ = json.NewEncoder(c).Encode(out)
}

var errNoServer = errors.New("no server is running")

// askReload has the server that runs with the state directory reload.
func askReload(dir string) (outcome, error) {
	var out outcome
	c, err := net.Dial("unix", state.Dir(dir).Path(controlSocket))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return out, fmt.Errorf("%w with the state directory %s", errNoServer, dir)
	case err != nil:
		return out, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(controlWait))
	if _, err := io.WriteString(c, "reload\n"); err != nil {
		return out, err
	}
	if err := json.NewDecoder(io.LimitReader(c, 1<<20)).Decode(&out); err != nil {
		return out, fmt.Errorf("the server's answer: %w", err)
	}
	return out, nil
}
