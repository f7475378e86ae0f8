package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/policy"
)

type checkFlags struct {
	policy, ca, account string
	tokens, refused     []string

	format, by, failOn string
	out                []string
	long               bool

	only, skip         []string
	maxRequests        int
	timeout            time.Duration
	own, intrusive     bool
	spared             bool
	plainPort, sshPort string
	inside             bool
	with               string
	baseline           string
	watch              time.Duration
}

func checkCommand() *cobra.Command {
	var f checkFlags
	cmd := &cobra.Command{
		Use:   "check [URL]",
		Short: "Prove every control, from outside and from inside",
		Long: `Send the target what must be stopped and what must pass, control by control,
and report what was seen. What could not be seen is unknown, never a pass.

Without a URL the policy's site is checked. With a policy, the target is held to
what the policy promises. Without one, any server is held to what every API owes:
TLS, headers, CORS, limits, errors, cookies, tokens, open ports. For the server
of serve --dev on this machine, its policy, authority and tokens are found.

With --inside it looks at the server that it runs on, best as root. A look from
elsewhere is joined with --with: a port is closed only if both say so.

The proofs are attacks, though harmless ones. Against a host that is neither this
machine nor the policy's own site only those are made that look like any visitor,
unless you say --i-own-this.

Exit 0: all proved or waived; 1: something failed; 2: something could not be
seen, or the check could not be run.`,
		Example: `  ringwall check https://localhost:8443
  ringwall check https://api.example.com --i-own-this
  ringwall check --policy ringwall.yaml --token user=@alice.token --token admin=@admin.token
  sudo ringwall check --inside --with outside.json
  ringwall check --policy ringwall.yaml --out report.html --out report.sarif --by checklist`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runCheck(ctx, cmd.OutOrStdout(), f, args)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.policy, "policy", "", "policy that the target must enforce (default $RINGWALL_POLICY, then "+policyFile+" if it is there; without a URL, then "+systemPolicy+")")
	fs.StringVar(&f.ca, "cacert", "", "PEM file of an authority to trust besides the system's")
	fs.StringArrayVar(&f.tokens, "token", nil, "access token of a caller without any role, or ROLE=TOKEN for one with it; @FILE reads it from a file")
	fs.StringArrayVar(&f.refused, "refused-token", nil, "token that must be refused though its signature is right: one that has expired, or is for another audience; @FILE reads it from a file; up to 2")
	fs.StringVar(&f.account, "account", "", "account without any role that is there for checks: EMAIL=@FILE, with its password in FILE")

	fs.StringVar(&f.format, "format", "", "of the report: "+strings.Join(formatNames(), ", ")+" (default text, or as the name of --out ends)")
	fs.StringArrayVar(&f.out, "out", nil, "file for the report (default standard output); may be given more than once: a.html, b.sarif")
	fs.StringVar(&f.by, "by", "", "order of the text: checklist, threat or ring (default: the order of the run)")
	fs.BoolVar(&f.long, "long", false, "show the requests and answers of each check in the text, without secrets")
	fs.StringVar(&f.failOn, "fail-on", "unknown", "least that makes the exit code other than 0: waived, unknown, fail or never")

	fs.StringSliceVar(&f.only, "only", nil, "checks to make: IDs, or their beginning up to a slash, such as edge/")
	fs.StringArrayVar(&f.skip, "skip", nil, "check to leave out, with the reason, which the report shows: ID=REASON")
	fs.IntVar(&f.maxRequests, "max-requests", 400, "connections to the target in all")
	fs.DurationVar(&f.timeout, "timeout", 5*time.Minute, "longest time of the whole check; a fifth of it, or what it gives beyond 4 minutes, may go by in waiting so as not to be banned")
	fs.BoolVar(&f.own, "i-own-this", false, "make the checks that attack, though the host is not the policy's site: it is yours, or its owner asked you to")
	fs.BoolVar(&f.spared, "spared", false, "the server does not ban this machine: ringwall ban spare was typed there, or edge.bans.allow has its address; else checks that could earn a ban wait, or are not made")
	fs.BoolVar(&f.intrusive, "intrusive", false, "make the checks, too, that disturb others: they could slow a weak server down, fill it with connections or, made by root on the server, stop the API for as long as edge.timeouts.read")
	fs.StringVar(&f.plainPort, "http-port", "", "port where plain HTTP would be served (default edge.redirect of the policy, or 80)")
	fs.StringVar(&f.sshPort, "ssh-port", "", "port of SSH (default 22)")

	fs.BoolVar(&f.inside, "inside", false, "look at this server from itself: the host ring, listeners, secrets, updates, backups; with a URL, from outside as well")
	fs.StringVar(&f.with, "with", "", "JSON report of the other look at this server, from outside or inside, of the last 24 hours, to join with this one")
	fs.StringVar(&f.baseline, "baseline", "", "JSON report to compare with, and to write the new one to; what got worse raises an event and is told as the policy's watch says")
	fs.DurationVar(&f.watch, "watch", 0, "check again and again, this long apart, and raise an event for what got worse")
	cmd.AddCommand(checkDiffCommand())
	return cmd
}

