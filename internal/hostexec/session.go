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
	since, err := proc("/proc").session(pid)
	return Moment{Boot: now.Boot, Since: since}, err
}

// Console is nil for a process that comes from the server's own console, or into
// it from the machine around it. What may come from an SSH session that is hidden
// is none: a program that setsid or a multiplexer took out of it, or a service.
// Its error says what was seen.
func Console(pid int) error { return proc("/proc").console(pid, remote) }

// proc is the folder of proc(5).
type proc string

func (p proc) session(pid int) (since time.Duration, err error) {
	for range 64 {
		q, err := p.process(pid)
		if err != nil {
			return 0, err
		}
		if q.sshd() {
			return q.since, nil
		}
		if q.parent <= 1 {
			break
		}
		pid = q.parent
	}
	return 0, ErrNoSession
}

// console wants a sign of the console among a process's ancestors: one that holds a
// terminal which is not a pseudo one (VNC, serial); or login, as systemd starts it,
// at a container's; or one whose parent is not of this machine, as with `lxc exec`
// (or with nsenter, which is root's alone).
// sudo has a pseudo terminal even there. And no sign of SSH: setsid ends neither a
// session of logind nor a unit. remote reports whether a session came over a network.
func (p proc) console(pid int, remote func(session string) (bool, error)) error {
	own := pid
	found := false
	for range 64 {
		q, err := p.process(pid)
		switch {
		case err != nil:
			return err
		case q.sshd():
			return errors.New("this is an SSH session, not the console")
		case q.parent == 0 && pid > 2: // 1 is systemd, or what was put into a namespace of its own; 2 the kernel's
			return nil
		}
		found = found || q.terminal() || q.parent == 1 && q.name == "login"
		if q.parent <= 1 {
			break
		}
		pid = q.parent
	}
	if !found {
		return errors.New("this is not seen to be the server's console: no terminal of its own, as in tmux, screen or a service, where it may be an SSH session of before")
	}
	b, err := os.ReadFile(filepath.Join(string(p), strconv.Itoa(own), "cgroup"))
	if err != nil {
		return err
	}
	for part := range strings.FieldsFuncSeq(string(b), func(r rune) bool { return r == '/' || r == '\n' }) {
		if (strings.HasPrefix(part, "ssh.") || strings.HasPrefix(part, "sshd.") || strings.HasPrefix(part, "ssh@") || strings.HasPrefix(part, "sshd@")) && strings.HasSuffix(part, ".service") {
			return fmt.Errorf("this comes from SSH, not from the console: it belongs to %s", part)
		}
		scope, ok := strings.CutSuffix(part, ".scope")
		session, ok2 := strings.CutPrefix(scope, "session-")
		if !ok || !ok2 {
			continue
		}
		switch far, err := remote(session); {
		case err != nil:
			return fmt.Errorf("it is not seen where the session %s comes from: %w", session, err)
		case far:
			return fmt.Errorf("this comes from SSH, not from the console: it belongs to the session %s", session)
		}
	}
	return nil
}

// remote asks logind.
func remote(session string) (bool, error) {
	out, err := run("loginctl", "show-session", "--property=Remote", "--", session)
	if err != nil {
		return false, err
	}
	switch strings.TrimSpace(out) {
	case "Remote=no":
		return false, nil
	case "Remote=yes":
		return true, nil
	}
	return false, fmt.Errorf("loginctl says %q", tail(out))
}

// A process as proc_pid_stat(5) has it.
type process struct {
	name   string
	parent int
	tty    int // its controlling terminal, as a device number; 0: none
	since  time.Duration
}

func (q process) sshd() bool {
	return q.name == "sshd" || q.name == "sshd-session" || q.name == "sshd-auth"
}

// terminal reports a controlling terminal that no program plays.
func (q process) terminal() bool {
	major := q.tty >> 8 & 0xfff
	return q.tty != 0 && major != 2 && major != 3 && (major < 136 || major > 143)
}

func (p proc) process(pid int) (q process, err error) {
	b, err := os.ReadFile(filepath.Join(string(p), strconv.Itoa(pid), "stat"))
	if err != nil {
		return q, err
	}
	s := string(b) // 123 (name) S 1 ...; the name may hold anything
	open, end := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	if open < 0 || end < open {
		return q, fmt.Errorf("/proc/%d/stat: %q", pid, s)
	}
	field := strings.Fields(s[end+1:])
	if len(field) < 20 {
		return q, fmt.Errorf("/proc/%d/stat: %q", pid, s)
	}
	q.name = s[open+1 : end]
	var errs [3]error
	q.parent, errs[0] = strconv.Atoi(field[1])
	q.tty, errs[1] = strconv.Atoi(field[4])
	ticks, err := strconv.ParseInt(field[19], 10, 64)
	q.since, errs[2] = time.Duration(ticks)*time.Second/100, err // USER_HZ is 100 on Linux
	return q, errors.Join(errs[:]...)
}
