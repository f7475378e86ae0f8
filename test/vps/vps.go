//go:build linux

// Package vps is a disposable Debian or Ubuntu server for tests: a real systemd with a
// real OpenSSH, in a network namespace of its own, that starts in a second or
// two from a copy of a base that is made once. A second namespace plays the
// Internet: its owner and its attackers.
package vps

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A Server is one booted machine. Its methods end the test when they fail.
type Server struct {
	Suite   string // bookworm, trixie, jammy or noble
	Root    string // its file system, as this machine sees it
	Address netip.Addr
	Six     netip.Addr
	Out     string // the namespace outside, for `ip netns exec`

	t     testing.TB
	in    string // its own namespace
	dir   string
	nspwn *exec.Cmd
	ended chan struct{}
}

var servers atomic.Int32

// Until, unless zero, is when the last server may be started: a test that comes
// later is skipped, so that the tests end in time on a slow machine, too. Always
// are not: without them green would say nothing of a server.
var (
	Until  time.Time
	Always []string
)

// Skip ends a test where no server can be started, with the reason. Under CI
// that is a failure: what did not run is not green.
func Skip(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("boots a server")
	}
	var why string
	switch {
	case os.Geteuid() != 0:
		why = "only root can boot a server"
	default:
		for _, name := range []string{"debootstrap", "systemd-nspawn", "ip", "nsenter", "ssh", "ssh-keygen"} {
			if _, err := exec.LookPath(name); err != nil {
				why = err.Error() + ": run test/packages.sh"
			}
		}
	}
	if why == "" {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func inTime(t testing.TB) {
	t.Helper()
	if !Until.IsZero() && time.Now().After(Until) && !slices.Contains(Always, t.Name()) {
		t.Skipf("no server is started after %s on this machine: `make servers` has the time", Until.Format(time.TimeOnly))
	}
}

// New boots a server of a suite. At the end of the test it is gone without a
// trace.
func New(t testing.TB, suite string) *Server {
	t.Helper()
	Skip(t)
	inTime(t)
	if ubuntu[suite] != "" && !Until.IsZero() {
		t.Skip("a base of Ubuntu's takes minutes to make: `make servers` has the time")
	}
	base, err := baseOf(suite)
	if errors.Is(err, errArchive) {
		t.Skipf("the base of %s: %v", suite, err)
	}
	if err != nil {
		t.Fatalf("the base of %s: %v", suite, err)
	}
	inTime(t)
	n := servers.Add(1)
	id := fmt.Sprintf("rw%d-%d", os.Getpid(), n)
	s := &Server{Suite: suite, t: t, in: id + "i", Out: id + "o", dir: filepath.Join("/tmp", "vps-"+id),
		Address: netip.AddrFrom4([4]byte{10, 99, byte(n), 2}), Six: netip.MustParseAddr(fmt.Sprintf("fd99:%x::2", n))}
	s.Root = filepath.Join(s.dir, "root")
	t.Cleanup(s.remove)
	s.network(int(n))
	s.files(base)
	s.Boot()
	// On a busy machine a unit may miss its time to start. What a test compares with
	// is a server as it should be.
	for _, unit := range []string{"ssh.service", "ufw.service"} {
		if out, _ := s.try(nil, "systemctl", "is-failed", unit); strings.TrimSpace(out) == "failed" {
			t.Logf("%s did not start at first: %s", unit, s.Run("journalctl", "-u", unit, "-n", "10", "-o", "cat", "--no-pager"))
			s.Run("systemctl", "restart", unit)
		}
	}
	return s
}

// network joins two namespaces by a cable. Nothing leads out of them but the
// proxy for apt.
func (s *Server) network(n int) {
	s.t.Helper()
	gate, six := fmt.Sprintf("10.99.%d.1", n), fmt.Sprintf("fd99:%x::1", n)
	for _, line := range []string{
		"netns add " + s.in, "netns add " + s.Out,
		"link add vps netns " + s.in + " type veth peer name vps netns " + s.Out,
		"-n " + s.in + " link set lo up", "-n " + s.Out + " link set lo up",
		"-n " + s.in + " addr add " + s.Address.String() + "/24 dev vps", "-n " + s.Out + " addr add " + gate + "/24 dev vps",
		"-n " + s.in + " addr add " + s.Six.String() + "/64 dev vps nodad", "-n " + s.Out + " addr add " + six + "/64 dev vps nodad",
		"-n " + s.Out + " route add local 10.99." + strconv.Itoa(n) + ".128/25 dev lo", // as many addresses as are wanted
		"-n " + s.in + " link set vps up", "-n " + s.Out + " link set vps up",
		"-n " + s.in + " route add default via " + gate,
	} {
		s.host(append([]string{"ip"}, strings.Fields(line)...)...)
	}
	if err := serveApt(s.t, s.Out, gate+":3142"); err != nil {
		s.t.Fatalf("the proxy for apt: %v", err)
	}
}

// files lays a copy over the base, in memory, of at most 1 GB.
func (s *Server) files(base string) {
	s.t.Helper()
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.host("mount", "-t", "tmpfs", "-o", "size=1g,mode=755", "vps", s.dir)
	for _, d := range []string{"up", "work", "root"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	s.host("mount", "-t", "overlay", "overlay", "-o", "lowerdir="+base+",upperdir="+s.dir+"/up,workdir="+s.dir+"/work", s.Root)
	gate := s.Gate()
	s.Write("/etc/apt/apt.conf.d/00proxy", "Acquire::http::Proxy \"http://"+gate+":3142\";\nAcquire::Retries \"0\";\nAcquire::http::Timeout \"10\";\n", 0o644)
	s.Write("/etc/hostname", "vps\n", 0o644)
	s.Write("/etc/hosts", "127.0.0.1 localhost vps\n::1 localhost\n", 0o644)
}

// Gate is the address of the namespace outside, where owner and attackers are.
func (s *Server) Gate() string {
	a := s.Address.As4()
	a[3] = 1
	return netip.AddrFrom4(a).String()
}

// Boot starts the machine and returns when systemd says that it is up.
func (s *Server) Boot() {
	s.t.Helper()
	log, err := os.OpenFile(filepath.Join(s.dir, "console"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.Command("systemd-nspawn", "-q", "-D", s.Root, "-b", "--machine="+s.in, "--network-namespace-path=/run/netns/"+s.in,
		"--capability=CAP_NET_ADMIN,CAP_BPF", "--drop-capability=CAP_SYS_RESOURCE", // which some machines that this runs on do not have to give
		"--system-call-filter=bpf keyctl add_key request_key", // BPF: systemd filters what units send (IPAddressDeny); keys: runc's
		"--register=no", "--keep-unit", "--kill-signal=SIGRTMIN+3", "--link-journal=no", "--resolv-conf=off", "--timezone=off")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); log.Close(); close(ended) }()
	s.nspwn, s.ended = cmd, ended
	s.Await("systemd is up", 90*time.Second, func() bool {
		out, _ := s.try(nil, "systemctl", "is-system-running")
		state := strings.TrimSpace(out)
		return state == "running" || state == "degraded"
	})
}

// PowerCut ends the machine as a power cut does, without a word to anybody.
func (s *Server) PowerCut() {
	s.t.Helper()
	if pid := s.init(); pid > 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	_ = s.nspwn.Process.Kill()
	<-s.ended
}

// init is the process id of the machine's systemd, 0 while there is none.
func (s *Server) init() int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", s.nspwn.Process.Pid, s.nspwn.Process.Pid))
	for _, word := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(word); err == nil {
			return pid
		}
	}
	return 0
}

