package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store/pgstore"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Migrate, back up and restore accounts, sessions and the audit chain",
		Long: `The store that the policy names holds accounts, sessions and the audit chain.
Run these as the user that the server runs as.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := policyFlagsOf(cmd, "the store of serve --dev")
	cmd.AddCommand(storeMigrateCommand(f), storeBackupCommand(f), storeRestoreCommand(f))
	return cmd
}

func storeMigrateCommand(f *policyFlags) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring the schema to the newest version, or move everything to PostgreSQL",
		Long: `Bring the store's schema to the version that this ringwall knows, as serve does
when it starts.

With --to it copies everything from the policy's SQLite file to an empty
PostgreSQL store, in one transaction, and commits only when the rows and the
SHA-256 of every table are the same on both sides. The server must be stopped.
The file stays as it is. The password is the secret store_password, never a part
of the address.`,
		Example: `  ringwall store migrate
  ringwall store migrate --to postgres://ringwall@db.example.com/ringwall`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withStorePolicy(cmd, f, func(ctx context.Context, p *policy.Policy) error {
				if to != "" {
					return moveStore(ctx, cmd, p, to)
				}
				if err := storeThere(p); err != nil {
					return err
				}
				st, err := openStore(ctx, p)
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "%s has the newest schema\n", p.Store)
				return st.Close()
			})
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "postgres:// address of an empty store to move everything to")
	return cmd
}

func moveStore(ctx context.Context, cmd *cobra.Command, p *policy.Policy, to string) error {
	const usage = "ringwall store migrate --to postgres://ringwall@db.example.com/ringwall"
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "postgres" {
		return &failure{errors.New("--to: an address that begins with postgres:// is wanted"), 2, usage}
	}
	if _, has := u.User.Password(); has || u.Query().Has("password") {
		return &failure{errors.New("--to: a password is in the address, where other users of this machine can see it"),
			2, "put it in secrets/store_password or RINGWALL_STORE_PASSWORD, then: " + usage}
	}
	from, err := openFile(ctx, p)
	if err != nil {
		return err
	}
	defer from.Close()
	if err := from.Alone(); err != nil {
		return err
	}
	there, err := pgstore.Open(ctx, to, p.StorePassword.Reveal())
	if err != nil {
		return err
	}
	defer there.Close()
	tables, err := there.CopyFrom(ctx, from.Store)
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "moved all of %s to %s; both hold:\n", p.Store, to)
	printTables(out, tables)
	moved := *p
	moved.Store = to
	record(cmd, &moved, audit.Event{Kind: audit.StoreMoved, Detail: "from " + p.Store})
	fmt.Fprintf(out, "\nnext:\n  store: %s     # in %s\n  ringwall serve\n", to, policyFile)
	return nil
}

