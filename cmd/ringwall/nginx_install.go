package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/nginx"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// proofSecret is where install keeps what nginx proves itself with.
const proofSecret = "edge_nginx_proof"

func nginxInstallCommand(f *nginxFlags) *cobra.Command {
	adopt, ca, skip := "", "", false
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put the policy in force on this machine's nginx, or leave all as it was",
		Long: `Keep a copy of what is there, write the configuration, have nginx test it and
take it, and then attack the site from outside, as ringwall check does. When any
of it fails, what was there is put back, and nginx serves as before.

An install after the first one is on the same nginx, unless --nginx, --nginx-conf
or --nginx-prefix names another one.

ringwall serve must run with the same policy. The first install makes the secret
that nginx proves itself with, in secrets/` + proofSecret + ` beside the policy,
before anything else: start ringwall serve then, and install again.

Other sites are left alone. One that has the same name, or is the default of
port 80 or 443, is in the way, and nothing is written: --adopt FILE reads it,
prints it as lines of a policy with what no line can say, and, once the policy is
for its name, has this site take its place.

Exit 0: in force, and nothing that could be seen failed; what could not be seen is
named, and is not proved; 1: something failed, and all is as it was; 2: the policy
or the command line is wrong.`,
		Example: `  ringwall nginx install
  ringwall nginx install --adopt /etc/nginx/sites-enabled/api`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// The link may go, and with it the terminal: the work goes on.
			signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return nginxFailure(ctx, installNginx(ctx, cmd.OutOrStdout(), f, adopt, ca, skip))
		},
	}
	cmd.Flags().StringVar(&adopt, "adopt", "", "file of a site of this nginx that is to become the policy's")
	cmd.Flags().StringVar(&ca, "cacert", "", "PEM file of an authority to trust besides the system's, for the checks")
	cmd.Flags().BoolVar(&skip, "without-checks", false, "do not look from outside: only nginx's own test is then between you and a broken site")
	return cmd
}

func installNginx(ctx context.Context, out io.Writer, f *nginxFlags, adopt, ca string, skip bool) error {
	p, err := f.load()
	h, herr := f.installedOn(p)
	if herr != nil {
		return herr
	}
	if adopt != "" {
		if done, aerr := adoptNginx(ctx, out, h, adopt, p); !done || aerr != nil {
			return aerr
		}
	}
	if err != nil {
		return err
	}
	if err := nginx.Judge(p); err != nil {
		return err
	}
	if !p.Edge.Nginx.Proof.Set() {
		return makeProof(out, p, policyPath(f.policy))
	}
	o, err := f.options(p)
	if err != nil {
		return err
	}
	o.WithoutIPv6 = !hasIPv6()
	if usual, err := nginx.FindHost(""); err != nil || usual != h {
		fmt.Fprintf(out, "this nginx is taken: %s\n", h.Command())
	}
	in := &nginx.Installer{Host: h, Options: o, Owner: stateOwner(p), Adopt: adopt,
		Say: func(format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }}
	unseen := 0
	if !skip {
		in.Check = func(ctx context.Context) (err error) {
			unseen, err = checkNginx(ctx, out, p, h, ca)
			return err
		}
	}
	switch err := in.Install(ctx, p); {
	case errors.Is(err, nginx.ErrNeedsCertificate):
		fmt.Fprintf(out, "%v. next:\n  certbot certonly --webroot --webroot-path %s -d %s --deploy-hook '%s'\n  ringwall nginx install\n",
			err, p.Edge.Nginx.Webroot, p.Site, h.Command("-s", "reload"))
		return nil
	case err != nil:
		return err
	}
	fmt.Fprintf(out, "in force: https://%s through nginx%s\n", p.Site, unproved(skip, unseen))
	watchNginx(ctx, out)
	return nil
}

