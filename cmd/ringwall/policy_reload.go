package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/internal/state"
)

// systemState is where systemd keeps the state of a unit that says
// StateDirectory=ringwall.
const systemState = "/var/lib/ringwall"

func policyReloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "reload",
		Short: "Have the running server take the policy as it is now",
		Long: `Have the server that runs with this state directory read its policy and the
files that it names again. It takes all of them, or none: then it keeps the
policy in force, and this says why. SIGHUP does the same.

Exit 0: the new policy is in force; 2: it is not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := state.Path(os.Getenv)
			if err != nil {
				return &failure{err, 2, ""}
			}
			out, err := askReload(dir)
			if errors.Is(err, errNoServer) && dir != systemState {
				if system, serr := askReload(systemState); serr == nil {
					out, err = system, nil
				}
			}
			switch {
			case errors.Is(err, errNoServer):
				return &failure{err, 2, "ringwall serve, or set RINGWALL_STATE to the state directory of the server"}
			case err != nil:
				return &failure{err, 2, ""}
			case !out.OK:
				return &failure{fmt.Errorf("the old policy stays in force:\n%s", out.Message), 2, "correct it, then: ringwall policy reload"}
			}
			fmt.Fprintln(cmd.OutOrStdout(), out.Message)
			return nil
		},
	}
}
