//go:build linux

package vps

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Dial connects from an address outside to a port of the server.
func (s *Server) Dial(from string, port int, wait time.Duration) (c net.Conn, err error) {
	to, local := s.Address, netip.MustParseAddr(from)
	if local.Is6() {
		to = s.Six
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // as in ListenIn
		var f *os.File
		if f, err = os.Open("/run/netns/" + s.Out); err != nil {
			return
		}
		defer f.Close()
		if err = unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err == nil {
			d := net.Dialer{Timeout: wait, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
			c, err = d.DialContext(context.Background(), "tcp", net.JoinHostPort(to.String(), strconv.Itoa(port)))
		}
	}()
	<-done
	return c, err
}

// As has what runs outside, and says nothing else, come from an address.
func (s *Server) As(from string) {
	s.t.Helper()
	s.host("ip", "-n", s.Out, "route", "replace", s.Address.String()+"/32", "dev", "vps", "src", from)
}

// Name makes a name of the server outside.
func (s *Server) Name(name string) {
	s.t.Helper()
	dir := "/etc/netns/" + s.Out // ip-netns(8) puts its files over those of /etc
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = os.RemoveAll(dir); _ = os.Remove("/etc/netns") })
	if err := os.WriteFile(dir+"/hosts", []byte("127.0.0.1 localhost\n"+s.Address.String()+" "+name+"\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
}