// watchNginx has systemd run the unit that tells nginx of bans and certificates.
func watchNginx(ctx context.Context, out io.Writer) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		return
	}
	for _, argv := range [][]string{{"systemctl", "daemon-reload"}, {"systemctl", "enable", "--quiet", nginxUnit}, {"systemctl", "restart", nginxUnit},
		{"systemctl", "start", strings.TrimSuffix(nginxUnit, ".path") + ".service"}} { // what was written before anybody watched
		if said, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(out, "%s: %v %s\nnext, so that nginx is told of bans and new certificates:\n  systemctl daemon-reload && systemctl enable --now %s\n",
				strings.Join(argv, " "), err, strings.TrimSpace(string(said)), nginxUnit)
			return
		}
	}
	fmt.Fprintf(out, "%s is enabled: it tells nginx of bans and new certificates\n", nginxUnit)
}

// makeProof makes the secret; serve must have it before nginx says it.
func makeProof(out io.Writer, p *policy.Policy, file string) error {
	name := filepath.Join(filepath.Dir(file), "secrets", proofSecret)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	b := make([]byte, 32)
	rand.Read(b) // never fails
	var owner *state.Owner
	if o := serviceUser(); o != nil && os.Geteuid() == 0 {
		owner = (*state.Owner)(o)
	}
	err := state.Make(name, []byte(base64.StdEncoding.EncodeToString(b)+"\n"), 0o600, owner)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	fmt.Fprintf(out, "made %s, for the eyes of ringwall serve and of nginx only. Nothing of nginx was touched yet.\nnext:\n  start ringwall serve, or restart it: it then listens for nginx on %s (ringwall host apply makes it a service)\n  ringwall nginx install\n",
		name, p.Edge.Nginx.Listen)
	return nil
}

// adoptNginx prints a site as a policy. done says that the policy is for the same
// site already, so that the install goes on.
func adoptNginx(ctx context.Context, out io.Writer, h nginx.Host, file string, p *policy.Policy) (done bool, err error) {
	files, err := h.Files(ctx)
	if err != nil {
		return false, err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return false, err
	}
	main := abs
	for _, f := range files { // a link in sites-enabled
		if a, err := os.Stat(f.Name); err == nil {
			if b, err := os.Stat(abs); err == nil && os.SameFile(a, b) {
				main = f.Name
			}
		}
	}
	a, err := nginx.Adopt(main, files)
	if err != nil {
		return false, &failure{fmt.Errorf("--adopt: %w", err), 2, "nginx -T shows the files that nginx reads"}
	}
	fmt.Fprintf(out, "# %s as a policy\n%s", file, a.Policy)
	if len(a.Left) > 0 {
		fmt.Fprintln(out, "# what no line of a policy says:")
		for _, left := range a.Left {
			fmt.Fprintln(out, "#   "+left)
		}
	}
	if p != nil && p.Site == a.Site && p.NginxIsEdge() {
		return true, nil
	}
	fmt.Fprintf(out, "# nothing was changed. next: take these lines into %s, start ringwall serve, then\n#   ringwall nginx install --adopt %s\n", policyFile, file)
	return false, nil
}

// unproved says what the checks leave open. Most policies have something that cannot be
// seen from outside, such as schemas that they do not name.
func unproved(skipped bool, unseen int) string {
	switch {
	case skipped:
		return ", and nothing of it is proved: no check was made"
	case unseen > 0:
		return fmt.Sprintf(", and not all of it is proved: %s UNKNOWN, as said above", count(unseen, "control"))
	}
	return ""
}

