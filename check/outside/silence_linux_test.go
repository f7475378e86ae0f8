package outside_test

import (
	"context"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/outside"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/internal/porttest"
)

// TestSilenceIsNoClosedPort: where nobody answers at all, be it the whole host or
// one of its two addresses, nothing is known of ports and of SSH.
func TestSilenceIsNoClosedPort(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for who never answers")
	}
	t.Parallel()
	v4, v6 := net.IPv4(127, 0, 0, 1), net.IPv6loopback
	shut, other, sshd := porttest.Port(t), porttest.Port(t), sshServer(t, false)
	mute, muteToo := silentPort(t, v4, 0), silentPort(t, v4, 0)
	keys, _ := strconv.Atoi(sshd)
	for _, port := range []int{shut, other, keys} { // on IPv4 they answer
		silentPort(t, v6, port)
	}
	for _, tt := range []struct {
		id   string
		own  int // the target's port
		look int // the one that is looked at
		at   []net.IP
		want check.Verdict
		said string
	}{
		{"outside/ports", mute, muteToo, []net.IP{v4}, check.Unknown, "nobody answers at 127.0.0.1 at all"},
		{"outside/ports", shut, other, []net.IP{v4, v6}, check.Unknown, "nobody answers at ::1 at all"},
		{"outside/ports", shut, mute, []net.IP{v4}, check.Pass, "closed at 127.0.0.1"},
		{"outside/ports", shut, mute, nil, check.Unknown, "no address"},
		{"outside/ssh", mute, muteToo, []net.IP{v4}, check.Unknown, "nobody answers at 127.0.0.1 at all"},
		{"outside/ssh", shut, keys, []net.IP{v4, v6}, check.Unknown, "nobody answers at ::1 at all"},
		{"outside/ssh", shut, keys, []net.IP{v4}, check.Pass, "publickey"},
		{"outside/ssh", shut, keys, nil, check.Unknown, "no address"},
	} {
		t.Run(tt.id, func(t *testing.T) {
			t.Parallel()
			client, err := probe.New("https://localhost:"+strconv.Itoa(tt.own), probe.Options{})
			if err != nil {
				t.Fatal(err)
			}
			target := outside.NewTarget(client)
			target.Ports, target.SSHPort = []int{tt.look}, strconv.Itoa(tt.look)
			target.Lookup = func(context.Context, string) ([]net.IP, error) { return tt.at, nil }
			for _, c := range outside.Checks() {
				if c.ID != tt.id {
					continue
				}
				if f := find(t, c, target); f.Verdict != tt.want || !strings.Contains(f.Got, tt.said) {
					t.Errorf("%s of %d at %v: %v %q, want %v %q", tt.id, tt.look, tt.at, f.Verdict, f.Got, tt.want, tt.said)
				}
			}
		})
	}
}

// TestADroppedPortServesNothing: plain HTTP that a firewall drops is closed, as long
// as the site answers; who takes the connection and says nothing is not closed.
func TestADroppedPortServesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for who never answers")
	}
	t.Parallel()
	target, stop := server(t, "")
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mute.Close() })
	silent := strconv.Itoa(silentPort(t, net.IPv4(127, 0, 0, 1), 0))
	for _, c := range outside.Checks() {
		if c.ID != "outside/redirect" {
			continue
		}
		target.PlainPort = silent
		if f := find(t, c, target); f.Verdict != check.Pass || !strings.Contains(f.Got, "takes no connection") {
			t.Errorf("dropped: %v %q", f.Verdict, f.Got)
		}
		_, target.PlainPort, _ = net.SplitHostPort(mute.Addr().String())
		if f := find(t, c, target); f.Verdict != check.Unknown {
			t.Errorf("taken, and not answered: %v %q", f.Verdict, f.Got)
		}
		stop()
		target.PlainPort = silent
		if f := find(t, c, target); f.Verdict != check.Unknown {
			t.Errorf("all down: %v %q", f.Verdict, f.Got)
		}
	}
}

// silentPort listens at ip and has its queue full, so that the kernel lets whoever
// connects there wait for ever, as a firewall does that drops all.
func silentPort(t *testing.T, ip net.IP, port int) int {
	t.Helper()
	family, address := syscall.AF_INET6, syscall.Sockaddr(&syscall.SockaddrInet6{Port: port, Addr: [16]byte(ip.To16())})
	if four := ip.To4(); four != nil {
		family, address = syscall.AF_INET, &syscall.SockaddrInet4{Port: port, Addr: [4]byte(four)}
	}
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, address); err != nil {
		t.Fatal(os.NewSyscallError("bind", err))
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(os.NewSyscallError("getsockname", err))
	}
	switch n := name.(type) {
	case *syscall.SockaddrInet4:
		port = n.Port
	case *syscall.SockaddrInet6:
		port = n.Port
	}
	for range 8 {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(ip.String(), strconv.Itoa(port)), 2*time.Second)
		if err != nil {
			return port
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Fatalf("port %d at %v takes any number of connections", port, ip)
	return 0
}
