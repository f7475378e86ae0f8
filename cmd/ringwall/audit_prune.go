package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/store"
)

func auditPruneCommand(f *policyFlags) *cobra.Command {
	before, yes := "", false
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove old events, and leave a chain that verifies",
		Long: `Remove the events that are older than identity.keep_events, or than --before.
The server does it by itself once a day; this is for who cannot wait.

The chain is verified as far as it is removed, and left alone when it is broken.
An audit.pruned event is added, which names the last event that went: what is
left verifies with it. Export first what you want to keep.

Exit 0; 1: the chain is broken; 2: it could not be read, or not all was removed.`,
		Example: `  ringwall audit export --to 2026-01-01 > 2025.jsonl
  ringwall audit prune --before 2026-01-01`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			at, err := parseTime("--before", before)
			if err != nil {
				return &failure{err, 2, "ringwall audit prune --help"}
			}
			p, err := f.served()
			if err != nil {
				return err
			}
			if at.IsZero() {
				at = time.Now().Add(-p.Identity.KeepEvents)
			}
			if at.After(time.Now()) {
				return &failure{fmt.Errorf("--before %q is in the future: the newest events would go", before), 2, "name a day that is over"}
			}
			return f.withChain(cmd, func(ctx context.Context, st store.Chain) error {
				if !yes {
					if err := confirm(cmd, "The events before "+stamp(at)+" will be removed for good.", "ringwall audit prune --yes, with the same --before"); err != nil {
						return err
					}
				}
				n, cut, err := chain.Prune(ctx, st, at, "os:"+operator(), audit.Discard)
				switch {
				case errors.Is(err, chain.ErrBroken):
					return &failure{err, 1, "ringwall audit verify"}
				case err != nil && n > 0:
					return &failure{fmt.Errorf("%w; %s are removed, and the chain verifies", err, count(n, "event")), 2, "the same again"}
				case err != nil:
					return err
				case cut.Seq == 0:
					fmt.Fprintln(cmd.OutOrStdout(), "there are no events before "+stamp(at))
					return nil
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s before %s are removed\ncut %s\nThe server's log does not know of it: until the server has pruned too, add\n--anchor with the cut to ringwall audit verify --anchors.\n",
					count(n, "event"), stamp(at), cut)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&before, "before", "", "remove those before this time: 2026-07-30, in UTC, or 2026-07-30T12:00:00Z")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}
