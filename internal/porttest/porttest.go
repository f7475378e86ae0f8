// Package porttest finds ports for servers that tests start: those that must be
// known beforehand, or taken again after a restart. And it has the simplest server.
package porttest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// The ports are below those that Linux gives to clients and to listeners on port
// 0 (net.ipv4.ip_local_port_range), of which some other test takes one at any
// time. Each process begins elsewhere.
const (
	first = 20000
	span  = 10000
)

var (
	taken atomic.Int64

	mu    sync.Mutex
	holds []net.Listener // until this process ends
)

// Address is 127.0.0.1 with a port that nobody listened on just now, and that is
// given to no other test: of this process not soon, of others on Linux not before
// this one has ended.
func Address(t testing.TB) string {
	t.Helper()
	at, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Find is Address for who has no testing.TB.
func Find() (string, error) {
	for range 1000 {
		port := first + (int64(os.Getpid())*37+taken.Add(1))%span
		if !hold(port) {
			continue
		}
		at := fmt.Sprintf("127.0.0.1:%d", port)
		if l, err := net.Listen("tcp", at); err == nil {
			return at, l.Close()
		}
	}
	return "", errors.New("no port is free")
}

// hold keeps a port from the tests of other processes, which may look between now
// and the start of a server. A name of Linux's that is no file is the kernel's to
// take back, and belongs to one network namespace, as ports do.
func hold(port int64) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	l, err := net.Listen("unix", fmt.Sprintf("@ringwall-test-port-%d", port))
	if err != nil {
		return false
	}
	mu.Lock()
	defer mu.Unlock()
	holds = append(holds, l)
	return true
}

// Port is that of an Address.
func Port(t testing.TB) int {
	t.Helper()
	_, port, err := net.SplitHostPort(Address(t))
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Serve takes connections on 127.0.0.1 until the test is over, and says where. Each is
// spoken to by itself, and closed then.
func Serve(t testing.TB, speak func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				speak(c)
			}()
		}
	}()
	return l.Addr().String()
}
