package main

import (
	"bufio"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

const (
	policyFile = "ringwall.yaml"
	tokenKey   = "secrets/identity_token_key"

	exampleSite = "api.example.com"
)

func initCommand() *cobra.Command {
	var site, upstream string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a policy and its secrets in the current folder",
		Long: `Write ringwall.yaml, a key in secrets/ that only you can read, and lines in
.gitignore that keep it out of the repository. What is there is never
overwritten. On a terminal it asks for the site when --site does not say it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return initialize(cmd, site, upstream) },
	}
	cmd.Flags().StringVar(&site, "site", exampleSite, "host name that clients use; the default stands for yours")
	cmd.Flags().StringVar(&upstream, "upstream", "http://127.0.0.1:8000", "where the API listens: http:// on loopback, or unix:/path; empty for a handler in Go")
	return cmd
}

func initialize(cmd *cobra.Command, site, upstream string) error {
	if _, err := os.Lstat(policyFile); err == nil {
		return &failure{fmt.Errorf("%s is there already, and is not overwritten", policyFile), 2, "ringwall policy check"}
	}
	if !cmd.Flags().Changed("site") {
		site = askForSite(cmd, upstream)
	}
	text := policy.Template(site, upstream)
	if err := judgeTemplate(text, site); err != nil {
		return &failure{err, 2, "ringwall init --site api.example.com --upstream http://127.0.0.1:8000"}
	}
	kept, err := writeKey()
	if err == nil {
		err = ignore("secrets/", ".env", "ringwall.db*")
	}
	if err == nil { // last, as its being there says that all is done
		err = state.Make(policyFile, text, 0o644, nil)
	}
	if err != nil {
		return &failure{err, 1, "ringwall init, in a folder that you may write to"}
	}
	was, placeholder := "wrote", ""
	if site == exampleSite && !cmd.Flags().Changed("site") {
		placeholder = "\nThe site is " + site + ", which stands for yours: write yours into " + policyFile + ".\n"
	}
	if kept {
		was = "kept"
	}
	fmt.Fprintf(cmd.OutOrStdout(), `wrote %[1]s
%[2]s %[3]s, for your eyes only; git ignores it
%[4]s
next:
  ringwall serve --dev     # https://localhost:8443, on this machine only
  ringwall policy explain GET /api/admin/users
then take the # from one of the lines tls: in %[1]s, for a certificate, and:
  ringwall policy check
  ringwall serve
`, policyFile, was, tokenKey, placeholder)
	return nil
}

// askForSite asks on the terminal until the answer is good, or empty. Where nobody can be
// asked, it is the name that stands for one.
func askForSite(cmd *cobra.Command, upstream string) string {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return exampleSite
	}
	for lines := bufio.NewReader(in); ; {
		fmt.Fprintf(cmd.ErrOrStderr(), "The host name that clients use (Enter: later, with %s in its place): ", exampleSite)
		line, err := lines.ReadString('\n')
		site := strings.TrimSpace(line)
		if site == "" || err != nil {
			return exampleSite
		}
		if err := judgeTemplate(policy.Template(site, upstream), site); err == nil || !strings.Contains(err.Error(), "--site: ") {
			return site
		} else {
			fmt.Fprintln(cmd.ErrOrStderr(), strings.ReplaceAll(err.Error(), "--site: ", ""))
		}
	}
}

// judgeTemplate sees that the flags make a good policy, before anything is
// written. A local site is good for --dev.
func judgeTemplate(text []byte, site string) error {
	dev := site == "localhost" || strings.HasSuffix(site, ".localhost") || strings.HasPrefix(site, "127.") || site == "::1"
	_, err := policy.Parse(policyFile, text, policy.LoadOptions{Dev: dev, Environ: []string{}})
	var all policy.Errors
	if !errors.As(err, &all) {
		return err
	}
	var errs []error
	for _, e := range all {
		if e.Path != "site" && e.Path != "upstream" {
			errs = append(errs, e)
			continue
		}
		msg := "--" + e.Path + ": " + e.Reason
		if e.Hint != "" {
			msg += "\n  hint: " + e.Hint
		}
		errs = append(errs, errors.New(msg))
	}
	return errors.Join(errs...)
}

// writeKey makes the key that access tokens are verified with; an old one is
// kept, for tokens that are out there.
func writeKey() (kept bool, err error) {
	if _, err := state.Follow(filepath.Dir(tokenKey)); err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(tokenKey), 0o700); err != nil {
		return false, err
	}
	err = state.Make(tokenKey, []byte(newTokenKey()+"\n"), 0o600, nil)
	if errors.Is(err, fs.ErrExist) {
		return true, nil
	}
	return false, err
}

// newTokenKey is an Ed25519 seed in base64.
func newTokenKey() string {
	seed := make([]byte, 32)
	rand.Read(seed) // never fails
	return base64.StdEncoding.EncodeToString(seed)
}

// ignore adds the lines to .gitignore that are not in it.
func ignore(lines ...string) error {
	if _, err := state.Follow(".gitignore"); err != nil {
		return err
	}
	old, err := os.ReadFile(".gitignore")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	have := strings.Split(string(old), "\n")
	var add strings.Builder
	if len(old) > 0 && old[len(old)-1] != '\n' {
		add.WriteByte('\n')
	}
	missing := false
	for _, l := range lines {
		if !slices.Contains(have, l) && !slices.Contains(have, "/"+l) {
			add.WriteString(l + "\n")
			missing = true
		}
	}
	if !missing {
		return nil
	}
	f, err := os.OpenFile(".gitignore", os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	if _, err = f.WriteString(add.String()); err != nil { // half a line may ignore what it should not
		_ = f.Truncate(int64(len(old)))
	}
	return errors.Join(err, f.Close())
}
