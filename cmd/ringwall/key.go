package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

func keyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List, rotate and revoke the keys that sign access tokens",
		Long: `The keys are in the file that identity.keys names. One is active: it signs. The
next one is published already, so that whoever caches the key set knows it
before it signs. Previous ones verify until the tokens that they signed have
ended. A server that runs takes every change within half a second.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := policyFlagsOf(cmd, "those of serve --dev, in the state directory")
	cmd.AddCommand(keyListCommand(f), keyRotateCommand(f), keyRevokeCommand(f))
	return cmd
}

func keyListCommand(f *policyFlags) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Show each key, without its secret",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, ring, err := f.openKeys()
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd, map[string]any{"keys": ring.List()})
			}
			return writeKeys(cmd.OutOrStdout(), ring.List())
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func keyRotateCommand(f *policyFlags) *cobra.Command {
	early := false
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Have the next key sign; no token is refused for it",
		Long: `Have the next key sign from now on, and publish a new next one. The tokens of
the key that signed until now stay good until they end.

A next key that was published less than ten minutes ago is refused: whoever
cached the key set before would refuse its tokens.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, ring, err := f.openKeys()
			if err != nil {
				return err
			}
			rotate := ring.Rotate
			if early {
				rotate = ring.RotateEarly
			}
			if err := rotate(); errors.Is(err, identity.ErrTooEarly) {
				return &failure{err, 1, "wait until then, or: ringwall key rotate --early"}
			} else if err != nil {
				return err
			}
			keys := byState(ring.List())
			active, previous := keys[identity.KeyActive], keys[identity.KeyPrevious]
			fmt.Fprintf(cmd.OutOrStdout(), "%s signs from now on\n%s verifies until %s\n%s is published, and signs after the next rotation\n",
				active.ID, previous.ID, stamp(previous.Until), keys[identity.KeyNext].ID)
			recordKey(cmd, p, audit.KeyRotated, active.ID+" signs")
			return nil
		},
	}
	cmd.Flags().BoolVar(&early, "early", false, "also when others may have cached a key set without the next key")
	return cmd
}

func keyRevokeCommand(f *policyFlags) *cobra.Command {
	yes := false
	cmd := &cobra.Command{
		Use:   "revoke KID",
		Short: "Refuse all access tokens of a key from now on",
		Long: `Refuse all access tokens that a key signed, within a second. Their owners stay
signed in: their clients refresh. When it is the active key, the next one signs
at once. Others who verify tokens themselves may cache the key set for five
minutes.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, ring, err := f.openKeys()
			if err != nil {
				return err
			}
			kid := args[0]
			var key identity.KeyInfo
			for _, k := range ring.List() {
				if k.ID == kid {
					key = k
				}
			}
			if key.ID == "" {
				return &failure{fmt.Errorf("%w: %q", identity.ErrNoKey, kid), 2, "ringwall key list"}
			}
			if !yes {
				if err := confirm(cmd, fmt.Sprintf("%s is the %s key. All access tokens that it signed end.", kid, key.State), "ringwall key revoke "+kid+" --yes"); err != nil {
					return err
				}
			}
			if err := ring.Revoke(kid); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is revoked\n%s signs\n", kid, byState(ring.List())[identity.KeyActive].ID)
			recordKey(cmd, p, audit.KeyRevoked, kid)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// openKeys opens the policy's key ring. It makes none: the server does.
func (f *policyFlags) openKeys() (*policy.Policy, *identity.KeyRing, error) {
	p, err := f.served()
	if err != nil {
		return nil, nil, err
	}
	if !p.KeepsAccounts() {
		return nil, nil, &failure{errors.New("identity.registration is off: access tokens are signed with the one key identity_token_key"),
			2, "set identity.registration, or put another key in secrets/identity_token_key and restart"}
	}
	file := p.File(p.Identity.Keys)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, &failure{fmt.Errorf("there is no key file %s yet", file), 1, "ringwall serve, which makes it"}
	}
	ring, err := identity.OpenKeyRing(file, nil)
	var broken *identity.KeyFileError
	if errors.As(err, &broken) {
		return nil, nil, &failure{err, 2, ""}
	}
	return p, ring, err
}

// recordKey puts what was done into the audit chain. A key must be revocable
// while the store is out, so nothing waits for it.
func recordKey(cmd *cobra.Command, p *policy.Policy, kind audit.Kind, detail string) {
	record(cmd, p, audit.Event{Kind: kind, Control: "identity/keys", Detail: detail})
}

// byState is the first key of each state, in the order of KeyRing.List.
func byState(list []identity.KeyInfo) map[identity.KeyState]identity.KeyInfo {
	keys := map[identity.KeyState]identity.KeyInfo{}
	for _, k := range list {
		if _, ok := keys[k.State]; !ok {
			keys[k.State] = k
		}
	}
	return keys
}

func writeKeys(out io.Writer, list []identity.KeyInfo) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tSTATE\tMADE\tSIGNS SINCE\tSTOPPED\tKNOWN UNTIL")
	for _, k := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.State, stamp(k.Made), stamp(k.Started), stamp(k.Stopped), stamp(k.Until))
	}
	return w.Flush()
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
