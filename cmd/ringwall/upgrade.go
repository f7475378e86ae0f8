package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge"
)

func upgradeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "upgrade",
		Short: "Have the running server start the program anew, without a pause",
		Long: `Have the server that runs with this state directory start the program at its
path, which may be another version by now, with its own arguments and sockets.
Once the new server serves, the old one takes no connections any more, answers
on those that it has, and ends with the last of them. When the new one fails to
start within 10 seconds, the old one goes on, and this says why. SIGUSR2 does the
same; the log then says what came of it. HTTP/3 pauses for up to 10 seconds, in
which clients take HTTP/2.

Bans go with it. The limits on clients begin anew. A version that changes the schema of the store
is refused: stop the server, then start it.

Exit 0: the new server serves; 1: the old one still does.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := askRunning("upgrade")
			if err != nil {
				return err
			}
			if !out.OK {
				return &failure{fmt.Errorf("the old server goes on:\n%s", out.Message), 1, ""}
			}
			fmt.Fprintln(cmd.OutOrStdout(), out.Message)
			return nil
		},
	}
}

// upgradeWait is how long a new server may take until it serves.
const upgradeWait = 10 * time.Second

// An upgrade has another process take over from this one.
type upgrade struct {
	server  *server
	lock    *os.File
	control *net.UnixListener

	mu        sync.Mutex
	successor int // its pid; 0: there is none
	bans      *handover
}

// What the new server inherits besides the sockets of edge.Sockets: the state
// directory's lock, the control socket, where it says that it serves, or what
// keeps it from serving, what ends when it may read UDP sockets, and where nginx
// tells what it refused.
const (
	fdLock    = "ringwall-lock"
	fdControl = "ringwall-control"
	fdReady   = "ringwall-ready"
	fdHold    = "ringwall-hold"
	fdEvents  = "ringwall-nginx-events" // when nginx is the edge

	saysReady = "ready\n"
)

// start has the new server take over. On any error this one goes on as before.
// There is one upgrade at a time and one for a process: the new server is the
// one to ask for the next.
func (u *upgrade) start() (message string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	defer func() {
		if err != nil {
			u.server.log.Error("the program was not started anew", "error", err)
		}
	}()
	if u.server.source.dev != nil {
		return "", errors.New("serve --dev has no upgrade: its notes API and accounts end with it; stop it and start it again")
	}
	if u.successor != 0 {
		return "", fmt.Errorf("pid %d serves in the place of this server already", u.successor)
	}
	select {
	case <-u.server.Listening():
	default:
		return "", errors.New("the server does not serve yet")
	}
	wait, hold, err := os.Pipe()
	if err != nil {
		return "", err
	}
	bans := newHandover(u.server)
	pid, err := u.succeed(wait)
	wait.Close()
	if err != nil {
		hold.Close()
		return "", err
	}
	u.successor = pid
	u.control.SetUnlinkOnClose(false)
	u.control.Close()
	_, _ = daemon.SdNotify(false, "MAINPID="+strconv.Itoa(pid))
	u.bans = bans
	bans.begin()
	u.server.beside.yield()
	vacated := u.server.Yield()
	go func() {
		<-vacated
		hold.Close()
	}()
	u.server.log.Info("the program was started anew; this server ends with its last connection", "successor", pid)
	return fmt.Sprintf("pid %d serves now; pid %d ends with the last connection that it has", pid, os.Getpid()), nil
}

// end tells the successor, if there is one, what this process leaves.
func (u *upgrade) end() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bans.end()
}

// succeed starts a process that serves beside this one.
func (u *upgrade) succeed(wait *os.File) (pid int, err error) {
	files, names, err := u.server.sockets.Files()
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return 0, err
	}
	control, err := u.control.File()
	if err != nil {
		return 0, err
	}
	defer control.Close()
	events, err := u.server.beside.hand()
	if err != nil {
		return 0, fmt.Errorf("nginx's events: %w", err)
	}
	says, ready, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer says.Close()

	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.ExtraFiles = append(append([]*os.File{}, files...), u.lock, control, ready, wait)
	names = append(names, fdLock, fdControl, fdReady, fdHold)
	if events != nil {
		defer events.Close()
		cmd.ExtraFiles, names = append(cmd.ExtraFiles, events), append(names, fdEvents)
	}
	cmd.Env = append(os.Environ(), "LISTEN_PPID="+strconv.Itoa(os.Getpid()),
		"LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	err = cmd.Start()
	ready.Close()
	if err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()

	_ = says.SetReadDeadline(time.Now().Add(upgradeWait))
	said, err := io.ReadAll(io.LimitReader(says, 64<<10)) // until it closes its end, or is gone
	if err == nil && string(said) == saysReady {
		return cmd.Process.Pid, nil
	}
	_ = cmd.Process.Kill() // a server that does not serve is of no use
	exit := <-ended
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return 0, fmt.Errorf("%s did not serve within %s", cmd.Path, upgradeWait)
	case err != nil:
		return 0, err
	case len(said) > 0:
		return 0, errors.New(strings.TrimSpace(string(said)))
	}
	return 0, fmt.Errorf("%s ended before it served: %v", cmd.Path, exit)
}

// An inheritance is what a server got from systemd, or from the server whose
// place it takes.
type inheritance struct {
	sockets       *edge.Sockets
	lock, control *os.File // nil: it starts by itself
	events        *os.File // nil: likewise, or nginx is not the edge
	says          *os.File // to the old server
}

func inherit() (*inheritance, error) {
	files, err := edge.Inherited()
	if err != nil {
		return nil, err
	}
	in := &inheritance{sockets: new(edge.Sockets)}
	var sockets []*os.File
	for _, f := range files {
		switch f.Name() {
		case fdLock:
			in.lock = f
		case fdControl:
			in.control = f
		case fdEvents:
			in.events = f
		case fdReady:
			in.says = f
		case fdHold:
			vacated := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, f) // nothing comes; it ends
				f.Close()
				close(vacated)
			}()
			in.sockets.Hold(vacated)
		default:
			sockets = append(sockets, f)
		}
	}
	if err := in.sockets.Give(sockets...); err != nil {
		in.failed(err)
		return nil, err
	}
	return in, nil
}

// ready tells the old server that this one serves.
func (in *inheritance) ready() { in.say(saysReady) }

// failed tells the old server why this one does not serve, if it did not say
// that it does.
func (in *inheritance) failed(err error) {
	if err != nil {
		in.say(err.Error())
	}
}

func (in *inheritance) say(text string) {
	if in.says == nil {
		return
	}
	_, _ = io.WriteString(in.says, text) // nobody else is to be told
	in.says.Close()
	in.says = nil
}
