package edge_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ringwall/ringwall/edge"
)

// inheritFile is a copy of a socket, by a name, as another process gets it.
func inheritFile(t *testing.T, name string, s interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), name)
}

func inheritTCP(t *testing.T, network, address string) (*net.TCPListener, string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { l.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return l.(*net.TCPListener), port
}

func TestInheritedSocketIsTheOneOfThePolicy(t *testing.T) {
	loopback, port := inheritTCP(t, "tcp4", "127.0.0.1:0")
	all, allPort := inheritTCP(t, "tcp", ":0")
	for _, tt := range []struct {
		socket        *net.TCPListener
		address, want string // want: of the error
	}{
		{loopback, "127.0.0.1:" + port, ""},
		{loopback, "localhost:" + port, ""},
		{loopback, "[::ffff:127.0.0.1]:" + port, ""},
		{loopback, "127.0.0.1:0", ""},
		{loopback, "127.0.0.1:1", "the policy says 127.0.0.1:1"},
		{loopback, ":" + port, "the policy says :" + port},
		{loopback, "127.0.0.2:" + port, "make the socket unit and the policy agree"},
		{loopback, "example.com:" + port, "make the socket unit and the policy agree"},
		{all, ":" + allPort, ""},
		{all, "0.0.0.0:" + allPort, ""},
		{all, "[::]:" + allPort, ""},
		{all, "localhost:" + allPort, "the policy says localhost:"},
		{all, "127.0.0.1:" + allPort, "the policy says 127.0.0.1:"},
	} {
		var s edge.Sockets
		if err := s.Give(inheritFile(t, edge.SocketHTTPS, tt.socket)); err != nil {
			t.Fatal(err)
		}
		ls, err := s.Listen(context.Background(), edge.SocketHTTPS, tt.address)
		if tt.want != "" {
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s for %s: error %v, want %q", tt.socket.Addr(), tt.address, err, tt.want)
			}
			continue
		}
		if err != nil || len(ls) != 1 || ls[0].Addr().String() != tt.socket.Addr().String() {
			t.Errorf("%s for %s: %v, %v", tt.socket.Addr(), tt.address, ls, err)
			continue
		}
		ls[0].Close()
	}
}

func TestInheritedSocketOfAnotherKind(t *testing.T) {
	unix, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	l, _ := inheritTCP(t, "tcp", "127.0.0.1:0")
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	plain, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, tt := range []struct {
		file *os.File
		want string
	}{
		{inheritFile(t, edge.SocketHTTPS, unix.(*net.UnixListener)), "not tcp"},
		{inheritFile(t, edge.SocketHTTPS, udp.(*net.UDPConn)), "ListenStream="},
		{inheritFile(t, edge.SocketHTTPS, conn.(*net.TCPConn)), "Accept=no"},
		{os.NewFile(dupFile(t, plain), edge.SocketHTTPS), "does not listen"},
	} {
		var s edge.Sockets
		if err := s.Give(tt.file); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Listen(context.Background(), edge.SocketHTTPS, ":0"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("error %v, want %q", err, tt.want)
		}
	}
}

func dupFile(t *testing.T, f *os.File) uintptr {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return uintptr(fd)
}

func TestInheritedSocketThatNobodyAsksFor(t *testing.T) {
	l, _ := inheritTCP(t, "tcp", "127.0.0.1:0")
	var s edge.Sockets
	if err := s.Give(inheritFile(t, "ringwall.socket", l)); err == nil || !strings.Contains(err.Error(), "FileDescriptorName=") {
		t.Errorf("a socket with the name of its unit: %v", err)
	}
	if err := s.Give(inheritFile(t, edge.SocketAdmin, l)); err != nil {
		t.Fatal(err)
	}
	if err := s.Unused(); err == nil || !strings.Contains(err.Error(), "named admin") {
		t.Errorf("nobody listens on it: %v", err)
	}
	ls, err := s.Listen(context.Background(), edge.SocketAdmin, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	ls[0].Close()
	if err := s.Unused(); err != nil {
		t.Errorf("it is listened on: %v", err)
	}
}

// TestReleasedSocketsRefuseNobody: between Release and the other's first Accept,
// clients wait; what the first has accepted stays.
func TestReleasedSocketsRefuseNobody(t *testing.T) {
	var first, second edge.Sockets
	ls, err := first.Listen(context.Background(), edge.SocketHTTPS, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ls[0].Addr().String()
	files, names, err := first.Files()
	if err != nil || len(files) != 1 || names[0] != edge.SocketHTTPS {
		t.Fatalf("Files = %v, %v, %v", files, names, err)
	}
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	old := dial()
	accepted, err := ls[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan error, 1)
	go func() { _, err := ls[0].Accept(); over <- err }()

	first.Release()
	between := dial()
	if err := second.Give(os.NewFile(dupFile(t, files[0]), names[0])); err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	others, err := second.Listen(context.Background(), edge.SocketHTTPS, address)
	if err != nil {
		t.Fatal(err)
	}
	defer others[0].Close()
	for _, c := range []net.Conn{between, dial()} {
		got, err := others[0].Accept()
		if err != nil || got.RemoteAddr().String() != c.LocalAddr().String() {
			t.Fatalf("accepted %v, %v; want %v", got, err, c.LocalAddr())
		}
		got.Close()
	}
	fmt.Fprint(accepted, "still here")
	b := make([]byte, 10)
	if _, err := io.ReadFull(old, b); err != nil || string(b) != "still here" {
		t.Errorf("the connection of before: %q, %v", b, err)
	}
	select {
	case err := <-over:
		t.Errorf("Accept ended with %v before its listener was closed", err)
	default:
	}
	ls[0].Close()
	if err := <-over; err == nil {
		t.Error("Accept on a closed listener: no error")
	}
	accepted.Close()
}
