package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/store"
)

func sessionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "session",
		Short: "End sessions on this server",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(sessionEndCommand(policyFlagsOf(cmd, "the accounts of serve --dev")))
	return cmd
}

func sessionEndCommand(f *policyFlags) *cobra.Command {
	account := ""
	cmd := &cobra.Command{
		Use:   "end SESSION | --account ACCOUNT",
		Short: "Sign out one session, or all of an account",
		Long: `Sign out one session, or all of an account. ringwall user sessions ACCOUNT lists
them. A server that runs refuses their tokens within a second.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if (account == "") == (len(args) == 0) {
				return &failure{errors.New("name a session, or an account whose sessions shall end"), 2, "ringwall session end --account ACCOUNT"}
			}
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				if account == "" {
					s, err := o.Session(ctx, args[0])
					if err == nil {
						err = o.EndSession(ctx, o.by, s.AccountID, s.ID)
					}
					if err == nil {
						fmt.Fprintln(cmd.OutOrStdout(), "the session has ended")
					}
					return err
				}
				a, err := o.Find(ctx, account)
				if err != nil {
					return err
				}
				n, err := o.EndSessions(ctx, o.by, a.ID, "")
				if err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%d sessions of %s have ended\n", n, a.Email)
				}
				return err
			})
		},
	}
	cmd.Flags().StringVar(&account, "account", "", "all sessions of this account, by address or ID")
	return cmd
}

// sessionRow is a session in JSON.
type sessionRow struct {
	ID        string    `json:"id"`
	UserAgent string    `json:"user_agent"`
	Address   string    `json:"address,omitempty"`
	Created   time.Time `json:"created"`
	LastUsed  time.Time `json:"last_used"`
	Expires   time.Time `json:"expires"`
}

func printSessions(cmd *cobra.Command, list []store.Session, asJSON bool) error {
	rows := []sessionRow{}
	for _, s := range list {
		r := sessionRow{ID: s.ID, UserAgent: s.UserAgent, Created: s.Created, LastUsed: s.Used, Expires: s.Expires}
		if s.Client.IsValid() {
			r.Address = s.Client.String()
		}
		rows = append(rows, r)
	}
	if asJSON {
		return printJSON(cmd, map[string]any{"sessions": rows})
	}
	w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tADDRESS\tCREATED\tLAST USED\tEXPIRES\tUSER AGENT")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, dash(r.Address), stamp(r.Created), stamp(r.LastUsed), stamp(r.Expires), dash(r.UserAgent))
	}
	return w.Flush()
}
