package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

func serveCommand() *cobra.Command {
	var file string
	var dev bool
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Enforce the policy in front of the API",
		Long: `Listen as the policy says and pass on what it allows to the API. Ctrl-C or
SIGTERM lets requests under way end, a second one does not; SIGHUP, or
ringwall policy reload, takes the policy as it is now, or keeps the old one.

With --dev it listens on https://localhost:8443 and http://localhost:8080, on
this machine only, with a certificate authority of its own. Without a policy it
then protects a notes API, which it starts on http://127.0.0.1:8000.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			asked, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			ctx, drain := context.WithCancel(cmd.Context())
			defer drain()
			context.AfterFunc(asked, func() {
				stop() // the second signal ends the process
				drain()
			})
			return serve(ctx, cmd.OutOrStdout(), file, dev)
		},
	}
	policyFlag(cmd, &file)
	cmd.Flags().BoolVar(&dev, "dev", false, "for this machine only, with its own certificate authority and tokens")
	return cmd
}

func serve(ctx context.Context, out io.Writer, file string, dev bool) error {
	// A small heap makes the collector run dozens of times a second under load:
	// some 15 MB more save about a sixth of the CPU (docs/benchmarks.md).
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	dir, err := openState()
	if err != nil {
		return err
	}
	unlock, err := lockState(dir)
	if err != nil {
		return err
	}
	defer unlock()

	srv := &server{source: source{file: policyPath(file)}}
	ships := false
	if dev {
		if srv.source, ships, err = devSource(file); err != nil {
			return err
		}
	}
	p, err := srv.source.load()
	if err != nil {
		return err
	}
	if err := srv.build(p); err != nil {
		return notServed(err)
	}
	control, err := listenControl(dir)
	if err != nil {
		return err
	}
	defer control.Close()
	go serveControl(control, srv.reload)
	go func() {
		for {
			select {
			case <-hup:
				_ = srv.reload() // the log has it
			case <-ctx.Done():
				return
			}
		}
	}()
	if dev {
		return serveDev(ctx, out, srv, ships)
	}
	return srv.run(ctx, func() { fmt.Fprintf(out, "ready: https://%s on %s\n", p.Site, srv.Addresses().HTTPS) })
}
