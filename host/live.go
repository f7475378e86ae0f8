package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
)

// Live is this machine. It is the only code here that runs anything, and runs
// nothing but queries.
type Live struct{}

// largest is how much of a file, or of an answer, is taken.
const largest = 4 << 20

// longestRead is how long a file may take: on a server of files that does not answer
// it takes for ever.
const longestRead = 10 * time.Second

func (Live) ReadFile(path string) (FileState, error) {
	return atMost(longestRead, path, func() (FileState, error) { return readFile(path) })
}

// atMost does what may never end, and gives it up after a while.
func atMost[T any](most time.Duration, what string, do func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	said := make(chan answer, 1)
	go func() {
		value, err := do()
		said <- answer{value, err}
	}()
	select {
	case a := <-said:
		return a.value, a.err
	case <-time.After(most):
		var none T
		return none, fmt.Errorf("%s: no answer within %v", what, most)
	}
}

func readFile(path string) (FileState, error) {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return FileState{}, nil
	case err != nil:
		return FileState{}, err
	}
	s := FileState{Exists: true, Mode: fi.Mode()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.Owner = ownerOf(st.Uid, st.Gid)
	}
	if fi.Mode().Type() == fs.ModeSymlink {
		s.Target, err = os.Readlink(path)
		return s, err
	}
	if !fi.Mode().IsRegular() {
		return s, nil
	}
	// Of a user's own folder it may be another by now: one that never ends.
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return s, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	if st, err := f.Stat(); err != nil || !os.SameFile(fi, st) {
		return FileState{}, fmt.Errorf("%s: it became another while it was read: %v", path, err)
	}
	b, err := io.ReadAll(io.LimitReader(f, largest+1))
	if err == nil && len(b) > largest {
		err = fmt.Errorf("%s: larger than %d MB", path, largest>>20)
	}
	s.Content = string(b)
	return s, err
}

func ownerOf(uid, gid uint32) string {
	u, g := strconv.Itoa(int(uid)), strconv.Itoa(int(gid))
	if known, err := user.LookupId(u); err == nil {
		u = known.Username
	}
	if known, err := user.LookupGroupId(g); err == nil {
		g = known.Name
	}
	return u + ":" + g
}

func (Live) Glob(pattern string) ([]string, error) {
	files, err := filepath.Glob(pattern)
	slices.Sort(files)
	return files, err
}

func (Live) Caller() string { return os.Getenv("SUDO_USER") }

func (Live) Ask(q Query, args ...string) (string, error) {
	argv := q.Argv(args...)
	if len(argv) <= len(args) {
		return "", fmt.Errorf("no such query: %s", q)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, command(argv[0]), argv[1:]...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0", "PATH="+Path)
	cmd.WaitDelay = time.Second
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit) && ctx.Err() == nil:
		err = &Refusal{Argv: argv, Code: exit.ExitCode(), Said: strings.TrimSpace(stderr.String()), NotRoot: os.Geteuid() != 0}
	case errors.Is(err, exec.ErrNotFound):
		err = fmt.Errorf("%s is not installed: %w", argv[0], exec.ErrNotFound)
	case err != nil:
		err = fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return out.String(), err
}

// Path is where commands are looked for, whatever the caller's own path is.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// command finds a program on Path; one that is not there keeps its name, and
// running it says so.
func command(name string) string {
	for dir := range strings.SplitSeq(Path, ":") {
		if fi, err := os.Stat(filepath.Join(dir, name)); err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0 {
			return filepath.Join(dir, name)
		}
	}
	return name
}

// Offer asks as RFC 4252, section 7, allows: whether a key would do, without a
// signature by it.
func (Live) Offer(address, user string, key ssh.PublicKey) (Offer, error) {
	var o Offer
	done := errors.New("asked")
	config := &ssh.ClientConfig{
		User: user, Timeout: 10 * time.Second,
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // it is this machine, and nothing is sent that is worth anything
		AuthCallback: func(c *ssh.ClientAuthContext) (ssh.AuthMethod, error) {
			if o.Methods == nil {
				o.Methods = append([]string{}, c.AllowedMethods...)
			}
			if key == nil || !slices.Contains(c.AllowedMethods, "publickey") || slices.Contains(c.TriedMethods, "publickey") {
				return nil, done
			}
			return ssh.PublicKeys(&asked{key: key, accepted: &o.Accepts}), nil
		},
	}
	c, err := net.DialTimeout("tcp", address, config.Timeout)
	if err != nil {
		return o, err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(config.Timeout)); err != nil {
		return o, err
	}
	conn, _, _, err := ssh.NewClientConn(c, address, config)
	if err == nil {
		conn.Close()
		return o, fmt.Errorf("the SSH server at %s let %s in without any proof", address, user)
	}
	if !errors.Is(err, done) && !o.Accepts {
		return o, fmt.Errorf("ask the SSH server at %s: %w", address, err)
	}
	return o, nil
}

// asked is a signer without a private key: that it is asked to sign means that
// the server would take the key.
type asked struct {
	key      ssh.PublicKey
	accepted *bool
}

func (a *asked) PublicKey() ssh.PublicKey { return a.key }

func (a *asked) Sign(rand io.Reader, data []byte) (*ssh.Signature, error) {
	return a.SignWithAlgorithm(rand, data, "")
}

func (a *asked) SignWithAlgorithm(io.Reader, []byte, string) (*ssh.Signature, error) {
	*a.accepted = true
	return nil, errors.New("there is no private key here")
}
