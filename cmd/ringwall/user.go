package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
)

func userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make, list, lock and delete accounts on this server",
		Long: `The accounts are in the store that the policy names. Run these as the user that
the server runs as. A server that runs takes every change within a second.

ACCOUNT is an e-mail address or an ID.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := policyFlagsOf(cmd, "the accounts of serve --dev")
	cmd.AddCommand(userAddCommand(f), userListCommand(f), userRoleCommand(f), userLockCommand(f), userUnlockCommand(f),
		userPasswdCommand(f), userSessionsCommand(f), userDeleteCommand(f), userInvitesCommand(f), userWithdrawCommand(f))
	return cmd
}

// An office is where an operator works on accounts.
type office struct {
	*identity.Accounts
	by     identity.Actor
	policy *policy.Policy
}

// makesStore marks the command that makes the store when it is missing.
const makesStore = "makes the store"

// withAccounts opens the policy's store for one operation, which is recorded in
// the chain of events.
func (f *policyFlags) withAccounts(cmd *cobra.Command, do func(context.Context, office) error) error {
	p, err := f.served()
	if err != nil {
		return err
	}
	if !p.KeepsAccounts() {
		return &failure{errors.New("identity.registration is off: Ringwall keeps no accounts"), 2, "set identity.registration to closed, invite or open"}
	}
	if file, ok := storeFile(p); ok && cmd.Annotations[makesStore] == "" {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return &failure{fmt.Errorf("there is no store %s, and so no accounts", file), 1, "ringwall user add, or ringwall serve: both make it; or put it back if it was there"}
		}
	}
	st, err := openStore(cmd.Context(), p)
	if err != nil {
		return &failure{err, 1, "see to the store that the policy names"}
	}
	events := chain.New(st, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	err = do(cmd.Context(), office{identity.NewAccounts(p, st, events, nil), identity.Actor{ID: "os:" + operator(), Operator: true}, p})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(cmd.Context()), chainWait)
	defer cancel()
	return errors.Join(explainRefusal(err, p), events.Close(ctx), st.Close())
}

// operator is who runs the command, for the record.
func operator() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return fmt.Sprint(os.Getuid())
}

// explainRefusal adds what to type next.
func explainRefusal(err error, p *policy.Policy) error {
	var r *identity.Refusal
	switch {
	case !errors.As(err, &r):
		return err
	case r.Code == "not_found":
		return &failure{err, 1, "ringwall user list"}
	case r.Code == "no_invite":
		return &failure{err, 1, "ringwall user invites"}
	case r.Code == "unknown":
		return &failure{errors.New("the policy has no such role"), 2, "one of: " + strings.Join(sortedNames(p.Identity.Roles), ", ")}
	case r.Code == "exists":
		return &failure{err, 1, "ringwall user role ACCOUNT ROLE..., or ringwall user passwd ACCOUNT"}
	}
	return &failure{err, 1, ""}
}

// userRow is an account in JSON, as GET /api/admin/users has it.
type userRow struct {
	ID       string    `json:"id"`
	Email    string    `json:"email"`
	Name     string    `json:"name"`
	Roles    []string  `json:"roles"`
	Verified time.Time `json:"verified,omitzero"`
	Locked   time.Time `json:"locked,omitzero"`
	Created  time.Time `json:"created"`
	Updated  time.Time `json:"updated"`
	Password string    `json:"password,omitempty"` // once, when it was generated
}

func rowOf(a store.Account) userRow {
	return userRow{ID: a.ID, Email: a.Email, Name: a.Name, Roles: append([]string{}, a.Roles...), Verified: a.Verified, Locked: a.Locked,
		Created: a.Created, Updated: a.Updated}
}

func printJSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func userListCommand(f *policyFlags) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show all accounts, oldest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				rows, err := o.all(ctx)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd, map[string]any{"users": rows})
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "ADDRESS\tNAME\tROLES\tSTATE\tCREATED\tID")
				for _, r := range rows {
					fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Email, r.Name, dash(strings.Join(r.Roles, ",")), r.state(o.policy), stamp(r.Created), r.ID)
				}
				return w.Flush()
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (o office) all(ctx context.Context) ([]userRow, error) {
	rows := []userRow{}
	for after := ""; ; {
		page, next, err := o.List(ctx, after, 500)
		if err != nil {
			return nil, err
		}
		for _, a := range page {
			rows = append(rows, rowOf(a))
		}
		if after = next; next == "" {
			return rows, nil
		}
	}
}

// state says whether the account may sign in.
func (r userRow) state(p *policy.Policy) string {
	switch {
	case !r.Locked.IsZero():
		return "locked"
	case r.Verified.IsZero() && p.Identity.VerifyEmail:
		return "not verified"
	}
	return "active"
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func userSessionsCommand(f *policyFlags) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "sessions ACCOUNT",
		Short: "Show where an account is signed in, newest first",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				a, err := o.Find(ctx, args[0])
				if err != nil {
					return err
				}
				list, err := o.Sessions(ctx, a.ID)
				if err != nil {
					return err
				}
				return printSessions(cmd, list, asJSON)
			})
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
