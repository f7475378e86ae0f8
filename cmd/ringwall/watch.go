package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/identity/mail"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/watch"
)

func watchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch",
		Short: "See whether you would be told of an attack",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := &policyFlags{}
	policyFlag(cmd, &f.file)
	cmd.PersistentFlags().BoolVar(&f.dev, "dev", false, "as serve --dev does, whose mails go to a folder of the state directory")
	cmd.AddCommand(watchTestCommand(f))
	return cmd
}

func watchTestCommand(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "test",
		Short: "Send a test to the webhook and by mail",
		Long: `Send a test by every way that the policy names under watch, once, and say what
came of it. It reads the policy and its secrets as serve does: run it as the
user that the server runs as. A server need not run.

Exit 0: every receiver took it; 1: one did not; 2: the policy names nobody to
tell, or it is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			p, err := f.served()
			if err != nil {
				return err
			}
			return testWatch(ctx, cmd.OutOrStdout(), p)
		},
	}
}

func testWatch(ctx context.Context, out io.Writer, p *policy.Policy) error {
	n, err := watch.NewNotifier(p, watch.Deps{Mail: noticesBy(nil)})
	if err != nil {
		return err
	}
	trials := n.Test(ctx)
	if len(trials) == 0 {
		return &failure{errors.New("the policy names nobody to tell: there is neither watch.webhook nor watch.mail"), 2, "set one of them, then: ringwall watch test"}
	}
	failed := false
	for _, t := range trials {
		if t.Err == nil {
			fmt.Fprintf(out, "%s to %s: taken; see whether it came in\n", t.Way, t.To)
			continue
		}
		failed = true
		fmt.Fprintf(out, "%s to %s: not taken: %v\n", t.Way, t.To, t.Err)
	}
	if failed {
		return &failure{code: 1}
	}
	return nil
}

// noticesBy is the way of mail that a policy names, for notices.
func noticesBy(log *slog.Logger) func(*policy.Policy) (watch.SendMail, error) {
	return func(p *policy.Policy) (watch.SendMail, error) {
		mailer, err := mail.New(p, log)
		if err != nil || mailer == nil {
			return nil, err
		}
		return func(ctx context.Context, to, subject, text string) error {
			err := mailer.Send(ctx, identity.Mail{To: to, Subject: subject, Text: text})
			if errors.Is(err, identity.ErrUndeliverable) {
				return fmt.Errorf("%w: %w", watch.ErrUndeliverable, err)
			}
			return err
		}, nil
	}
}

// watching is what watches a server and tells people of it.
type watching struct {
	*watch.Notifier
	stop context.CancelFunc // nil: not started
	done sync.WaitGroup
}

// openWatch makes what tells people of events. It tells nothing before it is
// started. What it has to say itself goes to s.audit.
func (s *server) openWatch(p *policy.Policy, log *slog.Logger) (err error) {
	s.watching = &watching{}
	s.watching.Notifier, err = watch.NewNotifier(p, watch.Deps{Log: log, Audit: auditOf{s}, Mail: noticesBy(log)})
	return err
}

// start watches s, which is built.
func (w *watching) start(s *server) {
	var ctx context.Context
	ctx, w.stop = context.WithCancel(context.Background())
	w.done.Go(func() { w.Run(ctx) })
	w.done.Go(func() { watch.NewSpikes(s.Stats, s.audit).Run(ctx) })
}

// close has the last events told.
func (w *watching) close() {
	if w.stop != nil {
		w.stop()
		w.done.Wait()
	}
}

// auditOf is where a server's events go, once it is built.
type auditOf struct{ *server }

func (a auditOf) Record(e audit.Event) { a.audit.Record(e) }
