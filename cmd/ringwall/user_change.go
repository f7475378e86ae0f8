package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/store"
)

func userAddCommand(f *policyFlags) *cobra.Command {
	var n identity.NewAccount
	var pw passwordFlags
	asJSON := false
	cmd := &cobra.Command{
		Use:   "add --email ADDRESS [--role ROLE]...",
		Short: "Make an account; the first one of an operator is made here",
		Long: `Make an account. Its address counts as verified. The password is asked for on
the terminal, or read with --password-stdin, or made with --generate.`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{makesStore: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n.Email == "" {
				return &failure{errors.New("an account needs an address"), 2, "ringwall user add --email you@example.com --role admin"}
			}
			return f.withAccounts(cmd, func(ctx context.Context, o office) (err error) {
				if _, err := o.Find(ctx, n.Email); err == nil {
					return &failure{errors.New("an account with this address is there already"), 1, "ringwall user role ACCOUNT ROLE..., or ringwall user passwd ACCOUNT"}
				}
				if n.Password, err = pw.read(cmd); err != nil {
					return err
				}
				a, err := o.Create(ctx, o.by, n)
				if err != nil {
					return err
				}
				row := rowOf(a)
				if pw.generate {
					row.Password = n.Password
				}
				if asJSON {
					return printJSON(cmd, row)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s has an account, with %s\n", a.Email, rolesOf(a))
				return pw.tell(cmd, n.Password)
			})
		},
	}
	cmd.Flags().StringVar(&n.Email, "email", "", "e-mail address")
	cmd.Flags().StringVar(&n.Name, "name", "", "name (default: the address up to the @)")
	cmd.Flags().StringSliceVar(&n.Roles, "role", nil, "a role of the policy; more than once for several")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	pw.add(cmd)
	return cmd
}

func rolesOf(a store.Account) string {
	switch len(a.Roles) {
	case 0:
		return "no role"
	case 1:
		return "the role " + a.Roles[0]
	}
	return "the roles " + strings.Join(a.Roles, ", ")
}

func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// onAccount is a command that does one thing to one account, and says what.
func (f *policyFlags) onAccount(use, short, long string, do func(context.Context, office, store.Account) (string, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				a, err := o.Find(ctx, args[0])
				if err != nil {
					return err
				}
				said, err := do(ctx, o, a)
				if err == nil {
					fmt.Fprintln(cmd.OutOrStdout(), said)
				}
				return err
			})
		},
	}
}

func userLockCommand(f *policyFlags) *cobra.Command {
	return f.onAccount("lock ACCOUNT", "Keep an account out, and end its sessions", "", func(ctx context.Context, o office, a store.Account) (string, error) {
		_, err := o.Lock(ctx, o.by, a.ID)
		return a.Email + " is locked, and its sessions have ended", err
	})
}

func userUnlockCommand(f *policyFlags) *cobra.Command {
	return f.onAccount("unlock ACCOUNT", "Let a locked account sign in again", "Let a locked account sign in again, and one that is delayed for failed sign-ins.", func(ctx context.Context, o office, a store.Account) (string, error) {
		_, err := o.Unlock(ctx, o.by, a.ID)
		return a.Email + " may sign in", err
	})
}

func userRoleCommand(f *policyFlags) *cobra.Command {
	none := false
	cmd := &cobra.Command{
		Use:   "role ACCOUNT ROLE...",
		Short: "Give an account these roles and no others",
		Long: `Give an account these roles and no others. When one is taken away, its sessions
end; one that is given counts from the next refresh on.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if none == (len(args) > 1) {
				return &failure{errors.New("name the roles, or say --none"), 2, "ringwall user role " + shellWord(args[0]) + " ROLE..."}
			}
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				a, err := o.Find(ctx, args[0])
				if err != nil {
					return err
				}
				if a, err = o.SetRoles(ctx, o.by, a.ID, args[1:]); err == nil {
					fmt.Fprintf(cmd.OutOrStdout(), "%s has %s\n", a.Email, rolesOf(a))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&none, "none", false, "take all roles away")
	return cmd
}

func userPasswdCommand(f *policyFlags) *cobra.Command {
	var pw passwordFlags
	cmd := &cobra.Command{
		Use:   "passwd ACCOUNT",
		Short: "Give an account a new password, and end its sessions",
		Long: `Give an account a new password, and end its sessions. You vouch for its address,
which counts as verified from now on.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				a, err := o.Find(ctx, args[0])
				if err != nil {
					return err
				}
				text, err := pw.read(cmd)
				if err != nil {
					return err
				}
				if _, err := o.SetPassword(ctx, o.by, a.ID, text); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s has a new password, and its sessions have ended\n", a.Email)
				return pw.tell(cmd, text)
			})
		},
	}
	pw.add(cmd)
	return cmd
}

func userDeleteCommand(f *policyFlags) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "delete ACCOUNT",
		Short: "Delete an account, its sessions and its tickets",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withAccounts(cmd, func(ctx context.Context, o office) error {
				a, err := o.Find(ctx, args[0])
				if err != nil {
					return err
				}
				if !yes {
					if err := confirm(cmd, a.Email+" will be deleted for good.", "ringwall user delete "+shellWord(args[0])+" --yes"); err != nil {
						return err
					}
				}
				if err := o.Delete(ctx, o.by, a.ID); err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s is deleted\n", a.Email)
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// passwordFlags say where a new password comes from. It is never an argument:
// those are seen by everybody on the machine.
type passwordFlags struct{ stdin, generate bool }

func (f *passwordFlags) add(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.stdin, "password-stdin", false, "read the password from the first line of standard input")
	cmd.Flags().BoolVar(&f.generate, "generate", false, "make a password and print it once")
	cmd.MarkFlagsMutuallyExclusive("password-stdin", "generate")
}

func (f *passwordFlags) read(cmd *cobra.Command) (string, error) {
	in, isFile := cmd.InOrStdin().(*os.File)
	switch {
	case f.generate:
		return rand.Text(), nil
	case f.stdin:
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read the password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), nil
	case !isFile || !term.IsTerminal(int(in.Fd())):
		return "", &failure{errors.New("there is no terminal to ask for the password"), 2, "add --generate, or --password-stdin and the password on standard input"}
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		b, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(b), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	again, err := ask("Again: ")
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if first != again {
		return "", &failure{errors.New("the two passwords differ, and nothing was done"), 1, ""}
	}
	return first, nil
}

// tell prints a generated password, which is kept nowhere.
func (f *passwordFlags) tell(cmd *cobra.Command, pw string) error {
	if !f.generate {
		return nil
	}
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "password: %s\nIt is not shown again.\n", pw); err != nil {
		return &failure{fmt.Errorf("the password was made, and is lost: %w", err), 1, "ringwall user passwd ACCOUNT --generate"}
	}
	return nil
}
