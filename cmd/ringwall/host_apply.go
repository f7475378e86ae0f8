package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/hostexec"
	"github.com/ringwall/ringwall/policy"
)

func hostApplyCommand(f *hostFlags) *cobra.Command {
	var within string
	var yes, overwrite bool
	cmd := &cobra.Command{
		Use:   "apply",
		Short: "Make the changes; without a confirmation from a new SSH session they are undone",
		Long: `Make every change of the plan. Before each one, what was there is copied. A
timer of systemd undoes all of it unless ringwall host confirm comes in time,
from an SSH session that began after the last change. It needs neither this
command nor this session: whatever breaks, the server is as it was.

Exit 0: done, or nothing to do; 1: it did not work, and all is as it was;
2: nothing was done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			window, err := policy.ParseDuration(within)
			if err == nil && (window < 10*time.Second || window > time.Hour) {
				err = errors.New("give 10s to 1h")
			}
			if err != nil {
				return &failure{fmt.Errorf("--within: %w", err), 2, "ringwall host apply --within 5m"}
			}
			from, _ := sshClient(os.Getpid())
			return f.apply(cmd, hostexec.Options{Window: window, Overwrite: overwrite, From: from}, yes)
		},
	}
	cmd.Flags().StringVar(&within, "within", "5m", "time to confirm in")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&overwrite, "overwrite", false, "also overwrite what was changed by hand since the last apply")
	return cmd
}

func (f *hostFlags) apply(cmd *cobra.Command, o hostexec.Options, yes bool) error {
	if err := onServer(); err != nil {
		return err
	}
	if err := undoHalf(cmd, yes); err != nil {
		return err
	}
	p, facts, changes, err := f.plan(cmd)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if len(changes) == 0 {
		return f.said(out, map[string]any{"phase": "nothing to do"}, f.nothing())
	}
	if !yes {
		if err := f.showPlan(cmd.ErrOrStderr(), facts, changes); err != nil {
			return err
		}
		if err := confirm(cmd, count(len(changes), "change")+" to this server", "ringwall host apply --yes"); err != nil {
			return err
		}
	}
	// The link may go, and with it the terminal: the work goes on.
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	m, err := openHost(cmd)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Apply(ctx, p, changes, o); err != nil {
		return notApplied(err)
	}
	return f.said(out, map[string]any{"phase": hostexec.Applied, "changes": len(changes), "confirm_within": o.Window.String()}, fmt.Sprintf(`
%s made. They are undone in %s unless you confirm.
Leave this session open, and from a NEW one, on your own machine:
  ssh %s%s@SERVER sudo ringwall host confirm
`, count(len(changes), "change"), o.Window, sshPort(), p.Host.DeployUser))
}

// sshPort is what ssh has to be told of where SSH listens now: "" for its own port.
func sshPort() string {
	ports, err := host.NewFacts(host.Live{}).SSHPorts()
	if err != nil || slices.Contains(ports, 22) {
		return ""
	}
	return fmt.Sprintf("-p %d ", ports[0])
}

// undoHalf undoes what an apply did that was cut short, as by kill -9: half of a
// change is no server to make a plan from, and can be confirmed by nobody.
func undoHalf(cmd *cobra.Command, yes bool) error {
	last, err := hostexec.Look().Last()
	if err != nil || last == nil || last.Phase != hostexec.Applying {
		return err
	}
	if err := agreeHalf(cmd, yes, func() (io.Closer, error) { return openHost(cmd) }); err != nil {
		return err
	}
	m, err := openHost(cmd)
	if err != nil {
		return err
	}
	defer m.Close()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE) // as in apply
	if _, err := m.RollbackHalf(); err != nil {
		return &failure{fmt.Errorf("not everything could be put back: %w", err), 1, "correct it, then: ringwall host rollback"}
	}
	return nil
}

// agreeHalf asks before half an apply is undone, and does not hold the machine while
// the question stands: the timer may undo it meanwhile.
func agreeHalf(cmd *cobra.Command, yes bool, open func() (io.Closer, error)) error {
	m, err := open() // it may be under way
	if err != nil {
		return err
	}
	m.Close()
	const half = "the last apply was cut short: what it did is undone first"
	if yes {
		fmt.Fprintln(cmd.ErrOrStderr(), half)
		return nil
	}
	return confirm(cmd, half, "ringwall host rollback; or: ringwall host apply --yes")
}

// afterCut is what to type after an apply that was cut short: it undoes that first.
const afterCut = "ringwall host apply"

func notApplied(err error) error {
	switch {
	case errors.Is(err, hostexec.ErrRestored):
		return &failure{err, 1, "ringwall host plan"}
	case errors.Is(err, hostexec.ErrPending):
		return &failure{err, 2, "from a new SSH session: ringwall host confirm; or: ringwall host rollback"}
	case errors.Is(err, hostexec.ErrCutShort):
		return &failure{err, 2, afterCut}
	case errors.Is(err, hostexec.ErrDrift):
		return &failure{err, 2, "ringwall host status; then: ringwall host apply --overwrite"}
	}
	return &failure{err, 1, "ringwall host status"}
}

func openHost(cmd *cobra.Command) (*hostexec.Machine, error) {
	m, err := hostexec.Open(func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), s) }, false)
	if err != nil {
		return nil, &failure{err, 2, "ringwall host status"}
	}
	return m, nil
}

// said answers in JSON or in words.
func (f *hostFlags) said(w io.Writer, v any, words string) error {
	if f.json {
		return writeJSON(w, v)
	}
	_, err := io.WriteString(w, words)
	return err
}

func hostConfirmCommand(f *hostFlags) *cobra.Command {
	var console bool
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Have the last apply last: from a new SSH session",
		Long: `Confirm the last apply. It counts from an SSH session that began after the last
change, which shows that you still get in. A session over a connection that was
open before, as ControlMaster makes them, is refused; so is one in a terminal
multiplexer, which hides where it came from. At the server's own console (VNC,
serial, or from the machine around a container), say --console. Only a terminal
that is seen to be one counts: not a service, nor what an SSH session left running.

It also keeps by what somebody comes in or becomes root: accounts, passwords, keys
and rules of sudo. Whatever comes to them later makes host/accounts fail, until it
is confirmed here, too.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := onServer(); err != nil {
				return err
			}
			session, err := sessionFor(console)
			if err != nil {
				return err
			}
			m, err := openHost(cmd)
			if err != nil {
				return err
			}
			defer m.Close()
			_, err = m.Confirm(session)
			// After an apply that is confirmed there may be new ways in, to confirm alone.
			last, _ := m.Last()
			nothing := errors.Is(err, hostexec.ErrNothing) && last != nil
			if errors.Is(err, hostexec.ErrCutShort) {
				return &failure{err, 1, afterCut}
			}
			if err != nil && !nothing {
				return &failure{err, 1, "from your own machine, anew: ssh -o ControlPath=none USER@SERVER sudo ringwall host confirm"}
			}
			words := "confirmed: the changes last; ringwall host rollback undoes them\n"
			ways, werr := host.WaysIn(host.NewFacts(host.Live{}))
			var more []string
			if werr == nil {
				more, werr = m.KeepWaysIn(ways)
			}
			switch {
			case werr != nil:
				fmt.Fprintf(cmd.ErrOrStderr(), "who comes in could not be kept, and host/accounts does not see who comes to them: %v\n", werr)
			case nothing && len(more) > 0:
				words = ""
			}
			for _, w := range ways {
				if strings.HasPrefix(w, host.Unseen) {
					fmt.Fprintln(cmd.ErrOrStderr(), w)
				}
			}
			if nothing && len(more) == 0 {
				return &failure{err, 1, "ringwall host status"}
			}
			if len(more) > 0 {
				words += "known from now on:\n  " + strings.Join(more, "\n  ") + "\n"
			}
			return f.said(cmd.OutOrStdout(), map[string]any{"phase": hostexec.Confirmed, "new_ways_in": append([]string{}, more...)}, words)
		},
	}
	cmd.Flags().BoolVar(&console, "console", false, "this is the server's own console, not SSH")
	return cmd
}

