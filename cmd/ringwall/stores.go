package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/audit/chain"
	"github.com/ringwall/ringwall/policy"
	"github.com/ringwall/ringwall/store"
	"github.com/ringwall/ringwall/store/pgstore"
	"github.com/ringwall/ringwall/store/sqlitestore"
)

// openStore opens the store that the policy names, and makes it when it is a
// file that is missing. One that was emptied is an error.
func openStore(ctx context.Context, p *policy.Policy) (store.Store, error) {
	if file, ok := storeFile(p); ok {
		if err := notEmptied(file, p); err != nil {
			return nil, err
		}
		return sqlitestore.Open(ctx, file)
	}
	return pgstore.Open(ctx, p.Store, p.StorePassword.Reveal())
}

// notEmptied is an error for an empty file beside signing keys, which are made after
// the store: a copy or a repair that had no room has emptied it, and to go on would be
// to do without all accounts, ended sessions and events as if there had been none.
func notEmptied(file string, p *policy.Policy) error {
	fi, err := os.Stat(file)
	if err != nil || fi.Size() > 0 {
		return nil
	}
	if _, err := os.Stat(p.File(p.Identity.Keys)); err != nil {
		return nil
	}
	return fmt.Errorf("the store %s is empty, and the signing keys %s are not new: what was in it is lost\n  hint: ringwall store restore --force FILE, with the last good backup; or remove the empty file, to begin anew", file, p.Identity.Keys)
}

// storeFile is the SQLite file that the policy names, if it names one.
func storeFile(p *policy.Policy) (string, bool) {
	file, ok := strings.CutPrefix(p.Store, "sqlite:")
	return p.File(file), ok
}

// record puts what the command line did into the audit chain of the policy's
// store. What cannot be recorded is done all the same, and that is said.
func record(cmd *cobra.Command, p *policy.Policy, e audit.Event) {
	ctx, cancel := context.WithTimeout(cmd.Context(), storeWait)
	defer cancel()
	err := func() error {
		if err := storeThere(p); err != nil {
			return err
		}
		st, err := openStore(ctx, p)
		if err != nil {
			return err
		}
		defer st.Close()
		c := chain.New(st, slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})))
		e.Time, e.Outcome, e.Subject = time.Now(), audit.Success, "os:"+operator()
		c.Record(e)
		return c.Close(ctx)
	}()
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s it is done, and not in the audit chain: %v\n", paint(os.Stderr, "33;1", "warning:"), err)
	}
}
