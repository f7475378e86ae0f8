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
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/metrics"
	"github.com/ringwall/ringwall/policy"
)

// A server is a ringwall.Server with what a process has besides: where its
// policy comes from, its log, systemd.
type server struct {
	*ringwall.Server
	source source
	level  slog.LevelVar
	audit  audit.Sink
}

// build makes the server. All that is missing for it is listed at once.
func (s *server) build(p *policy.Policy) (err error) {
	if p.Edge.TLS.Cert == "" {
		return errors.Join(p.Errorf("edge.tls", "name the PEM files of the site's certificate and key: tls: {cert: site.pem, key: site.key}",
			"there is no certificate, and nothing is served without"), compile(p))
	}
	s.setLevel(p)
	log := slog.New(audit.NewHandler(os.Stderr, &s.level))
	s.audit = audit.NewLog(log)
	s.Server, err = ringwall.New(p, nil, ringwall.Deps{Log: log, Audit: s.audit, Metrics: metrics.Handler})
	return err
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
	return nil
}

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

// lockState sees that one server runs with a state directory.
func lockState(dir state.Dir) (unlock func(), err error) {
	const name = "serve.lock"
	unlock, err = dir.TryLock(name)
	if errors.Is(err, state.ErrLocked) {
		pid, _ := os.ReadFile(dir.Path(name))
		return nil, &failure{fmt.Errorf("ringwall serve runs already with the state directory %s (pid %s)", dir, strings.TrimSpace(string(pid))),
			1, "stop it, or set RINGWALL_STATE to another folder"}
	}
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(dir.Path(name), fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

// explainListen adds what to do about an address that is not to be had.
func explainListen(err error) error {
	var wrong *policy.Error
	switch {
	case !errors.As(err, &wrong):
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
