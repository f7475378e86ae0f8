package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// systemState is where systemd keeps the state of a unit that says
// StateDirectory=ringwall/serve, as ours does.
const systemState = "/var/lib/ringwall/serve"

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
			out, err := askRunning("reload")
			if err != nil {
				return err
			}
			if !out.OK {
				return &failure{fmt.Errorf("the old policy stays in force:\n%s", out.Message), 2, "correct it, then: ringwall policy reload"}
			}
			fmt.Fprintln(cmd.OutOrStdout(), out.Message)
			return nil
		},
	}
}
