package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The names of sockets, in a policy's order. A systemd socket unit says them in
// FileDescriptorName=.
const (
	SocketHTTPS    = "https"
	SocketRedirect = "redirect"
	SocketAdmin    = "admin"
	SocketHTTP3    = "http3"
	SocketNginx    = "nginx" // in the place of https and redirect
)

var socketNames = []string{SocketHTTPS, SocketRedirect, SocketAdmin, SocketHTTP3, SocketNginx}

// Sockets are what a server listens on: sockets that it was started with, and
// those that it opened because it was given none of the name. The zero value was
// given none. It is safe for concurrent use.
type Sockets struct {
	mu    sync.Mutex
	given map[string][]*os.File
	open  []socket
	hold  <-chan struct{}
}

// A socket is one that is listened on.
type socket struct {
	name    string
	file    func() (*os.File, error)
	release func()
}

// Inherited are the files that the process was started with, as systemd passes
// them (sd_listen_fds(3)): from descriptor 3 on, LISTEN_FDS of them, each by its
// name in LISTEN_FDNAMES. They are for this process when LISTEN_PID is its pid,
// or LISTEN_PPID its parent's: a server that starts another cannot know its pid
// in time. Files for another process are left alone.
//
// The variables are removed from the environment, so that no child takes the
// files for its own.
func Inherited() ([]*os.File, error) {
	own := os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid()) || os.Getenv("LISTEN_PPID") == strconv.Itoa(os.Getppid())
	fds, names := os.Getenv("LISTEN_FDS"), strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	for _, v := range []string{"LISTEN_PID", "LISTEN_PPID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(v)
	}
	if !own {
		return nil, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 || n > 256 {
		return nil, fmt.Errorf("LISTEN_FDS=%.20q is no number of inherited sockets", fds)
	}
	files := make([]*os.File, n)
	for i := range files {
		const first = 3 // SD_LISTEN_FDS_START
		syscall.CloseOnExec(first + i)
		name := ""
		if i < len(names) {
			name = names[i]
		}
		files[i] = os.NewFile(uintptr(first+i), name)
	}
	return files, nil
}

// Give adds sockets that are open already, each a file by the name of its
// socket: https, redirect, admin, http3 or nginx. They then belong to s; on an error,
// for another name, they are closed.
func (s *Sockets) Give(files ...*os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range files {
		if slices.Contains(socketNames, f.Name()) {
			continue
		}
		for _, f := range files {
			f.Close()
		}
		return fmt.Errorf("an inherited socket is named %.60q: say FileDescriptorName= in its socket unit, one of %s", f.Name(), strings.Join(socketNames, ", "))
	}
	if s.given == nil {
		s.given = map[string][]*os.File{}
	}
	for _, f := range files {
		s.given[f.Name()] = append(s.given[f.Name()], f)
	}
	return nil
}

// Listen is the function Listen, and takes the sockets of the name where they
// were given. It is an error when one of those is not a listening socket at
// the address, TCP, or for unix: and a path a unix socket: a policy that says another port than what is served would be
// believed by every check of it.
func (s *Sockets) Listen(ctx context.Context, name, address string) ([]net.Listener, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ls []net.Listener
	closeAll := func() {
		for _, l := range ls {
			l.Close()
		}
	}
	given, inherited := s.given[name]
	if !inherited {
		var err error
		if ls, err = Listen(ctx, address); err != nil {
			return nil, err
		}
	}
	delete(s.given, name)
	for i, f := range given {
		l, err := inheritSocket(f, address)
		f.Close() // FileListener has made its own
		if err != nil {
			closeAll()
			for _, rest := range given[i+1:] {
				rest.Close()
			}
			return nil, fmt.Errorf("the inherited socket %s %w", name, err)
		}
		ls = append(ls, linger(l))
	}
	for _, l := range ls {
		outer := l.(*lingerListener)
		own := &releasable{fileListener: outer.Listener.(fileListener), closed: make(chan struct{})}
		outer.Listener = own
		s.open = append(s.open, socket{name, own.File, own.release})
	}
	return ls, nil
}

// Unused is an error when sockets were given that nothing listens on: clients
// would connect to them and wait.
func (s *Sockets) Unused() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range socketNames {
		if len(s.given[name]) > 0 {
			return fmt.Errorf("the process was given a socket named %s, and the policy has nothing to serve on it: remove its socket unit, or the policy lacks a key", name)
		}
	}
	return nil
}

// Files are copies of all sockets that are listened on, and their names, for
// another process to be given. The caller closes them.
func (s *Sockets) Files() (files []*os.File, names []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		f, err := o.file()
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, nil, fmt.Errorf("copy the socket %s: %w", o.name, err)
		}
		files, names = append(files, f), append(names, o.name)
	}
	return files, names, nil
}

// Release stops listening and keeps every connection. The kernel goes on taking
// connections for whoever else has the sockets, so that nobody is refused. What
// accepts waits until it is closed itself.
func (s *Sockets) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		o.release()
	}
	s.open = nil
}

// fileListener is a listener of either kind.
type fileListener interface {
	net.Listener
	File() (*os.File, error)
}

// releasable is a listener that can be silent before it is closed.
type releasable struct {
	fileListener
	once     sync.Once
	closed   chan struct{}
	released sync.Once
}

func (l *releasable) release() { l.released.Do(func() { l.fileListener.Close() }) }

// Accept ends with net.ErrClosed once Close was called, and not before.
func (l *releasable) Accept() (net.Conn, error) {
	c, err := l.fileListener.Accept()
	if errors.Is(err, net.ErrClosed) {
		<-l.closed
	}
	return c, err
}

func (l *releasable) Close() error {
	l.once.Do(func() { close(l.closed) })
	l.release()
	return nil
}

func inheritSocket(f *os.File, address string) (fileListener, error) {
	on, err := syscall.GetsockoptInt(int(f.Fd()), syscall.SOL_SOCKET, syscall.SO_ACCEPTCONN)
	if err != nil || on == 0 {
		return nil, errors.New("does not listen for connections: say ListenStream= and Accept=no in its socket unit")
	}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return inheritUnix(f, path)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("is unknown: %w", err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		l.Close()
		return nil, fmt.Errorf("is of the network %s, not tcp: say a port in ListenStream=", l.Addr().Network())
	}
	if err := sameAddress(tcp.Addr().(*net.TCPAddr).AddrPort(), address); err != nil {
		l.Close()
		return nil, err
	}
	return tcp, nil
}

// sameAddress is an error unless a policy's address names the socket's: the same
// port, where the policy does not leave it to the system, and the same host. No
// host stands for every address, of IPv4, IPv6 or both.
func sameAddress(at netip.AddrPort, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	same := false
	switch want, err := netip.ParseAddr(host); {
	case host == "":
		same = ip.IsUnspecified()
	case host == "localhost":
		same = ip.IsLoopback()
	default:
		same = err == nil && (want.Unmap() == ip || want.IsUnspecified() && ip.IsUnspecified())
	}
	n, err := net.LookupPort("tcp", port)
	if !same || err != nil || n != 0 && n != int(at.Port()) {
		return fmt.Errorf("is at %s, and the policy says %s: make the socket unit and the policy agree", at, address)
	}
	return nil
}

// Open counts the connections that there are, and those that were upgraded to
// another protocol.
func (s *State) Open() int64 { return s.open.n.Load() }
