package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge/nginx"
)

func nginxDiffCommand(f *nginxFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "diff",
		Short: "Show what of nginx's configuration is not as the policy says",
		Long: `Compare the files that install writes with those that are there: changes by
hand, a policy that was not installed, an nginx of another version. It also says
when an install was broken off, and when there is no certificate yet, so that
port 80 alone is served. Secrets are not shown. Nothing is written. Exit 0:
nothing differs; 1: something does; 2: it could not be compared.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.load()
			if err != nil {
				return err
			}
			if err := nginx.Judge(p); err != nil {
				return nginxFailure(cmd.Context(), err)
			}
			o, err := f.options(p)
			if err != nil {
				return err
			}
			h, err := f.installedOn(p)
			if err != nil {
				next := "ringwall nginx diff --help"
				if f := (*failure)(nil); errors.As(err, &f) {
					next = f.next
				}
				return &failure{err, 2, next}
			}
			o.WithoutIPv6 = !hasIPv6()
			in := &nginx.Installer{Host: h, Options: o}
			text, err := in.Diff(cmd.Context(), p)
			if err != nil {
				return &failure{nginxFailure(cmd.Context(), err), 2, "ringwall nginx diff --help"}
			}
			if text == "" {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing differs")
				return nil
			}
			fmt.Fprint(cmd.OutOrStdout(), text)
			return &failure{code: 1}
		},
	}
}
