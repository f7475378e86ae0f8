package loopback

import (
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// A Socket is one that listens for TCP.
type Socket struct {
	IP    net.IP
	Port  int
	Inode string // names it among the files of its processes, see Owners
}

// Listening reads the kernel's table of TCP sockets (proc(5), /proc/net/tcp and
// tcp6).
func Listening(table []byte) ([]Socket, error) {
	var out []Socket
	for i, line := range strings.Split(strings.TrimSuffix(string(table), "\n"), "\n") {
		f := strings.Fields(line)
		if i == 0 || len(f) < 10 || f[3] != "0A" { // TCP_LISTEN
			continue
		}
		address, port, _ := strings.Cut(f[1], ":")
		ip := kernelIP(address)
		n, err := strconv.ParseUint(port, 16, 16)
		if ip == nil || err != nil {
			return nil, fmt.Errorf("what is %.40q?", f[1])
		}
		out = append(out, Socket{ip, int(n), f[9]})
	}
	return out, nil
}

// kernelIP reads an address as the kernel writes it: words in the machine's order.
func kernelIP(s string) net.IP {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 4 && len(b) != 16 {
		return nil
	}
	for i := 0; i < len(b); i += 4 {
		slices.Reverse(b[i : i+4])
	}
	return net.IP(b)
}

// Owners are the processes that hold sockets, by inode, as root/proc has them.
// Those of other users only root sees. Process 1, which holds sockets for others,
// comes first.
func Owners(root string) map[string][]int {
	out := map[string][]int{}
	proc := filepath.Join("/", root, "proc")
	files, _ := filepath.Glob(proc + "/[0-9]*/fd/*") // the pattern is our own
	for _, fd := range files {
		to, err := os.Readlink(fd)
		inode, ok := strings.CutPrefix(to, "socket:[")
		pid, no := strconv.Atoi(strings.Split(strings.TrimPrefix(fd, proc), "/")[1])
		if inode = strings.TrimSuffix(inode, "]"); err == nil && ok && no == nil && !slices.Contains(out[inode], pid) {
			out[inode] = append(out[inode], pid)
		}
	}
	for _, pids := range out {
		slices.Sort(pids)
	}
	return out
}
