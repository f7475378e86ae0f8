package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

type checkFlags struct {
	policy, format, out, ca string
	tokens                  []string
}

func checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [URL]",
		Short: "Prove every control from outside",
		Long: `Send the target what must be stopped and what must pass, control by control,
and report what was seen. What could not be seen is unknown, never a pass.

Without a URL the policy's site is checked. Without a policy, the defaults are
what the target is held to, so that any API can be checked. For the server of
serve --dev on this machine, its policy, authority and tokens are found.

Exit 0: all proved or waived; 1: something failed; 2: something could not be
seen, or the check could not be run.`,
		Example: `  ringwall check https://localhost:8443
  ringwall check https://api.example.com --policy ringwall.yaml --token user=@alice.token --token admin=@admin.token`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runCheck(ctx, cmd.OutOrStdout(), f, args)
		},
	}
	cmd.Flags().StringVar(&f.policy, "policy", "", "policy that the target must enforce (default $RINGWALL_POLICY, then "+policyFile+" if it is there)")
	cmd.Flags().StringVar(&f.format, "format", "text", "text or json")
	cmd.Flags().StringVar(&f.out, "out", "", "file for the report (default standard output)")
	cmd.Flags().StringVar(&f.ca, "cacert", "", "PEM file of an authority to trust besides the system's")
	cmd.Flags().StringArrayVar(&f.tokens, "token", nil, "access token of a caller without any role, or ROLE=TOKEN for one with it; @FILE reads it from a file")
	return cmd
}

func runCheck(ctx context.Context, w io.Writer, f checkFlags, args []string) error {
	t, err := findTarget(f, args)
	if err != nil {
		return unrunnable(err)
	}
	client, err := probe.New(t.url, probe.Options{TLS: t.tls, Tokens: t.tokens})
	if err != nil {
		return unrunnable(err)
	}
	report := check.Run(ctx, app.Checks(t.policy, client, time.Now()), check.Options{})
	report.Target, report.Version = t.url, version()
	if err := writeReport(w, f, report); err != nil {
		return unrunnable(err)
	}
	if code := report.ExitCode(); code != 0 {
		return &failure{code: code}
	}
	return nil
}

func unrunnable(err error) error {
	next := "ringwall check --help"
	var wrong *policy.Error
	if errors.As(err, &wrong) {
		next = "correct it, then: ringwall policy check"
	}
	return &failure{err, 2, next}
}

func writeReport(w io.Writer, f checkFlags, r check.Report) error {
	color := false
	if f.out != "" {
		file, err := os.Create(f.out)
		if err != nil {
			return err
		}
		defer file.Close()
		w = file
	} else if file, ok := w.(*os.File); ok {
		color = colors(file)
	}
	if f.format == "json" {
		return r.WriteJSON(w)
	}
	return r.WriteText(w, color)
}

// A target is what is checked, against what, and how it is reached.
type target struct {
	url    string
	policy *policy.Policy
	tls    *tls.Config
	tokens map[string]string
}

func findTarget(f checkFlags, args []string) (*target, error) {
	if f.format != "text" && f.format != "json" {
		return nil, fmt.Errorf("--format %q is neither text nor json", f.format)
	}
	t := &target{tokens: map[string]string{}}
	if len(args) > 0 {
		t.url = args[0]
	}
	if err := t.findPolicy(f); err != nil {
		return nil, err
	}
	if t.url == "" {
		t.url = "https://" + t.policy.Site
		if _, port, err := net.SplitHostPort(t.policy.Edge.Listen); err == nil && port != "443" {
			t.url += ":" + port
		}
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, err
		}
		if err := t.trust(pem); err != nil {
			return nil, fmt.Errorf("--cacert %s: %w", f.ca, err)
		}
	}
	for _, s := range f.tokens {
		role, token := splitToken(s)
		if file, ok := strings.CutPrefix(token, "@"); ok {
			b, err := os.ReadFile(file)
			if err != nil {
				return nil, fmt.Errorf("--token: %w", err)
			}
			token = strings.TrimSpace(string(b))
		}
		t.tokens[role] = token
	}
	return t, nil
}

// findPolicy takes the policy of the flag, else that of a serve --dev at the
// URL with its authority and tokens, else the file in this folder, else the
// defaults for the URL's host.
func (t *target) findPolicy(f checkFlags) (err error) {
	explicit := f.policy != "" || os.Getenv("RINGWALL_POLICY") != ""
	if dev := runningDev(t.url); dev != nil && !explicit {
		if t.policy, err = dev.state.load(dev.Policy); err != nil {
			return err
		}
		t.url = dev.URL
		if t.tokens, err = devTokens(t.policy); err != nil {
			return err
		}
		pem, err := os.ReadFile(dev.state.cert.CA)
		if err != nil {
			return err
		}
		return t.trust(pem)
	}
	file := policyPath(f.policy)
	if _, err := os.Stat(file); explicit || err == nil {
		dev := false
		if u, err := url.Parse(t.url); err == nil {
			dev = u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
		}
		t.policy, err = policy.Load(file, policy.LoadOptions{Dev: dev})
		return err
	}
	if t.url == "" {
		return errors.New("no URL, and no " + policyFile + " in this folder to take the site from")
	}
	u, err := url.Parse(t.url)
	if err != nil {
		return err
	}
	t.policy = policy.Default()
	t.policy.Site = strings.ToLower(u.Hostname())
	return nil
}

// trust adds authorities to the system's.
func (t *target) trust(pem []byte) error {
	if t.tls == nil {
		roots, err := x509.SystemCertPool()
		if err != nil {
			roots = x509.NewCertPool()
		}
		t.tls = &tls.Config{RootCAs: roots}
	}
	if !t.tls.RootCAs.AppendCertsFromPEM(pem) {
		return errors.New("no PEM certificate is in it")
	}
	return nil
}

// splitToken reads ROLE=TOKEN; without a role it is an ordinary caller's.
func splitToken(s string) (role, token string) {
	before, after, ok := strings.Cut(s, "=")
	if !ok || after == "" || strings.Trim(before, "abcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return "", s
	}
	return before, after
}
