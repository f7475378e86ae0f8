// Package porttest finds ports for servers that tests start: those that must be
// known beforehand, or taken again after a restart. And it has the simplest server.
package porttest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
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

var taken atomic.Int64

// Address is 127.0.0.1 with a port that nobody listened on just now, and that
// is given to no other test of this process soon.
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
		at := fmt.Sprintf("127.0.0.1:%d", first+(int64(os.Getpid())*37+taken.Add(1))%span)
		if l, err := net.Listen("tcp", at); err == nil {
			return at, l.Close()
		}
	}
	return "", errors.New("no port is free")
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
