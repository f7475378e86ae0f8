package main

import "github.com/spf13/cobra"

func policyShowCommand(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Print the whole policy with its defaults and what the environment sets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.load()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(p.Show())
			return err
		},
	}
}
