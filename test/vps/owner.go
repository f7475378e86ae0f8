//go:build linux

package vps

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// An Owner has a key and comes in by SSH, from outside.
type Owner struct {
	s    *Server
	Key  string // file of the private key
	Line string // the public key, as authorized_keys has it
	Port int

	calls byte
}

// NewOwner makes an owner with a key of his own, which nobody knows yet.
func (s *Server) NewOwner() *Owner {
	s.t.Helper()
	o := &Owner{s: s, Key: filepath.Join(s.t.TempDir(), "key"), Port: 22}
	s.host("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "owner@laptop", "-f", o.Key)
	b, err := os.ReadFile(o.Key + ".pub")
	if err != nil {
		s.t.Fatal(err)
	}
	o.Line = strings.TrimSpace(string(b))
	return o
}

// Install gives root the owner's key, as a provider does.
func (o *Owner) Install() *Owner {
	o.s.t.Helper()
	o.s.Write("/root/.ssh/authorized_keys", o.Line+"\n", 0o600)
	if err := os.Chmod(filepath.Join(o.s.Root, "root/.ssh"), 0o700); err != nil {
		o.s.t.Fatal(err)
	}
	return o
}

// Args is the command line of ssh as a user of the server. Every connection
// comes from another address, so that a test may make more of them than a
// firewall takes from one.
func (o *Owner) Args(user string, options ...string) []string {
	from := o.s.Address.As4()
	from[3] = 128 + o.calls%120
	o.calls++
	args := []string{"ssh", "-b", netip.AddrFrom4(from).String(), "-i", o.Key, "-p", strconv.Itoa(o.Port), "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", "-o", "BatchMode=yes", "-F", "none"}
	return append(append(args, options...), user+"@"+o.s.Address.String())
}

// SSH runs a command on the server, over a connection of its own.
func (o *Owner) SSH(user, command string) (string, error) {
	return o.s.Outside(append(o.Args(user), command)...)
}

// MustSSH is SSH for a command that must work. A server that reads its settings
// again takes no connection for a moment (ssh exits with 255): it is asked again,
// ever more slowly, as its firewall counts who tries.
func (o *Owner) MustSSH(user, command string) string {
	o.s.t.Helper()
	out, err := o.SSH(user, command)
	for pause := 200 * time.Millisecond; err != nil && pause < time.Minute; pause *= 2 {
		if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 255 {
			break
		}
		time.Sleep(pause)
		out, err = o.SSH(user, command)
	}
	if err != nil {
		o.s.t.Fatalf("ssh %s %s: %v\n%s", user, command, err, out)
	}
	return out
}

// GetsIn reports whether some user of the names gets in, with sudo or as root.
// A server that reads its settings again takes no connection for a moment.
func (o *Owner) GetsIn(users ...string) error {
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		var errs []string
		for _, user := range users {
			// A busy machine can have one login stand still: it is given up, and tried again.
			out, err := o.s.Outside(append([]string{"timeout", "20"}, append(o.Args(user), "sudo -n id -u")...)...)
			if err == nil && strings.TrimSpace(out) == "0" {
				return nil
			}
			errs = append(errs, fmt.Sprintf("%s: %v: %s", user, err, strings.TrimSpace(out)))
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the owner is locked out: %s", strings.Join(errs, "; "))
		}
	}
}

// Session opens a connection that stays, and runs commands over it.
func (o *Owner) Session(user string) *Session {
	o.s.t.Helper()
	socket := filepath.Join(o.s.t.TempDir(), "s")
	args := append([]string{"netns", "exec", o.s.Out}, o.Args(user, "-M", "-N", "-S", socket)...)
	cmd := exec.Command("ip", args...)
	if err := cmd.Start(); err != nil {
		o.s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { _ = cmd.Wait(); close(done) }()
	ses := &Session{o: o, user: user, socket: socket, cmd: cmd, done: done}
	o.s.t.Cleanup(ses.Drop)
	o.s.Await("the session of "+user, 20*time.Second, func() bool { _, err := os.Stat(socket); return err == nil })
	return ses
}

// A Session is one SSH connection that is kept open.
type Session struct {
	o            *Owner
	user, socket string
	cmd          *exec.Cmd
	done         chan struct{}
}

// Run runs a command over the connection.
func (s *Session) Run(command string) (string, error) {
	return s.o.s.Outside(append(s.o.Args(s.user, "-S", s.socket), command)...)
}

// Drop ends the connection as a dropped link does.
func (s *Session) Drop() {
	_ = s.cmd.Process.Kill()
	<-s.done
}
