package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// inviteRow is an invitation in JSON, as GET /api/admin/invites has it.
type inviteRow struct {
	Email   string    `json:"email"`
	Roles   []string  `json:"roles"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
}

func userInvitesCommand(f *policyFlags) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "invites",
		Short: "Show the invitations that wait, by address",
		Long: `Show the invitations that were mailed and not used yet, by address. They are made
over HTTP, by who may manage accounts.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				rows := []inviteRow{}
				for after := ""; ; {
					page, next, err := o.Invites(ctx, after, 500)
					if err != nil {
						return err
					}
					for _, i := range page {
						rows = append(rows, inviteRow{i.Email, append([]string{}, i.Roles...), i.Created, i.Expires})
					}
					if after = next; next == "" {
						break
					}
				}
				if asJSON {
					return printJSON(cmd, map[string]any{"invites": rows})
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ADDRESS\tROLES\tMADE\tEXPIRES")
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.Email, dash(strings.Join(r.Roles, ",")), stamp(r.Created), stamp(r.Expires))
				}
				return w.Flush()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func userWithdrawCommand(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw ADDRESS",
		Short: "Make the invitation to an address worthless",
		Long: `Make the invitation to an address worthless, whoever made it. An account that was
made with it already stays: ringwall user lock, or delete.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				err := o.Withdraw(ctx, o.by, args[0])
				if err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), "the invitation is withdrawn: its mail makes no account any more")
				}
				return err
			})
		},
	}
}
