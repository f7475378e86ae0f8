package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
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
ringwall policy reload, takes the policy as it is now, or keeps the old one;
SIGUSR2, or ringwall upgrade, starts the program anew without a pause.

Sockets that systemd passes, named https, redirect, admin, http3 and nginx, are
served on in the place of the policy's addresses, which they must match.

With edge.engine: nginx it listens for that nginx alone, on edge.nginx.listen;
ringwall nginx install sets nginx up.

With --dev it listens on https://localhost:8443 and http://localhost:8080, on
this machine only, with a certificate authority and accounts of its own, all in
the state directory. Without a policy it then protects a notes API, which it
starts on http://127.0.0.1:8000.`,
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
	cmd.Flags().BoolVar(&dev, "dev", false, "for this machine only, with its own certificate authority and accounts")
	return cmd
}

func serve(ctx context.Context, out io.Writer, file string, dev bool) (err error) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR2)
	defer signal.Stop(signals)

	from, err := inherit()
	if err != nil {
		return err
	}
	defer func() { from.failed(err) }()
	dir, err := openState()
	if err != nil {
		return err
	}
	lock, err := lockState(dir, from)
	if err != nil {
		return err
	}
	defer lock.Close()

	srv := &server{source: source{file: policyPath(file)}, sockets: from.sockets}
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
	srv.openBans(dir, p, from.events)
	if err := srv.build(ctx, p); err != nil {
		return err
	}
	defer srv.close()
	srv.beside.run(ctx, srv)
	control, err := listenControl(dir, from)
	if err != nil {
		return err
	}
	defer control.Close()
	up := &upgrade{server: srv, lock: lock, control: control}
	defer up.end()
	go serveControl(control, words{"reload": alone(srv.reloaded), "upgrade": alone(up.start), banWord: obeyBans(srv.bans)})
	go func() {
		for {
			select {
			case s := <-signals: // the log has what comes of it
				if s == syscall.SIGUSR2 {
					_, _ = up.start()
				} else {
					_ = srv.reload()
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	if dev {
		return serveDev(ctx, out, srv, ships)
	}
	return srv.run(ctx, func() {
		if err := writePID(lock); err != nil {
			srv.log.Warn("the lock names another process", "error", err)
		}
		from.ready()
		if p.NginxIsEdge() {
			fmt.Fprintf(out, "ready: for nginx alone on %s; next: ringwall nginx install\n", srv.Addresses().Nginx)
			return
		}
		fmt.Fprintf(out, "ready: https://%s on %s\n", p.Site, srv.Addresses().HTTPS)
	})
}
