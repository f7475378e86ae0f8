package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nftables"
)

// bansSocket names the socket of `ringwall ban enforce` to the server.
const bansSocket = "RINGWALL_BANS_SOCKET"

// kernel is the Banner that the environment names, none without.
func kernel() edge.Banners {
	if path := os.Getenv(bansSocket); path != "" {
		return edge.Banners{nftables.NewBanner(path)}
	}
	return nil
}

func banEnforceCommand() *cobra.Command {
	var allow []string
	cmd := &cobra.Command{
		Use:   "enforce",
		Short: "Hold the server's bans in the kernel; systemd starts this",
		Long: `Take bans from the server over the socket that systemd passes, and hold them in
the kernel's table "inet ringwall", where packets of banned addresses are dropped.
ringwall host apply sets it up as ringwall-bans.service: its one privilege is
CAP_NET_ADMIN, so that the server needs none.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h := &nftables.Holder{}
			for _, s := range allow {
				p, err := netip.ParsePrefix(s)
				if err != nil {
					return &failure{fmt.Errorf("--allow: %w", err), 2, "ringwall ban enforce --help"}
				}
				h.Allow = append(h.Allow, p.Masked())
			}
			listeners, err := activation.Listeners()
			if err != nil {
				return err
			}
			if len(listeners) != 1 || listeners[0] == nil {
				return &failure{errors.New("systemd has passed no socket"), 2, "systemctl start ringwall-bans.socket"}
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return h.Serve(ctx, listeners[0], func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) })
		},
	}
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "prefix that is never refused, whatever the server says")
	return cmd
}
