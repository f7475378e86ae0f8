package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/policy"
)

func banCommand() *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "ban",
		Short: "Show, add and lift bans of addresses",
		Long: `Show, add and lift bans of addresses. The server that runs with this state
directory takes part at once; when none runs, the bans that it kept are changed.
Run these as the user that the server runs as.

An IPv6 address stands for its /64. What counts towards a ban is in docs/bans.md.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	policyFlag(cmd, &file)
	cmd.AddCommand(banListCommand(&file), banAddCommand(&file), banSpareCommand(&file), banRemoveCommand(&file), banWhyCommand(&file), banEnforceCommand())
	return cmd
}

func banListCommand(file *string) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show who is banned, those first who get in again first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			out, err := askBans(cmd, *file, banOrder{Do: "list"})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, map[string]any{"bans": out.Bans, "spared": slices.Concat([]edge.Reprieve{}, out.Spared)})
			}
			for _, r := range out.Spared {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is spared until %s, by %s\n", address(r.Prefix), stamp(r.Until), r.By)
			}
			if len(out.Bans) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nobody is banned")
				return nil
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ADDRESS\tUNTIL\tTIMES\tBY\tREASON")
			for _, b := range out.Bans {
				fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", address(b.Prefix), stamp(b.Until), b.Times, dash(b.By), dash(b.Reason))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// banFor is the length of an operator's ban that says nothing else.
const banFor = "24h"

func banAddCommand(file *string) *cobra.Command {
	length, reason, force := banFor, "", false
	cmd := &cobra.Command{
		Use:   "add ADDRESS",
		Short: "Ban an address or a prefix",
		Long: `Ban an address, or a prefix such as 198.51.100.0/24, in the place of the ban that
it has. What the policy spares is refused, and so are prefixes wider than an
IPv4 /8 or an IPv6 /32, and the address from which you are signed in over SSH,
unless --force is given.`,
		Example: `  ringwall ban add 198.51.100.0/24 --for 2h --reason "asked for it"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parseBanned(args[0])
			if err != nil {
				return &failure{err, 2, "ringwall ban add --help"}
			}
			d, err := policy.ParseDuration(length)
			if err != nil {
				return &failure{fmt.Errorf("--for: %w", err), 2, "ringwall ban add --help"}
			}
			sshd, _ := sshClient(os.Getpid())
			for _, own := range []netip.Addr{sshd, sshConnection(os.Environ())} {
				if own.IsValid() && edge.BannedAs(p).Contains(own) && !force {
					return &failure{fmt.Errorf("%s is where you are signed in from, %s: the API would be closed to you, and SSH too once the firewall holds bans", address(p), own),
						1, "ringwall ban add --force " + shellWord(args[0])}
				}
			}
			out, err := askBans(cmd, *file, banOrder{Do: "add", Prefix: p, For: d, Reason: reason, By: operator()})
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is banned until %s\n", address(out.Bans[0].Prefix), stamp(out.Bans[0].Until))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&length, "for", length, "how long, such as 2h or 30d, at most 366d")
	cmd.Flags().StringVar(&reason, "reason", "", "one line for whoever reads it later")
	cmd.Flags().BoolVar(&force, "force", false, "also where you are signed in from")
	return cmd
}

// spareFor is long enough for `ringwall check`.
const spareFor = "10m"

func banSpareCommand(file *string) *cobra.Command {
	length := spareFor
	cmd := &cobra.Command{
		Use:   "spare ADDRESS",
		Short: "Keep an address from being banned for a short time",
		Long: `Keep an address, or a prefix as small as an IPv4 /24 or an IPv6 /48, from being
banned for a short time, so that ringwall check can attack from there. The ban
that it has is lifted. All other controls hold for it: scanners' paths are hung
up on, and rates are kept to. It ends by itself, or with the server, and is in the
audit trail. What is to be spared for good belongs into edge.bans.allow.`,
		Example: "  ringwall ban spare 192.0.2.1 --for 10m",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parseBanned(args[0])
			if err != nil {
				return &failure{err, 2, "ringwall ban spare --help"}
			}
			d, err := policy.ParseDuration(length)
			if err != nil {
				return &failure{fmt.Errorf("--for: %w", err), 2, "ringwall ban spare --help"}
			}
			out, err := askBans(cmd, *file, banOrder{Do: "spare", Prefix: p, For: d, By: operator()})
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is spared until %s\n", address(out.Spared[0].Prefix), stamp(out.Spared[0].Until))
			}
			return err
		},
	}
	cmd.Flags().StringVar(&length, "for", length, "how long, such as 10m or 1h, at most 24h")
	return cmd
}

func banRemoveCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ADDRESS",
		Short: "Lift a ban, and forget what led to it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parseBanned(args[0])
			if err != nil {
				return &failure{err, 2, "ringwall ban list"}
			}
			out, err := askBans(cmd, *file, banOrder{Do: "remove", Prefix: p, By: operator()})
			if err == nil {
				fmt.Fprintf(cmd.OutOrStdout(), "%s is not banned any more\n", address(out.Bans[0].Prefix))
			}
			return err
		},
	}
}