// try runs a command inside, as root and without a session.
func (s *Server) try(env []string, argv ...string) (string, error) {
	pid := s.init()
	if pid == 0 {
		return "", errors.New("the machine is down")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	args := append([]string{"-t", strconv.Itoa(pid), "-m", "-u", "-i", "-n", "-p", "--"}, argv...)
	cmd := exec.CommandContext(ctx, "nsenter", args...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "HOME=/root", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive"}, env...)
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Try runs a command inside, as root, and returns what it printed.
func (s *Server) Try(argv ...string) (string, error) { return s.try(nil, argv...) }

// Run is Try for a command that must work.
func (s *Server) Run(argv ...string) string {
	s.t.Helper()
	out, err := s.Try(argv...)
	if err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return out
}

// RunEnv is Try with more in the environment.
func (s *Server) RunEnv(env []string, argv ...string) (string, error) { return s.try(env, argv...) }

// Outside runs a command in the namespace outside.
func (s *Server) Outside(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.Out}, argv...)...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// Write makes a file inside.
func (s *Server) Write(path, content string, mode os.FileMode) {
	s.t.Helper()
	full := filepath.Join(s.Root, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), mode); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(full, mode); err != nil {
		s.t.Fatal(err)
	}
}

// Read is a file inside, "" when it is not there.
func (s *Server) Read(path string) string {
	b, _ := os.ReadFile(filepath.Join(s.Root, path))
	return string(b)
}

// Copy copies a file of this machine into the server.
func (s *Server) Copy(from, to string, mode os.FileMode) {
	s.t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Write(to, string(b), mode)
}

// Await polls until ok, and ends the test when that takes longer than most.
func (s *Server) Await(what string, most time.Duration, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(most); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			console, _ := os.ReadFile(filepath.Join(s.dir, "console"))
			s.t.Fatalf("%s: not within %v\n%s", what, most, console[max(0, len(console)-3000):])
		}
	}
}

// host runs a command of this machine.
func (s *Server) host(argv ...string) {
	s.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
}

func (s *Server) remove() {
	if s.nspwn != nil {
		s.PowerCut()
	}
	for _, argv := range [][]string{{"umount", "-l", s.Root}, {"umount", "-l", s.dir}, {"ip", "netns", "del", s.in}, {"ip", "netns", "del", s.Out}} {
		_ = exec.Command(argv[0], argv[1:]...).Run()
	}
	_ = os.Remove(s.dir)
}
