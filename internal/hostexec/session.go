package hostexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// ErrNoSession is in the error when this process does not come from an SSH
// session, as far as can be seen.
var ErrNoSession = errors.New("this is not an SSH session")

// Session is when the SSH session began that a process runs in. It asks the
// kernel for the process's ancestors, since a variable of the environment says
// nothing about time. A terminal multiplexer that was started before hides the
// session, and so does a service.
func Session(pid int) (Moment, error) {
	now, err := Now()
	if err != nil {
		return Moment{}, err
	}
	for range 64 {
		name, parent, since, err := process(pid)
		if err != nil {
			return Moment{}, err
		}
		if name == "sshd" || name == "sshd-session" || name == "sshd-auth" {
			return Moment{Boot: now.Boot, Since: since}, nil
		}
		if parent <= 1 {
			break
		}
		pid = parent
	}
	return Moment{}, ErrNoSession
}

// process reads proc(5): a process's name, its parent, and when it started.
func process(pid int) (name string, parent int, since time.Duration, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0, 0, err
	}
	s := string(b) // 123 (name) S 1 ...; the name may hold anything
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return "", 0, 0, fmt.Errorf("/proc/%d/stat: %q", pid, s)
	}
	field := strings.Fields(s[end+1:])
	if len(field) < 20 {
		return "", 0, 0, fmt.Errorf("/proc/%d/stat: %q", pid, s)
	}
	parent, err = strconv.Atoi(field[1])
	if err != nil {
		return "", 0, 0, err
	}
	ticks, err := strconv.ParseInt(field[19], 10, 64)
	return s[open+1 : end], parent, time.Duration(ticks) * time.Second / 100, err // USER_HZ is 100 on Linux
}
