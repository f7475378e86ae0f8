//lint:file-ignore SA1019 the filter of a socket is in package syscall, and what replaces it is a module more for all who import the rings

package loopback

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Tap copies what passes on the loopback interface to one TCP port.
type Tap struct {
	fd, port int
	buf      []byte
}

// NewTap begins to copy. Close ends it.
func NewTap(port int) (*Tap, error) {
	const all = syscall.ETH_P_ALL>>8 | syscall.ETH_P_ALL&0xff<<8 // in the network's order
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0) // nothing comes before the interface is said
	if err != nil {
		return nil, fmt.Errorf("%w (%v)", ErrNotHere, err)
	}
	t := &Tap{fd, port, make([]byte, 128<<10)}
	if err := syscall.AttachLsf(fd, only(port)); err != nil {
		t.Close()
		return nil, err
	}
	err = syscall.Bind(fd, &syscall.SockaddrLinklayer{Protocol: all, Ifindex: lo.Index})
	if err == nil {
		err = syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &syscall.Timeval{Usec: 50_000})
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// only is a filter for the kernel (packet(7), SO_ATTACH_FILTER) of TCP packets to
// a port, so that what else passes on a busy server does not fill the socket.
func only(port int) []syscall.SockFilter {
	const drop, take = 0, 1 << 18
	load := func(code int, from int) syscall.SockFilter { return *syscall.LsfStmt(code, from) }
	jump := func(value, yes, no int) syscall.SockFilter {
		return *syscall.LsfJump(syscall.BPF_JMP|syscall.BPF_JEQ|syscall.BPF_K, value, yes, no)
	}
	const at, byte_, half = syscall.BPF_LD | syscall.BPF_ABS, syscall.BPF_B, syscall.BPF_H
	return []syscall.SockFilter{
		load(at|byte_, 0), // the version
		load(syscall.BPF_ALU|syscall.BPF_RSH|syscall.BPF_K, 4),
		jump(4, 0, 5),
		load(at|byte_, 9), // IPv4: the protocol
		jump(6, 0, 9),
		load(syscall.BPF_LDX|syscall.BPF_MSH|syscall.BPF_B, 0), // the header's length
		load(syscall.BPF_LD|syscall.BPF_IND|half, 2),
		jump(port, 5, 6),
		jump(6, 0, 5),
		load(at|byte_, 6), // IPv6: the next header
		jump(6, 0, 3),
		load(at|half, 42),
		jump(port, 0, 1),
		load(syscall.BPF_RET|syscall.BPF_K, take),
		load(syscall.BPF_RET|syscall.BPF_K, drop),
	}
}

// Close ends the copying.
func (t *Tap) Close() error { return syscall.Close(t.fd) }

// Request waits for an HTTP/1.1 request whose header has a mark, and returns
// that header.
func (t *Tap) Request(ctx context.Context, mark string) ([]byte, error) {
	for ctx.Err() == nil {
		n, _, err := syscall.Recvfrom(t.fd, t.buf, 0)
		switch err {
		case nil:
		case syscall.EAGAIN, syscall.EINTR:
			continue
		default:
			return nil, err
		}
		if h := head(payload(t.buf[:n], t.port)); bytes.Contains(h, []byte(mark)) {
			return bytes.Clone(h), nil
		}
	}
	return nil, ctx.Err()
}

// Holders are the processes that listen on a TCP port of loopback or of every
// address; not the first of all, which holds sockets for others.
func Holders(port int) (pids []int, err error) {
	inodes := map[string]bool{}
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // no IPv6
		}
		sockets, err := Listening(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, s := range sockets {
			if s.Port == port {
				inodes[s.Inode] = true
			}
		}
	}
	if len(inodes) == 0 {
		return nil, fmt.Errorf("nothing listens on port %d", port)
	}
	for inode, holders := range Owners("/") {
		for _, pid := range holders {
			if inodes[inode] && pid != 1 && !slices.Contains(pids, pid) {
				pids = append(pids, pid)
			}
		}
	}
	if len(pids) == 0 {
		return nil, fmt.Errorf("who listens on port %d is not seen: %w", port, ErrNotHere)
	}
	return pids, nil
}

// Pause stops processes until resume is called. Should this process end before,
// another one wakes them after most.
func Pause(pids []int, most time.Duration) (resume func(), err error) {
	names := ""
	for _, pid := range pids {
		names += " " + strconv.Itoa(pid)
	}
	waker, err := os.StartProcess("/bin/sh", []string{"sh", "-c", fmt.Sprintf("sleep %d; kill -CONT%s", int(most/time.Second)+1, names)},
		&os.ProcAttr{Dir: "/", Sys: &syscall.SysProcAttr{Setsid: true}})
	if err != nil {
		return nil, err
	}
	resume = func() {
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
		_ = syscall.Kill(-waker.Pid, syscall.SIGKILL) // its session: sleep, too
		_, _ = waker.Wait()
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			resume()
			return nil, fmt.Errorf("stop process %d: %w", pid, err)
		}
	}
	// The signal takes its time, thread by thread.
	for end := time.Now().Add(time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !slices.ContainsFunc(pids, func(pid int) bool { return !stopped(pid) }) {
			return resume, nil
		}
	}
	resume()
	return nil, fmt.Errorf("processes %v do not stop", pids)
}

// stopped reports whether all threads of a process are (proc(5), stat field 3).
func stopped(pid int) bool {
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if i := strings.LastIndexByte(string(b), ')'); err == nil && (i < 0 || !strings.HasPrefix(string(b[i:]), ") T")) {
			return false
		}
	}
	return len(stats) > 0
}