// sessionFor is when the SSH session began that asks, nil at a console.
func sessionFor(console bool) (*hostexec.Moment, error) {
	began, err := hostexec.Session(os.Getpid())
	switch {
	case errors.Is(err, hostexec.ErrNoSession) && console:
		if err := hostexec.Console(os.Getpid()); err != nil {
			return nil, &failure{err, 1, "from your own machine, anew: ssh USER@SERVER sudo ringwall host confirm; or sign in at the provider's console, without tmux or screen"}
		}
		return nil, nil
	case errors.Is(err, hostexec.ErrNoSession):
		return nil, &failure{fmt.Errorf("%w, as far as the kernel tells: it shows nothing about the way in", err), 1,
			"from your own machine: ssh USER@SERVER sudo ringwall host confirm; at the server's own console: ringwall host confirm --console"}
	case err != nil:
		return nil, err
	case console:
		return nil, &failure{errors.New("this is an SSH session, not the console"), 1, "ringwall host confirm"}
	}
	return &began, nil
}

func hostRollbackCommand(f *hostFlags) *cobra.Command {
	var unattended bool
	cmd := &cobra.Command{
		Use:   "rollback",
		Short: "Undo the last apply, also a confirmed one",
		Long: `Undo every change of the last apply that is not undone yet. What you changed by
hand since in a file that goes back is kept beside the journal, under
/var/lib/ringwall/host/applies.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := onServer(); err != nil {
				return err
			}
			signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
			m, err := hostexec.Open(func(s string) { fmt.Fprintln(cmd.ErrOrStderr(), s) }, unattended)
			if err != nil {
				return &failure{err, 2, "ringwall host status"}
			}
			defer m.Close()
			undo := func() (*hostexec.Apply, error) { return m.Rollback("ringwall host rollback") }
			if unattended {
				undo = m.Unattended
			}
			a, err := undo()
			if err != nil && a == nil {
				return &failure{fmt.Errorf("nothing was put back: %w", err), 1, "correct it, then again: ringwall host rollback"}
			}
			if err != nil {
				return &failure{fmt.Errorf("not everything could be put back: %w", err), 1, "correct it, then again: ringwall host rollback"}
			}
			if a == nil {
				return f.said(cmd.OutOrStdout(), map[string]any{"phase": "nothing to undo"}, "there is nothing to undo\n")
			}
			return f.said(cmd.OutOrStdout(), map[string]any{"phase": a.Phase, "changes": len(a.Steps)}, count(len(a.Steps), "change")+" undone: the server is as it was\n")
		},
	}
	cmd.Flags().BoolVar(&unattended, "unattended", false, "undo what is not confirmed, as the timer does")
	_ = cmd.Flags().MarkHidden("unattended")
	return cmd
}
