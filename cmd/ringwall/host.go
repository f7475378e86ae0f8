package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/policy"
)

type hostFlags struct {
	hints  []string // what the plan leaves out, and why
	policy string
	json   bool
}

func hostCommand() *cobra.Command {
	var f hostFlags
	cmd := &cobra.Command{
		Use:   "host",
		Short: "Harden this server, in a way that cannot lock its owner out",
		Long: `Set up the server around the API as the policy says: who signs in, SSH, the
firewall and more. docs/host.md says what is set, in which order and why.

  ringwall host plan      shows every change, and makes none
  ringwall host apply     makes them; without a confirmation they are undone
  ringwall host confirm   from a NEW SSH session: the changes last
  ringwall host rollback  undoes the last apply, also a confirmed one
  ringwall host status    what is in force, and what was changed by hand since

Debian 12 and 13, Ubuntu 22.04 and 24.04; as root.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&f.policy, "policy", "", "the policy ("+policyDefault+")")
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "answer in JSON")
	cmd.AddCommand(hostPlanCommand(&f), hostApplyCommand(&f), hostConfirmCommand(&f), hostRollbackCommand(&f), hostStatusCommand(&f))
	return cmd
}

func (f *hostFlags) load() (*policy.Policy, error) {
	return policy.Load(policyPath(f.policy), policy.LoadOptions{})
}

// onServer is an error unless this is a Linux machine, and root's to look at.
func onServer() error {
	switch {
	case runtime.GOOS != "linux":
		return &failure{fmt.Errorf("this is %s, and the host ring is for Debian and Ubuntu servers; nothing was done", runtime.GOOS), 2, "run it on the server"}
	case os.Geteuid() != 0:
		return &failure{errors.New("only root can look into sshd's settings and the firewall, and change them; nothing was done"), 2, "sudo ringwall " + shellWords(os.Args[1:])}
	}
	return nil
}

// startedBySystemd asks as sd_booted(3) does.
func startedBySystemd(folder string) error {
	if fi, err := os.Lstat(folder); err != nil || !fi.IsDir() {
		return &failure{errors.New("this machine was not started by systemd, which the host ring asks and sets up; nothing was done"), 2, "run it on the server itself, not in a container"}
	}
	return nil
}

// plan reads the policy and the server.
func (f *hostFlags) plan(cmd *cobra.Command) (*policy.Policy, *host.Facts, []host.Change, error) {
	if err := onServer(); err != nil {
		return nil, nil, nil, err
	}
	if err := startedBySystemd("/run/systemd/system"); err != nil {
		return nil, nil, nil, err
	}
	p, err := f.load()
	if err != nil {
		return nil, nil, nil, err
	}
	facts := host.NewFacts(host.Live{})
	changes, hints, err := host.Plan(p, facts, time.Now())
	if err != nil {
		next := "correct it, or waive the control in the policy, then: ringwall host plan"
		if errors.Is(err, host.ErrUnsupported) {
			next = ""
		}
		return nil, nil, nil, &failure{fmt.Errorf("%w\nNothing was done", err), 2, next}
	}
	if note := standsForYours(p); note != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), paint(os.Stderr, "33;1", "note:")+" "+note)
	}
	for _, hint := range hints {
		fmt.Fprintln(cmd.ErrOrStderr(), "left out: "+hint)
	}
	f.hints = hints
	_, unwatched := p.Waived("host/fail2ban")
	if from, sure := sshClient(os.Getpid()); !f.json && !unwatched && len(changes) > 0 && from.IsValid() && !host.Spares(p, from) {
		seen := ""
		if !sure {
			seen = ", as far as is seen"
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "you come from %s%s, which the server bans like any other once it fails to sign in too often: when it stays yours, name it in host.allow\n", from, seen)
	}
	return p, facts, changes, nil
}

// nothing is what is said when no change is missing.
func (f *hostFlags) nothing() string {
	if len(f.hints) > 0 {
		return "nothing to do but what is left out\n"
	}
	return "nothing to do: the server is as the policy says\n"
}

type changeJSON struct {
	host.Change
	Show string `json:"show"`
}

func hostPlanCommand(f *hostFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "plan",
		Short: "Show every change that apply would make, and make none",
		Long: `Read the server and show every change that is missing, in the order in which
apply makes them: first what only opens or adds, then what closes. It writes
nothing. Exit 0, also when there is nothing to do; 2: no plan can be made.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, facts, changes, err := f.plan(cmd)
			if err != nil {
				return err
			}
			return f.showPlan(cmd.OutOrStdout(), facts, changes)
		},
	}
}

func (f *hostFlags) showPlan(w io.Writer, facts *host.Facts, changes []host.Change) error {
	if f.json {
		out := []changeJSON{}
		for _, c := range changes {
			out = append(out, changeJSON{c, c.Show(facts)})
		}
		return writeJSON(w, map[string]any{"changes": out, "hints": append([]string{}, f.hints...)})
	}
	if len(changes) == 0 {
		fmt.Fprint(w, f.nothing())
		return nil
	}
	for i, c := range changes {
		fmt.Fprintf(w, "%2d. %s: %s\n", i+1, c.Control, c.Title)
		for line := range strings.SplitSeq(c.Show(facts), "\n") {
			fmt.Fprintf(w, "      %s\n", line)
		}
	}
	fmt.Fprintf(w, "\n%s; nothing was done\n", count(len(changes), "change"))
	return nil
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
