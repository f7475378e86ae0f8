package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/internal/state"
)

// The control socket is how commands such as `ringwall policy reload` reach a server. It is a
// unix socket that only the server's own user can open, in a folder that only
// he can enter, so that no web page and no other user can. It takes one line, a
// word that it knows, and answers one line of JSON.
const (
	controlSocket = "control.sock"
	controlWait   = 30 * time.Second

	maxLine   = 4 << 10
	maxAnswer = 256 << 20 // a list of all bans
)

// outcome is the answer.
type outcome struct {
	OK      bool   `json:"ok"`
	Message string `json:"message"`
}

// listenControl opens the socket. The caller holds the state directory's lock,
// so that a socket that is there belongs to a server that is gone; one that takes
// over has inherited it.
func listenControl(dir state.Dir, from *inheritance) (*net.UnixListener, error) {
	if from.control != nil {
		return inheritControl(from.control)
	}
	path := dir.Path(controlSocket)
	if len(path) > 107 { // sun_path, unix(7)
		return nil, fmt.Errorf("the control socket's path %s is longer than 107 bytes: set RINGWALL_STATE to a shorter folder", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}

func inheritControl(f *os.File) (*net.UnixListener, error) {
	defer f.Close() // FileListener makes its own
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	unix, ok := l.(*net.UnixListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("control socket: inherited one of the network %s", l.Addr().Network())
	}
	unix.SetUnlinkOnClose(true)
	return unix, nil
}

// words are what the control socket knows, and what each does; its message is
// for people. A word that ends in a blank takes the rest of the line.
type words map[string]func(rest string) (string, error)

// alone is a word without a rest.
func alone(do func() (string, error)) func(string) (string, error) {
	return func(string) (string, error) { return do() }
}

// find returns what a line asks for, or nil.
func (w words) find(line string) func() (string, error) {
	word, rest := line, ""
	if i := strings.IndexByte(line, ' '); i >= 0 {
		word, rest = line[:i+1], line[i+1:]
	}
	do := w[word]
	if do == nil {
		return nil
	}
	return func() (string, error) { return do(rest) }
}

// serveControl answers one client after the other until the listener closes.
func serveControl(l net.Listener, known words) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		answerControl(c, known)
	}
}

func answerControl(c net.Conn, known words) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(controlWait))
	line, err := bufio.NewReader(io.LimitReader(c, maxLine)).ReadString('\n')
	if err != nil {
		return
	}
	do := known.find(strings.TrimSuffix(line, "\n"))
	if do == nil {
		do = func() (string, error) {
			return "", fmt.Errorf("the control socket knows %s only", strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
	}
	message, err := do()
	if err != nil {
		message = err.Error()
	}
	_ = json.NewEncoder(c).Encode(outcome{err == nil, message})
}

var errNoServer = errors.New("no server is running")

// serverThere reports whether a server takes connections of its control socket.
func serverThere(dir string) bool {
	c, err := net.Dial("unix", state.Dir(dir).Path(controlSocket))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

// askServer says a word to the server that runs with the state directory.
func askServer(dir, word string) (outcome, error) {
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
	if _, err := io.WriteString(c, word+"\n"); err != nil {
		return out, err
	}
	if err := json.NewDecoder(io.LimitReader(c, maxAnswer)).Decode(&out); err != nil {
		return out, fmt.Errorf("the server's answer: %w", err)
	}
	return out, nil
}

// askRunning says a word to the server with this state directory, or with the
// one of the systemd unit.
func askRunning(word string) (outcome, error) {
	dir, err := state.Path(os.Getenv)
	if err != nil {
		return outcome{}, &failure{err, 2, ""}
	}
	out, err := askServer(dir, word)
	if errors.Is(err, errNoServer) && dir != systemState {
		if system, serr := askServer(systemState, word); serr == nil {
			out, err = system, nil
		}
	}
	switch {
	case errors.Is(err, errNoServer):
		return out, &failure{err, 2, "ringwall serve, or set RINGWALL_STATE to the state directory of the server"}
	case err != nil:
		return out, &failure{err, 2, ""}
	}
	return out, nil
}
