package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/internal/hostexec"
)

// hostStatus is what status answers in JSON.
type hostStatus struct {
	Phase  string           `json:"phase"` // none, applying, applied or confirmed
	Until  time.Time        `json:"until,omitzero"`
	Drift  []hostexec.Drift `json:"drift"`
	Report check.Report     `json:"report"`
}

func hostStatusCommand(f *hostFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what is in force, and what was changed by hand since",
		Long: `Prove every control of the host ring from the server's effective state, and list
what was changed by hand since the last apply. It writes nothing. Exit 0: all is
in force or waived; 1: something is not, or was changed, or waits for its
confirmation; 2: something could not be seen.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := onServer(); err != nil {
				return err
			}
			p, err := f.load()
			if err != nil {
				return err
			}
			m := hostexec.Look()
			s := hostStatus{Phase: "none"}
			last, err := m.Last()
			if err != nil {
				return err
			}
			if last != nil {
				s.Phase, s.Until = string(last.Phase), last.Until
			}
			if s.Drift, err = m.Drift(); err != nil {
				return err
			}
			facts := host.NewFacts(host.Live{})
			if len(s.Drift) > 0 {
				// What the policy says now may have been put in place by hand, or by nginx install.
				_, _, _ = host.Plan(p, facts, time.Now()) // why there is none, plan says
				s.Drift = slices.DeleteFunc(s.Drift, func(d hostexec.Drift) bool { return facts.AsPlanned(d.Path) })
			}
			if s.Drift == nil {
				s.Drift = []hostexec.Drift{}
			}
			s.Report = check.Run(cmd.Context(), host.Checks(p, facts, time.Now()), check.Options{})
			s.Report.Version = version()
			if f.json {
				err = writeJSON(cmd.OutOrStdout(), s)
			} else {
				err = s.print(cmd.OutOrStdout(), last)
			}
			if err != nil {
				return err
			}
			code := s.Report.ExitCode()
			if len(s.Drift) > 0 || last != nil && last.Phase != hostexec.Confirmed {
				code = 1
			}
			if code != 0 {
				return &failure{code: code}
			}
			return nil
		},
	}
}

func (s hostStatus) print(w io.Writer, last *hostexec.Apply) error {
	switch {
	case last == nil:
		fmt.Fprintln(w, "No apply is in force.")
	case last.Phase == hostexec.Applied:
		fmt.Fprintf(w, "%s made, and NOT CONFIRMED: undone at %s.\nFrom a new SSH session: ringwall host confirm\n", count(len(last.Steps), "change"), last.Until.Local().Format(time.TimeOnly))
	case last.Phase == hostexec.Applying:
		fmt.Fprintln(w, "An apply or a rollback is under way, or was cut short: an apply is then undone within minutes, and what is left at once by: ringwall host rollback")
	default:
		fmt.Fprintf(w, "The apply of %s is confirmed, with %s.\n", last.Began.Local().Format(time.DateTime), count(len(last.Steps), "change"))
	}
	for _, d := range s.Drift {
		fmt.Fprintf(w, "drift: %s: %s\n", d.Control, d.What)
	}
	fmt.Fprintln(w)
	out, ok := w.(*os.File)
	return s.Report.WriteText(w, check.Text{Color: ok && colors(out)})
}
