package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/edge/http3"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/host"
	"github.com/ringwall/ringwall/metrics"
	"github.com/ringwall/ringwall/policy"
)

func policyCheckCommand(f *policyFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Find every mistake in the policy and in the files that it names",
		Long: `Read the policy and all files that it names, as serve does, and list every
mistake with its place: first of the keys and, when they are good, of what they
say together and of the files. Nothing is started. Without an upstream it is a
Go program's. Exit 0: serve would take it and, with edge.engine: nginx, so would
ringwall nginx install; 2: not.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := f.load()
			if err != nil {
				return err
			}
			if err := judge(p); err != nil {
				return notServed(err)
			}
			routes, limits, waivers := len(p.App.Routes), len(p.App.Limits), len(p.Waivers)
			if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is good: %s, %s, %s\n", policyPath(f.file),
				count(routes, "route"), count(limits, "rate class", "rate classes"), count(waivers, "waiver")); err != nil {
				return fmt.Errorf("print: %w", err)
			}
			if note := standsForYours(p); note != "" {
				fmt.Fprintln(cmd.OutOrStdout(), "note: "+note)
			}
			for _, i := range p.Overridden() {
				fmt.Fprintf(cmd.OutOrStdout(), "note: app.routes[%d], %s, is never asked: Ringwall serves these paths itself\n", i, p.App.Routes[i].Path)
			}
			for _, w := range p.Waivers {
				if w.Expired(time.Now()) {
					fmt.Fprintf(cmd.OutOrStdout(), "note: the waiver of %s ended on %s: the control is in force again\n", w.Control, w.Until.Format(time.DateOnly))
				}
			}
			return nil
		},
	}
}

// standsForYours says of a site that it was never written, "" of one that was.
func standsForYours(p *policy.Policy) string {
	if p.Dev() || !p.ExampleSite() {
		return ""
	}
	return "the site is " + p.Site + ", which stands for yours: clients that ask for another host are refused; write yours into the policy"
}

// notServed is a policy that loads but cannot be served.
func notServed(err error) error {
	return &failure{err, 2, "correct it, then: ringwall policy check"}
}

// judge says whether serve would take the policy.
func judge(p *policy.Policy) error {
	var errs []error
	switch {
	case p.NginxIsEdge():
		errs = append(errs, nginx.Judge(p))
	case len(p.Behind()) > 0 && !p.Dev(): // serve --dev has a certificate
		errs = append(errs, namesCertificate(p))
	}
	return errors.Join(append(errs, compile(p))...)
}

// namesCertificate is an error when the policy says nothing of one.
func namesCertificate(p *policy.Policy) error {
	if p.Edge.TLS.Cert != "" || p.Edge.TLS.ACME.Enabled() || p.NginxIsEdge() {
		return nil
	}
	return p.Errorf("edge.tls", "ask Let's Encrypt for one, tls: {acme: {email: you@example.com}}, or name PEM files, tls: {cert: site.pem, key: site.key}",
		"there is no certificate, and nothing is served without")
}

// compile makes all that serve would make of a policy, and drops it.
func compile(p *policy.Policy) error {
	if p.Dev() && !p.Identity.TokenKey.Set() { // serve --dev has one
		p.Identity.TokenKey = policy.NewSecret(newTokenKey())
	}
	var handler http.Handler
	if len(p.Behind()) == 0 { // a Go program's policy
		handler = http.NotFoundHandler()
	}
	deps := ringwall.Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: metrics.Handler, HTTP3: http3.New}
	if p.KeepsAccounts() {
		deps.Identity = noAccounts{}
	}
	var err error
	if deps.Certificates, err = judgeCertificates(p); err != nil {
		return err
	}
	_, err = ringwall.New(p, handler, deps)
	return errors.Join(err, host.CheckWaivers(p))
}

func count(n int, noun ...string) string {
	switch {
	case n == 1:
		return "1 " + noun[0]
	case len(noun) > 1:
		return fmt.Sprint(n, " ", noun[1])
	}
	return fmt.Sprint(n, " ", noun[0], "s")
}