func storeBackupCommand(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything to a new file, while the server runs",
		Long: `Write all of the policy's SQLite store, as it is at one moment, to a new file that
only its owner can read. The server goes on meanwhile. The file appears when it
is whole and checked; one that is there is never overwritten.

It holds password hashes and addresses: keep it as you keep the store. The
signing keys (identity.keys) and secrets/ are not in it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStorePolicy(cmd, f, func(ctx context.Context, p *policy.Policy) error {
				if _, ok := storeFile(p); !ok {
					return &failure{errors.New("the store is in PostgreSQL, which has its own program for that"), 2, dumpCommand(p.Store, args[0])}
				}
				st, err := openFile(ctx, p)
				if err != nil {
					return err
				}
				defer st.Close()
				tables, err := st.Backup(ctx, args[0])
				if errors.Is(err, fs.ErrExist) {
					return &failure{fmt.Errorf("%s is there already, and is not overwritten", args[0]), 2, "choose another name"}
				}
				if err != nil {
					return err
				}
				fmt.Fprintf(cmd.OutOrStdout(), "wrote %s, for your eyes only:\n", args[0])
				printTables(cmd.OutOrStdout(), tables)
				return nil
			})
		},
	}
}

func storeRestoreCommand(f *policyFlags) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup in the place of the store",
		Long: `Check a backup, and put it in the place of the policy's SQLite store. The server
must be stopped. A store that is there already is an error; with --force it is
kept beside the new one until you remove it: nothing else does.

Everybody has to sign in again, and links in mails that were sent before do not
work any more: a session or a link that was ended after the backup must not come
back to life. Passwords, locks and roles are those of the backup.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withStorePolicy(cmd, f, func(ctx context.Context, p *policy.Policy) error {
				file, ok := storeFile(p)
				if !ok {
					return &failure{errors.New("the store is in PostgreSQL, which has its own program for that"), 2, undumpCommand(p.Store, args[0])}
				}
				tables, kept, err := sqlitestore.Restore(ctx, args[0], file, force)
				if errors.Is(err, fs.ErrExist) {
					return &failure{fmt.Errorf("there is a store already: %s", file), 2, "ringwall store restore --force " + shellWord(args[0]) + ", which keeps the old one beside it"}
				}
				if err != nil {
					return err
				}
				out := cmd.OutOrStdout()
				fmt.Fprintf(out, "restored %s from %s:\n", p.Store, args[0])
				printTables(out, tables)
				if kept != "" {
					fmt.Fprintf(out, "the old store is %s\n", kept)
				}
				record(cmd, p, audit.Event{Kind: audit.StoreRestored, Detail: "from " + args[0]})
				fmt.Fprint(out, "\nnext:\n  ringwall serve     # everybody signs in again\n")
				if kept != "" {
					fmt.Fprintf(out, "once nobody misses anything, as it holds the accounts:\n  rm %s*\n", shellWord(kept))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "replace the store that is there, and keep it under another name")
	return cmd
}

// withStorePolicy runs f with the policy, and says what to do about what it
// could not do.
func withStorePolicy(cmd *cobra.Command, flags *policyFlags, f func(context.Context, *policy.Policy) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	p, err := flags.served()
	if err != nil {
		return err
	}
	err = f(ctx, p)
	var said *failure
	if err == nil || errors.As(err, &said) {
		return err
	}
	return &failure{err, 1, storeAdvice(err)}
}

// storeAdvice is what to do about an error of a store.
func storeAdvice(err error) string {
	text := err.Error()
	for _, c := range []struct{ sign, advice string }{
		{sqlitestore.ErrInUse.Error(), "stop ringwall serve and other ringwall commands first"},
		{"(SQLSTATE 28P01)", "put the right password in secrets/store_password or RINGWALL_STORE_PASSWORD"},
		{"disk is full", "free space, then try again; nothing was changed"},
		{"no space left on device", "free space, then try again; nothing was changed"},
		{"no such file", "name a file that ringwall store backup wrote"},
		{"permission denied", "run it as the user that the server runs as"},
		{"readonly database", "run it as the user that the server runs as; the folder must be writable too"},
		{"malformed", "ringwall store restore --force FILE, with the last good backup"},
		{"not a database", "ringwall store restore --force FILE, with the last good backup"},
	} {
		if strings.Contains(text, c.sign) {
			return c.advice
		}
	}
	return ""
}

// openFile opens the policy's SQLite store, which must be there.
func openFile(ctx context.Context, p *policy.Policy) (*sqlitestore.Store, error) {
	file, ok := storeFile(p)
	if !ok {
		return nil, &failure{errors.New("the policy's store is in PostgreSQL already"), 2, ""}
	}
	if err := storeThere(p); err != nil {
		return nil, err
	}
	if err := notEmptied(file, p); err != nil {
		return nil, err
	}
	return sqlitestore.Open(ctx, file)
}

// storeThere is an error for a file that is missing, since opening would make it.
func storeThere(p *policy.Policy) error {
	if file, ok := storeFile(p); ok {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return &failure{fmt.Errorf("there is no store %s", file), 2, "ringwall serve, which makes it when identity.registration is not off"}
		}
	}
	return nil
}

func printTables(out io.Writer, tables []sqlitestore.Table) {
	for _, t := range tables {
		fmt.Fprintf(out, "  %-8s %8d rows  sha256 %x\n", t.Name, t.Rows, t.Sum)
	}
}

func dumpCommand(address, file string) string {
	return fmt.Sprintf("(umask 077; pg_dump --format=custom --schema=ringwall --file=%s %s)", shellQuote(file), shellQuote(address))
}

// undumpCommand also ends the sessions and removes the tickets of the backup, as
// restore does with SQLite.
func undumpCommand(address, file string) string {
	return fmt.Sprintf(`with ringwall serve stopped:
  pg_restore --clean --if-exists --single-transaction --dbname=%s %s
  psql --dbname=%[1]s --command="UPDATE ringwall.sessions SET ended = %[3]d, end_reason = 'revoked' WHERE ended IS NULL; DELETE FROM ringwall.tickets"`,
		shellQuote(address), shellQuote(file), time.Now().UnixMicro())
}

func shellQuote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
