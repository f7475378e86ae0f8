package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// A source is where a command's policy comes from; load reads it anew.
type source struct {
	file string
	dev  *devState // nil: not --dev
}

// systemPolicy is the policy of the service that the host ring sets up: who signs in
// to the server need not name it.
const systemPolicy = "/etc/ringwall/" + policyFile

const policyDefault = "default $RINGWALL_POLICY, then " + policyFile + ", then " + systemPolicy

func policyFlag(cmd *cobra.Command, file *string) {
	cmd.PersistentFlags().StringVar(file, "policy", "", "policy file ("+policyDefault+")")
}

func policyPath(flag string) string { return policyPathOr(flag, systemPolicy) }

// policyPathOr is the flag, $RINGWALL_POLICY, the file in this folder, or system where
// only that is there.
func policyPathOr(flag, system string) string {
	if named := cmp.Or(flag, os.Getenv("RINGWALL_POLICY")); named != "" {
		return named
	}
	if _, err := os.Stat(policyFile); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(system); err == nil {
			return system
		}
	}
	return policyFile
}

func (s source) load() (*policy.Policy, error) {
	if s.dev == nil {
		return policy.Load(s.file, policy.LoadOptions{})
	}
	return s.dev.load(s.file)
}

// A devState is what serve --dev keeps in the state directory.
type devState struct {
	dir  state.Dir
	cert edge.DevCert
}

// devDefaults are what --dev puts in the place of the policy's values, unless
// the environment says otherwise: one machine, its own certificate, an HSTS
// that browsers forget within the hour, since it holds for every port of
// localhost, and accounts of its own: never those of the policy's store.
func (d *devState) defaults() [][2]string {
	return [][2]string{
		{"RINGWALL_SITE", "localhost"},
		{"RINGWALL_EDGE_ENGINE", "builtin"},
		{"RINGWALL_EDGE_LISTEN", "localhost:8443"},
		{"RINGWALL_EDGE_REDIRECT", "localhost:8080"},
		{"RINGWALL_EDGE_TLS_CERT", d.cert.Cert},
		{"RINGWALL_EDGE_TLS_KEY", d.cert.Key},
		{"RINGWALL_EDGE_TLS_ACME_EMAIL", ""},
		{"RINGWALL_EDGE_TLS_ACME_DIRECTORY", policy.LetsEncrypt},
		{"RINGWALL_EDGE_TLS_ACME_TRUST", ""},
		{"RINGWALL_APP_HEADERS_HSTS_MAX_AGE", "1h"},
		{"RINGWALL_APP_HEADERS_HSTS_PRELOAD", "false"},
		{"RINGWALL_STORE", "sqlite:" + d.dir.Path("ringwall.db")},
		{"RINGWALL_IDENTITY_KEYS", d.dir.Path("identity_keys.json")},
	}
}

const devKey = "dev.token_key"

// load reads the policy with the defaults of --dev. A policy without a token
// key gets the state directory's, one without a way of mail a folder of it.
func (d *devState) load(file string) (*policy.Policy, error) {
	env := os.Environ()
	for _, v := range d.defaults() {
		_, set := os.LookupEnv(v[0])
		_, setFile := os.LookupEnv(v[0] + "_FILE")
		if !set && !setFile {
			env = append(env, v[0]+"="+v[1])
		}
	}
	p, err := policy.Load(file, policy.LoadOptions{Dev: true, Environ: env})
	if err != nil {
		return nil, err
	}
	if p.Identity.Mail.SMTP == "" && p.Identity.Mail.Folder == "" {
		p.Identity.Mail.Folder = d.dir.Path("mail")
	}
	if !p.KeepsAccounts() && !p.Identity.TokenKey.Set() {
		key, err := d.tokenKey()
		if err != nil {
			return nil, err
		}
		p.Identity.TokenKey = policy.NewSecret(key)
	}
	for path, addr := range map[string]string{"edge.listen": p.Edge.Listen, "edge.redirect": p.Edge.Redirect} {
		if addr != "" && !onLoopback(addr) {
			return nil, p.Errorf(path, "write localhost and a port", "%s can be reached from other machines, and --dev is for this one only", addr)
		}
	}
	return p, nil
}

// tokenKey reads the key of --dev, and makes it when there is none that is
// still secret.
func (d *devState) tokenKey() (string, error) {
	unlock, err := d.dir.Lock("ca.lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	b, err := d.dir.Secret(devKey)
	if key := strings.TrimSpace(string(b)); err == nil && len(policy.NewSecret(key).Bytes()) == 32 {
		return key, nil
	}
	if errors.Is(err, os.ErrPermission) {
		return "", fmt.Errorf("token key of --dev: %w", err)
	}
	key := newTokenKey()
	return key, d.dir.Write(devKey, []byte(key+"\n"), 0o600)
}

func onLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip, notIP := netip.ParseAddr(host)
	return err == nil && (host == "localhost" || notIP == nil && ip.IsLoopback())
}

// openState opens the state directory.
func openState() (state.Dir, error) {
	path, err := state.Path(os.Getenv)
	if err != nil {
		return "", err
	}
	dir, err := state.Open(path)
	if err != nil {
		return "", &failure{err, 1, "set RINGWALL_STATE to a folder that you may write to"}
	}
	return dir, nil
}