func runCheck(ctx context.Context, w io.Writer, f checkFlags, args []string) error {
	if err := f.valid(); err != nil {
		return unrunnable(err)
	}
	if err := f.writable(); err != nil {
		return unrunnable(err)
	}
	if len(args) > 0 && !strings.Contains(args[0], "://") {
		return &failure{fmt.Errorf("%q does not say whether it is https or http", args[0]), 2, "ringwall check https://" + shellWord(args[0])}
	}
	t, err := findTarget(f, args)
	if err != nil {
		return unrunnable(err)
	}
	if len(args) == 0 && !f.inside && !f.own && standsForYours(t.policy) != "" { // proofs are attacks
		return &failure{fmt.Errorf("the site is %s, which stands for yours, and whoever answers there is a stranger: write yours into the policy", t.policy.Site), 2, "ringwall check https://HOST"}
	}
	if f.watch > 0 || f.baseline != "" {
		return watchChecks(ctx, w, f, t)
	}
	report, err := lookAt(ctx, f, t)
	if err != nil {
		return unrunnable(err)
	}
	if err := writeReports(w, f, report); err != nil {
		return unrunnable(err)
	}
	return f.outcome(report)
}

// valid judges the flags that need no target.
func (f *checkFlags) valid() error {
	if _, ok := formats[f.format]; !ok && f.format != "" {
		return fmt.Errorf("--format %q is none of %s", f.format, strings.Join(formatNames(), ", "))
	}
	if f.format != "" && len(f.out) > 1 {
		return errors.New("--format is of one report: with several of --out each is written as its name ends")
	}
	if f.by != "" {
		known := false
		for _, v := range check.Views() {
			known = known || string(v) == f.by
		}
		if !known {
			return fmt.Errorf("--by %q is none of checklist, threat, ring", f.by)
		}
	}
	switch f.failOn {
	case "waived", "unknown", "fail", "never":
	default:
		return fmt.Errorf("--fail-on %q is none of waived, unknown, fail, never", f.failOn)
	}
	if len(f.refused) > 2 {
		return fmt.Errorf("--refused-token: %d are too many; give up to 2", len(f.refused))
	}
	if f.maxRequests < 1 {
		return fmt.Errorf("--max-requests %d: at least one request must be sent", f.maxRequests)
	}
	for name, port := range map[string]string{"--http-port": f.plainPort, "--ssh-port": f.sshPort} {
		if n, err := strconv.Atoi(port); port != "" && (err != nil || n < 1 || n > 65535) {
			return fmt.Errorf("%s %s: give a port, 1 to 65535", name, port)
		}
	}
	if f.timeout <= 0 {
		return fmt.Errorf("--timeout %v: nothing can be seen in no time", f.timeout)
	}
	if f.watch < 0 || f.watch > 0 && f.watch < time.Minute {
		return fmt.Errorf("--watch %v: a check has to rest for a minute or more", f.watch)
	}
	return nil
}

// outcome is the exit code that --fail-on asks for.
func (f *checkFlags) outcome(r check.Report) error {
	code := r.ExitCode()
	switch s := r.Summary(); {
	case f.failOn == "never", f.failOn == "fail" && code != 1:
		code = 0
	case f.failOn == "waived" && code == 0 && s.Waived > 0:
		code = 1
	}
	if code != 0 {
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
