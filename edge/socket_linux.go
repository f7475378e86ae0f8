package edge

import (
	"net"
	"syscall"
)

// openFiles is how many files the process may open. Go has raised it to all
// that is allowed.
func openFiles() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return fewFiles
	}
	return int(min(l.Cur, 1<<30))
}

// keepLittleUnsent has the kernel take no more of an answer than it can send
// soon, on every connection of l. Otherwise megabytes wait in it for a client
// that reads slowly, and writing stands still for longer than the client does.
func keepLittleUnsent(l net.Listener) {
	const tcpNotSentLowAt, most = 25, 128 << 10 // linux/tcp.h
	for {
		switch t := l.(type) {
		case *lingerListener:
			l = t.Listener
		case *releasable:
			l = t.fileListener
		case *net.UnixListener:
			return
		case syscall.Conn:
			if raw, err := t.SyscallConn(); err == nil {
				_ = raw.Control(func(fd uintptr) {
					_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowAt, most) // as it was before
				})
			}
			return
		default:
			return
		}
	}
}
