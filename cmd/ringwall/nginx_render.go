package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge/nginx"
)

func nginxRenderCommand(f *nginxFlags) *cobra.Command {
	version := ""
	withoutTLS, withoutIPv6 := false, false
	cmd := &cobra.Command{
		Use:   "render",
		Short: "Print the nginx configuration of the policy",
		Long: `Print the file that install writes, for the nginx of this machine or, with
--nginx-version, for another. It holds no secret: it includes two files that do,
which only install writes. Nothing is written.`,
		Example: `  ringwall nginx render
  ringwall nginx render --nginx-version 1.18.0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.load()
			if err != nil {
				return err
			}
			o, err := f.options(p)
			if err != nil {
				return err
			}
			if version != "" {
				o.Version, err = nginx.ParseVersion(version)
			} else {
				var h nginx.Host
				if h, err = f.host(); err == nil {
					o.Version, err = h.Version(cmd.Context())
				}
			}
			if err != nil {
				return &failure{err, 2, "ringwall nginx render --nginx-version 1.22.1"}
			}
			o.WithoutTLS, o.WithoutIPv6 = withoutTLS, withoutIPv6
			text, err := nginx.Render(p, o)
			if err != nil {
				return nginxFailure(cmd.Context(), err)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			if err != nil {
				return fmt.Errorf("print: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&version, "nginx-version", "", "render for this nginx, such as 1.22.1, or for what another machine's nginx -V says")
	cmd.Flags().BoolVar(&withoutTLS, "without-tls", false, "port 80 alone, as before there is a certificate")
	cmd.Flags().BoolVar(&withoutIPv6, "without-ipv6", false, "listen on IPv4 alone where the policy names no address")
	return cmd
}
