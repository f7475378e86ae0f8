package hostexec

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/ringwall/ringwall/host"
)

// longest is how long one command may take: apt on a slow mirror.
const longest = 15 * time.Minute

// run runs a command, for as long as any may take.
func run(argv ...string) (string, error) { return within(longest)(argv...) }

// within runs commands that may take so long each.
func within(limit time.Duration) runner {
	return func(argv ...string) (string, error) { return runFor(limit, argv) }
}

// runFor runs a command with an environment of our own, without a terminal, and in
// a process group of its own: what ends us does not end it half done.
func runFor(limit time.Duration, argv []string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, find(argv[0]), argv[1:]...)
	cmd.Env = []string{"PATH=" + host.Path, "LC_ALL=C", "HOME=/root", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_MODE=l", "SYSTEMD_COLORS=0"}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(out.String()))
	}
	return out.String(), err
}

func find(name string) string {
	for dir := range strings.SplitSeq(host.Path, ":") {
		if fi, err := os.Stat(filepath.Join(dir, name)); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	return name
}

// isProgram reports whether there is something to run by a name.
func isProgram(name string) bool { return strings.Contains(name, "/") || find(name) != name }

// tail is the end of what a command said, on one line.
func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	lines = lines[max(0, len(lines)-4):]
	s = strings.Join(lines, " | ")
	if len(s) > 500 {
		s = "..." + s[len(s)-500:]
	}
	return s
}