func banWhyCommand(file *string) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "why ADDRESS",
		Short: "Show what is held against an address",
		Long: `Show the ban of an address, the events that led to it with the ids of the last
requests, and the points that it has towards the next one.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := parseBanned(args[0])
			if err == nil && !p.IsSingleIP() {
				err = fmt.Errorf("%s: one address is wanted", args[0])
			}
			if err != nil {
				return &failure{err, 2, "ringwall ban why --help"}
			}
			out, err := askBans(cmd, *file, banOrder{Do: "why", Prefix: p})
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, out.Why)
			}
			return printStanding(cmd, out.Why)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printStanding(cmd *cobra.Command, s *edge.Standing) error {
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	who := address(s.Address)
	switch b := s.Ban; {
	case s.Spared:
		fmt.Fprintf(w, "%s is never banned: the policy spares it\n", who)
	case s.Reprieve != nil:
		fmt.Fprintf(w, "%s is spared until %s, by %s\n", who, stamp(s.Reprieve.Until), s.Reprieve.By)
	case s.Banned:
		part := ""
		if b.Prefix != s.Address {
			part = " as part of " + b.Prefix.String()
		}
		fmt.Fprintf(w, "%s is banned%s from %s until %s, by %s, time %d\n", who, part, stamp(b.Began), stamp(b.Until), cmp.Or(b.By, "the server"), b.Times)
	case b != nil:
		fmt.Fprintf(w, "%s is not banned; the last ban was from %s until %s, time %d\n", who, stamp(b.Began), stamp(b.Until), b.Times)
	default:
		fmt.Fprintf(w, "%s is not banned\n", who)
	}
	if b := s.Ban; b != nil {
		fmt.Fprintf(w, "reason: %s\n", dash(b.Reason))
		printBanEvents(w, b.Events)
	}
	if len(s.Events) > 0 {
		fmt.Fprintf(w, "%.0f of %.0f points towards a ban, for\n", s.Points, s.Threshold)
		printBanEvents(w, s.Events)
	}
	return w.Flush()
}

func printBanEvents(w *tabwriter.Writer, events []edge.BanEvent) {
	if len(events) == 0 {
		return
	}
	fmt.Fprintln(w, "  EVENT\tOF\tCOUNT\tLAST\tREQUESTS")
	for _, e := range events {
		fmt.Fprintf(w, "  %s\t%s\t%d\t%s\t%s\n", e.Kind, dash(e.Control), e.Count, stamp(e.Last), dash(strings.Join(e.Requests, " ")))
	}
}

// parseBanned reads an address or a prefix.
func parseBanned(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is no address, such as 192.0.2.1 or 2001:db8::1, and no prefix, such as 198.51.100.0/24", s)
	case p != p.Masked():
		return p, fmt.Errorf("%s has bits outside its prefix: write %s", p, p.Masked())
	}
	return p, nil
}

// address shows a prefix as people write it.
func address(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// sshClient is the address from which the operator is signed in over SSH, or the
// zero one. sudo drops the variable that sshd set, so that the processes above
// are asked too: sure is said by the one that sshd started. Where none of them is, as
// in tmux and screen, the variable may be that of another day.
func sshClient(pid int) (from netip.Addr, sure bool) { return sshClientIn("/proc", pid, os.Environ()) }

func sshClientIn(proc string, pid int, environ []string) (from netip.Addr, sure bool) {
	for range 64 {
		here := sshConnection(environ)
		if !from.IsValid() {
			from = here
		}
		_, parent, err := processIn(proc, pid)
		if err != nil || parent < 1 {
			break
		}
		if name, _, err := processIn(proc, parent); err == nil && (name == "sshd" || name == "sshd-session") {
			if here.IsValid() {
				return here, true
			}
			break // what is above has it from elsewhere
		}
		pid = parent
		b, _ := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "environ")) // another user's: nothing is learned
		environ = strings.Split(string(b), "\x00")
	}
	return from, false
}

// sshConnection is the address in the variable that sshd sets.
func sshConnection(environ []string) netip.Addr {
	for _, v := range environ {
		if from, ok := strings.CutPrefix(v, "SSH_CONNECTION="); ok {
			from, _, _ = strings.Cut(from, " ")
			a, _ := netip.ParseAddr(from)
			return a.Unmap().WithZone("")
		}
	}
	return netip.Addr{}
}

// processIn reads proc_pid_stat(5), whose second field, the name, may hold anything.
func processIn(proc string, pid int) (name string, parent int, err error) {
	b, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "stat"))
	if err != nil {
		return "", 0, err
	}
	begin, end := strings.IndexByte(string(b), '('), strings.LastIndexByte(string(b), ')')
	if begin < 0 || end < begin {
		return "", 0, errors.New("/proc is not as it should be")
	}
	var state string
	_, err = fmt.Sscan(string(b[end+1:]), &state, &parent)
	return string(b[begin+1 : end]), parent, err
}

// banOrder is what a command wants of the bans.
type banOrder struct {
	Do     string        `json:"do"` // list, add, spare, remove, why or, between two servers, adopt
	Prefix netip.Prefix  `json:"address,omitzero"`
	For    time.Duration `json:"for,omitempty"`
	Reason string        `json:"reason,omitempty"`
	By     string        `json:"by,omitempty"`
	Ban    *edge.Ban     `json:"ban,omitempty"` // to adopt
}

// banAnswer is what came of it.
type banAnswer struct {
	Bans   []edge.Ban      `json:"bans"`             // those listed, or the one added or removed
	Spared []edge.Reprieve `json:"spared,omitempty"` // those listed, or the one given
	Why    *edge.Standing  `json:"why,omitempty"`
}
