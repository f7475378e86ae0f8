package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/http3"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/metrics"
	"github.com/ringwall/ringwall/policy"
)

// A server is a ringwall.Server with what a process has besides: where its
// policy comes from, its log, systemd.
type server struct {
	*ringwall.Server
	source   source
	sockets  *edge.Sockets
	log      *slog.Logger
	lines    *audit.Buffer // that log writes to; nil: nothing was built
	level    slog.LevelVar
	audit    audit.Sink
	accounts *accounts // nil: the policy keeps none
	watching *watching
	bans     *edge.Bans
	beside   *beside // nil: there is no nginx in front
}

// build makes the server, and opens what it needs. All that is wrong with the
// policy is listed at once.
func (s *server) build(ctx context.Context, p *policy.Policy) (err error) {
	if err := namesCertificate(p); err != nil {
		return notServed(errors.Join(err, compile(p)))
	}
	s.setLevel(p)
	// No request waits for whoever reads the log. Events, warnings and errors are
	// written at once, other lines within a fifth of a second.
	s.lines = audit.NewBuffer(os.Stderr, os.Stderr)
	log := slog.New(audit.NewHandler(s.lines, &s.level))
	s.log = log
	if note := standsForYours(p); note != "" {
		log.Warn(note)
	}
	if err := s.openWatch(p, log); err != nil {
		s.close()
		return notServed(err)
	}
	s.audit = audit.Tee(audit.NewLog(log), s.watching)
	deps := ringwall.Deps{Log: log, Sockets: s.sockets, HTTP3: http3.New, Bans: s.bans, Metrics: metrics.Handler}
	if p.KeepsAccounts() {
		if s.accounts, err = openAccounts(ctx, p, log, s.audit, s.bans); err != nil {
			s.close()
			return err
		}
		deps.Identity, s.audit = s.accounts, s.accounts.audit
	}
	deps.Audit = s.audit
	if deps.Certificates, err = openCertificates(p, log, s.audit); err != nil {
		s.close()
		return err
	}
	if s.Server, err = ringwall.New(p, nil, deps); err != nil {
		s.close()
		return notServed(err)
	}
	if err := s.openBeside(p, deps.Certificates); err != nil {
		s.close()
		return notServed(err)
	}
	s.watching.start(s)
	return nil
}

// close closes what build opened, once the server has stopped.
func (s *server) close() {
	if s.accounts != nil {
		s.accounts.close()
	}
	s.watching.close()
	if s.lines != nil {
		_ = s.lines.Close() // there is nowhere else to say it
	}
}

func (s *server) setLevel(p *policy.Policy) {
	var level slog.Level
	if level.UnmarshalText([]byte(p.App.Log)) == nil { // Load has judged it
		s.level.Set(level)
	}
}

// reload takes the policy as it is now, or keeps the old one.
func (s *server) reload() error {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReloading+"\nMONOTONIC_USEC="+daemon.SdNotifyMonotonicUsec())
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }()
	p, err := s.source.load()
	if err != nil {
		s.audit.Record(audit.Event{Time: time.Now(), Kind: audit.PolicyKept, Outcome: audit.Failure, Detail: err.Error()})
		return err
	}
	if err := s.Reload(p); err != nil {
		return err
	}
	s.setLevel(p)
	return s.watching.Reload(p)
}

// reloaded is reload for people.
func (s *server) reloaded() (string, error) { return "the new policy is in force", s.reload() }

// run serves until ctx ends, and calls ready once all addresses are open.
func (s *server) run(ctx context.Context, ready func()) error {
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	select {
	case err := <-done:
		return explainListen(err)
	case <-s.Listening():
	}
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	ready()
	select {
	case <-ctx.Done():
		_, _ = daemon.SdNotify(false, daemon.SdNotifyStopping)
	case err := <-done:
		return err
	}
	return <-done
}

// lockState sees that one server runs with a state directory, which one that
// takes over has seen to.
func lockState(dir state.Dir, from *inheritance) (*os.File, error) {
	if from.lock != nil {
		return from.lock, nil
	}
	const name = "serve.lock"
	lock, err := dir.TryLockFile(name)
	if errors.Is(err, state.ErrLocked) {
		pid, _ := os.ReadFile(dir.Path(name))
		return nil, &failure{fmt.Errorf("ringwall serve runs already with the state directory %s (pid %s)", dir, strings.TrimSpace(string(pid))),
			1, "stop it, or set RINGWALL_STATE to another folder"}
	}
	if err != nil {
		return nil, err
	}
	// A full disk is no reason not to serve: the number only helps a message.
	_ = writePID(lock)
	return lock, nil
}

// writePID says in the lock whose it is. The text has the same length for every
// process, so that one write replaces it: whoever reads it, and a server that
// starts in vain does, finds one pid or the other and never nothing.
func writePID(lock *os.File) error {
	text := fmt.Appendf(nil, "%-10d\n", os.Getpid())
	if _, err := lock.WriteAt(text, 0); err != nil {
		return err
	}
	return lock.Truncate(int64(len(text)))
}

// explainListen adds what to do about an address that is not to be had.
func explainListen(err error) error {
	var wrong *policy.Error
	if errors.As(err, &wrong) && strings.HasPrefix(wrong.File, "RINGWALL_") && os.Getenv(wrong.File) == "" {
		wrong.File = "serve --dev" // whose defaults stand for variables
	}
	switch {
	case wrong == nil:
		return err
	case errors.Is(err, syscall.EADDRINUSE):
		next := "stop the program that has it, or set " + envOf(wrong.Path) + " to another address"
		if who := portHolder(wrong.Reason); who != "" {
			err = fmt.Errorf("%w\n  it is held by %s", err, who)
		}
		return &failure{err, 1, next}
	case errors.Is(err, syscall.EACCES):
		return &failure{err, 1, "ports below 1024 need root, or AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit"}
	}
	return err
}

// envOf is the variable that overrides a key of the policy.
func envOf(path string) string {
	return "RINGWALL_" + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}
