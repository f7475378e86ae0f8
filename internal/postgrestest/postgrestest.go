// Package postgrestest runs a real PostgreSQL server for tests: Debian's
// package, in a folder of its own, on a unix socket only, gone with the test's
// process.
package postgrestest

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Skip ends a test that needs PostgreSQL where it is not installed, with the
// reason. Under CI that is a failure: what did not run is not green.
func Skip(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts PostgreSQL")
	}
	if _, err := folder(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// folder is where the server's programs are: on the PATH, or where Debian puts
// them.
func folder() (string, error) {
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: apt-get install postgresql")
	}
	slices.SortFunc(found, func(a, b string) int { return len(a) - len(b) })
	return filepath.Dir(found[len(found)-1]), nil
}

// A Server is one PostgreSQL, with a superuser named ringwall.
type Server struct {
	Socket   string // folder of its unix socket, PORT 5432
	Password string // of the user ringwall

	bin, dir  string
	as        *syscall.Credential // nil: who runs the test
	cmd       *exec.Cmd
	over      chan struct{}
	databases atomic.Int64
}

// Start makes a server and waits until it answers; Stop removes it.
func Start() (_ *Server, err error) {
	bin, err := folder()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin, Password: rand.Text()}
	if s.dir, err = os.MkdirTemp("", "ringwall-pg"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	s.Socket = s.dir
	if os.Geteuid() == 0 { // PostgreSQL refuses to run as root
		if s.as, err = unprivileged(); err != nil {
			return nil, err
		}
		if err := os.Chown(s.dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	secret := filepath.Join(s.dir, "password")
	if err := os.WriteFile(secret, []byte(s.Password), 0o644); err != nil {
		return nil, err
	}
	args := []string{"-D", s.data(), "-U", "ringwall", "--auth=scram-sha-256", "--pwfile=" + secret, "--no-sync", "-E", "UTF8"}
	// With the rules of a language, to see that nothing depends on them.
	if out, err := s.run("initdb", append(args, "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en")...); err != nil {
		if _, err := s.run("initdb", append(args, "--locale=C.UTF-8")...); err != nil {
			return nil, fmt.Errorf("initdb: %w\n%s", err, out)
		}
	}
	return s, s.Resume()
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("no user to run PostgreSQL as")
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir, cmd.Env = s.dir, []string{"LC_ALL=C.UTF-8", "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as}
	return cmd
}

func (s *Server) run(name string, args ...string) ([]byte, error) {
	return s.command(name, args...).CombinedOutput()
}

// Resume starts the server again after Halt.
func (s *Server) Resume() error {
	cmd := s.command("postgres", "-D", s.data(), "-k", s.Socket, "-c", "listen_addresses=", "-c", "fsync=off",
		"-c", "deadlock_timeout=20ms", "-c", "max_connections=80", "-c", "shared_buffers=16MB")
	// Where the kernel ends it with the test, it does so when the thread that
	// started it is gone, so that one is kept.
	endWithParent(cmd.SysProcAttr)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	started, over := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer close(over)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.over = cmd, over
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := s.run("pg_isready", "-q", "-h", s.Socket); err == nil {
			return nil
		}
		select {
		case <-over:
			return fmt.Errorf("PostgreSQL ended:\n%s", log.String())
		case <-time.After(10 * time.Millisecond): // it has no other way to say that it is ready
		}
		if time.Now().After(deadline) {
			return errors.New("PostgreSQL does not answer")
		}
	}
}

// Halt ends the server as a crash would; its data stays.
func (s *Server) Halt() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGQUIT)
		<-s.over
		s.cmd = nil
	}
}

// Stop ends the server and removes its data.
func (s *Server) Stop() {
	s.Halt()
	_ = os.RemoveAll(s.dir)
}

// URL is the address of a database, without the password.
func (s *Server) URL(database string) string {
	return "postgres://ringwall@/" + database + "?host=" + url.QueryEscape(s.Socket)
}

// Database makes an empty database and returns its name.
func (s *Server) Database(t testing.TB, options ...string) string {
	t.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	s.SQL(t, "postgres", "CREATE DATABASE "+name+" "+strings.Join(options, " "))
	return name
}

// SQL runs a statement as the superuser with the server's own client, and
// returns what it prints.
func (s *Server) SQL(t testing.TB, database, statement string) string {
	t.Helper()
	cmd := s.command("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", s.Socket, "-U", "ringwall", "-d", database, "-c", statement)
	cmd.Env = append(cmd.Env, "PGPASSWORD="+s.Password)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}
