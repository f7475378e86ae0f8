package hostexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestConsole has processes of every origin: what came from SSH, or may have, is no
// console, whatever was done to hide it.
func TestConsole(t *testing.T) {
	const tty1, serial, hvc, pts0, pts300 = 4<<8 | 1, 4<<8 | 64, 229 << 8, 136 << 8, 137<<8 | 44
	// From the asking process upwards: its number, name and terminal; what is above
	// the last is systemd, unless it is named.
	type above struct {
		pid  int
		name string
		tty  int
	}
	for _, tt := range []struct {
		name   string
		chain  []above
		top    int // the last one's parent
		cgroup string
		want   string // in the error; "": the console
	}{
		{"at the screen, as root", []above{{90, "ringwall", tty1}, {80, "bash", tty1}, {70, "login", 0}}, 1, "/user.slice/user-0.slice/session-4.scope", ""},
		{"at the screen, by sudo with its pseudo terminal", []above{{95, "ringwall", pts0}, {94, "sudo", pts0}, {90, "sudo", tty1}, {80, "bash", tty1}, {70, "login", tty1}}, 1, "/user.slice/user-0.slice/session-4.scope", ""},
		{"at the serial console", []above{{90, "ringwall", serial}, {80, "bash", serial}, {70, "login", serial}}, 1, "/user.slice/user-0.slice/session-4.scope", ""},
		{"at a hypervisor's console, in the rescue shell", []above{{90, "ringwall", hvc}, {80, "bash", hvc}, {70, "sulogin", hvc}}, 1, "/system.slice/rescue.service", ""},
		{"at a container's console", []above{{90, "ringwall", pts300}, {80, "bash", pts300}, {70, "login", pts300}}, 1, "/user.slice/user-0.slice/session-4.scope", ""},
		{"from the machine around a container", []above{{90, "ringwall", pts0}, {80, "bash", pts0}}, 0, "/", ""},
		{"over SSH", []above{{90, "ringwall", pts0}, {80, "bash", pts0}, {70, "sshd-session", 0}, {60, "sshd", 0}}, 1, "/user.slice/user-0.slice/session-3.scope", "an SSH session"},
		{"taken out of an SSH session by setsid", []above{{90, "ringwall", 0}, {80, "sh", 0}}, 1, "/user.slice/user-0.slice/session-3.scope", "not seen to be"},
		{"in tmux, begun over SSH", []above{{90, "ringwall", pts300}, {80, "bash", pts300}, {70, "tmux: server", 0}}, 1, "/user.slice/user-0.slice/session-3.scope", "not seen to be"},
		{"in tmux, of a user's systemd", []above{{90, "ringwall", pts300}, {80, "bash", pts300}, {70, "tmux: server", 0}}, 1, "/user.slice/user-0.slice/user@0.service/tmux.scope", "not seen to be"},
		{"as a service with a terminal", []above{{90, "ringwall", pts0}}, 1, "/system.slice/run-u1.service", "not seen to be"},
		{"in a namespace of processes of its own", []above{{90, "ringwall", pts0}, {1, "sh", pts0}}, 0, "/user.slice/user-0.slice/session-3.scope", "not seen to be"},
		{"as the namespace's first", []above{{1, "ringwall", pts0}}, 0, "/user.slice/user-0.slice/session-3.scope", "not seen to be"},
		{"as a helper of the kernel's", []above{{90, "ringwall", 0}, {2, "kthreadd", 0}}, 0, "/", "not seen to be"},
		{"at a screen that an SSH session took", []above{{90, "ringwall", tty1}, {80, "openvt", tty1}}, 1, "/user.slice/user-0.slice/session-3.scope", "the session 3"},
		{"the same, without logind", []above{{90, "ringwall", tty1}, {80, "openvt", tty1}}, 1, "/system.slice/ssh.service", "ssh.service"},
		{"the same, where systemd listens for SSH", []above{{90, "ringwall", tty1}, {80, "openvt", tty1}}, 1, "/system.slice/system-ssh.slice/ssh@7-10.0.0.1:22-10.0.0.2:5.service", "ssh@7"},
		{"in a session that is not known", []above{{90, "ringwall", tty1}, {80, "bash", tty1}}, 1, "/user.slice/user-0.slice/session-9.scope", "it is not seen where the session 9 comes from"},
	} {
		folder := t.TempDir()
		write := func(pid int, file, text string) {
			path := filepath.Join(folder, strconv.Itoa(pid), file)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		for i, a := range tt.chain {
			parent := tt.top
			if i+1 < len(tt.chain) {
				parent = tt.chain[i+1].pid
			}
			write(a.pid, "stat", fmt.Sprintf("%d (%s) S %d 1 1 %d %s", a.pid, a.name, parent, a.tty, strings.Repeat("0 ", 40)))
		}
		write(90, "cgroup", "0::"+tt.cgroup+"\n")
		write(95, "cgroup", "0::"+tt.cgroup+"\n")
		err := proc(folder).console(tt.chain[0].pid, func(session string) (bool, error) {
			if session == "9" {
				return false, errors.New("no such session")
			}
			return session == "3", nil
		})
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, and %q is wanted", tt.name, err, tt.want)
		}
	}
}