// checkNginx looks at the site on this machine, past any name server, and says how many
// controls could not be seen.
func checkNginx(ctx context.Context, out io.Writer, p *policy.Policy, h nginx.Host, ca string) (unseen int, err error) {
	host, port, err := net.SplitHostPort(p.Edge.Listen)
	if err != nil {
		return 0, err
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	at := "https://" + p.Site
	if port != "443" {
		at += ":" + port
	}
	cfg := &tls.Config{}
	if ca != "" {
		b, err := os.ReadFile(ca)
		if err != nil {
			return 0, fmt.Errorf("--cacert: %w", err)
		}
		if cfg.RootCAs, err = x509.SystemCertPool(); err != nil {
			cfg.RootCAs = x509.NewCertPool()
		}
		if !cfg.RootCAs.AppendCertsFromPEM(b) {
			return 0, fmt.Errorf("--cacert %s: no PEM certificate is in it", ca)
		}
	}
	c, err := probe.New(at, probe.Options{TLS: cfg, Address: host, MaxRequests: 1000, Pace: pace(p)})
	if err != nil {
		return 0, err
	}
	if err := answers(ctx, c, p, h); err != nil {
		return 0, err
	}
	fmt.Fprintf(out, "looking at %s from outside, which takes a minute\n", at)
	report := check.Run(ctx, slices.Concat(edge.Checks(p, c, time.Now()), app.Checks(p, c, time.Now())), check.Options{})
	report.Target, report.Version = at, version()
	return proved(ctx, out, report)
}

// proved is an error unless the report was made to its end, nothing in it failed and
// something passed. What could not be seen is told, and counted.
func proved(ctx context.Context, out io.Writer, report check.Report) (unseen int, err error) {
	if err := ctx.Err(); err != nil { // all that was not seen by then is unknown
		return 0, err
	}
	s := report.Summary()
	if s.Fail == 0 && s.Unknown == 0 && s.Pass > 0 {
		fmt.Fprintf(out, "%s\n", s)
		return 0, nil
	}
	// Who is told may be gone: that is no reason to take back what is proved.
	_ = report.WriteText(out, check.Text{})
	if s.Fail > 0 || s.Pass == 0 {
		return 0, fmt.Errorf("the outside check: %s", s)
	}
	for _, r := range report.Results {
		if r.Verdict == check.Unknown && !r.Moot { // what is not there leaves nothing unproved
			unseen++
		}
	}
	return unseen, nil
}

// answers waits until the site is served through nginx: its old workers may take
// a moment longer, and an authority minutes for a first certificate. A server
// that is not root writes that, and cannot have nginx read it.
func answers(ctx context.Context, c *probe.Client, p *policy.Policy, h nginx.Host) error {
	patience := 10 * time.Second
	if p.Edge.TLS.ACME.Enabled() {
		patience = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file, _ := nginx.Certificate(p)
	was, _ := os.ReadFile(file)
	for {
		if now, err := os.ReadFile(file); err == nil && !bytes.Equal(now, was) {
			if out, err := exec.CommandContext(ctx, h.Binary, h.Args("-s", "reload")...).CombinedOutput(); err != nil {
				return fmt.Errorf("%s, for a new certificate: %w: %s", h.Command("-s", "reload"), err, bytes.TrimSpace(out))
			}
			was = now
		}
		own, _ := c.Fresh()
		res, err := own.Do(ctx, probe.Request{Target: "/healthz"})
		if err == nil && res.Status < 500 {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("GET /healthz was answered %s", res.Line())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the site does not answer through nginx: %w", err)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// stateOwner is whose folder edge.nginx.state is, once the service has run as a
// user of systemd's making; else serviceUser.
func stateOwner(p *policy.Policy) *nginx.Owner {
	if fi, err := os.Stat(p.Edge.Nginx.State); err == nil {
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
			return &nginx.Owner{UID: int(st.Uid), GID: int(st.Gid)}
		}
	}
	return serviceUser()
}

// serviceUser is the user ringwall, if the machine has one; nil: whoever installs.
func serviceUser() *nginx.Owner {
	u, err := user.Lookup("ringwall")
	if err != nil {
		return nil
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err1 != nil || err2 != nil {
		return nil
	}
	return &nginx.Owner{UID: uid, GID: gid}
}

func hasIPv6() bool {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}
