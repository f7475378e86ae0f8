package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var portIn = regexp.MustCompile(`:(\d+): bind`)

// portHolder says which process listens on the port of a bind error: its name
// and pid, or "" where the kernel does not tell (another user's, not Linux).
func portHolder(bindError string) string {
	m := portIn.FindStringSubmatch(bindError)
	if m == nil {
		return ""
	}
	port, _ := strconv.ParseUint(m[1], 10, 16)
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listeners(table, uint16(port), inodes)
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		to, err := os.Readlink(link)
		inode, ok := strings.CutPrefix(strings.TrimSuffix(to, "]"), "socket:[")
		if err != nil || !ok || !inodes[inode] {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, _ := os.ReadFile("/proc/" + pid + "/comm")
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// listeners adds the inodes of the sockets that listen on a port (proc(5)).
func listeners(table string, port uint16, inodes map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	const listen = "0A"
	for s := bufio.NewScanner(f); s.Scan(); {
		col := strings.Fields(s.Text())
		if len(col) > 9 && col[3] == listen && strings.HasSuffix(col[1], fmt.Sprintf(":%04X", port)) {
			inodes[col[9]] = true
		}
	}
}
