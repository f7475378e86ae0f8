package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"github.com/ringwall/ringwall/check/probe"
	"github.com/ringwall/ringwall/policy"
)

// A target is what is checked, against what, and how it is reached.
type target struct {
	url     string
	policy  *policy.Policy
	tls     *tls.Config
	tokens  map[string]string
	refused []string // tokens

	account probe.Account

	held   bool           // the policy was given or found: the target promised it
	points *pointsBudget  // of all checks of this process; nil: none, or not known yet
	missed map[string]int // in how many runs up to the last one a check was left out
}

func findTarget(f checkFlags, args []string) (*target, error) {
	t := &target{tokens: map[string]string{}}
	if len(args) > 0 {
		t.url = args[0]
	}
	if err := t.findPolicy(f); err != nil {
		return nil, err
	}
	if t.url == "" && !f.inside {
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
		token, err := tokenOf(token)
		if err != nil {
			return nil, fmt.Errorf("--token: %w", err)
		}
		t.tokens[role] = token
	}
	for _, s := range f.refused {
		token, err := tokenOf(s)
		if err != nil {
			return nil, fmt.Errorf("--refused-token: %w", err)
		}
		t.refused = append(t.refused, token)
	}
	if f.account != "" {
		email, file, ok := strings.Cut(f.account, "=@")
		if !ok {
			return nil, errors.New("--account is EMAIL=@FILE, with the password in FILE")
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("--account: %w", err)
		}
		t.account = probe.Account{Email: email, Password: strings.TrimRight(string(b), "\r\n")}
	}
	return t, nil
}

// tokenOf is a token as it was typed, or the one in the file that @ names.
func tokenOf(s string) (string, error) {
	file, ok := strings.CutPrefix(s, "@")
	if !ok {
		return s, nil
	}
	b, err := os.ReadFile(file)
	if err == nil && len(bytes.TrimSpace(b)) == 0 {
		err = fmt.Errorf("%s is empty", file)
	}
	return string(bytes.TrimSpace(b)), err
}

// findPolicy takes the policy of the flag, else that of a serve --dev at the
// URL with its authority and tokens, else the file in this folder, else, without a URL,
// the service's, else the defaults for the URL's host.
func (t *target) findPolicy(f checkFlags) (err error) {
	explicit := f.policy != "" || os.Getenv("RINGWALL_POLICY") != ""
	if dev := runningDev(t.url); dev != nil && !explicit {
		t.held = true
		if t.policy, err = dev.state.load(dev.Policy); err != nil {
			return err
		}
		t.url, t.policy.Edge.Redirect = dev.URL, dev.Redirect // the ports that the system chose
		if t.tokens, err = dev.state.tokens(context.Background(), t.policy); err != nil {
			return err
		}
		if a, ok := dev.state.account(devCheck); ok {
			t.account = probe.Account{Email: a.Email, Password: a.Password}
		}
		pem, err := os.ReadFile(dev.state.cert.CA)
		if err != nil {
			return err
		}
		return t.trust(pem)
	}
	file := policyPath(f.policy)
	if t.url != "" { // which need not be what the service of this machine serves
		file = policyPathOr(f.policy, policyFile)
	}
	if _, err := os.Stat(file); explicit || err == nil {
		t.held = true
		dev := false
		if u, err := url.Parse(t.url); err == nil {
			dev = u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
		}
		t.policy, err = policy.Load(file, policy.LoadOptions{Dev: dev})
		return err
	}
	if t.url == "" && f.inside {
		t.policy = policy.Default()
		return nil
	}
	if t.url == "" {
		return errors.New("no URL, and neither " + policyFile + " in this folder nor " + systemPolicy + " to take the site from")
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

// plainPort is where the policy has plain HTTP redirected, "" where it does not
// say.
func plainPort(p *policy.Policy) string {
	if _, port, err := net.SplitHostPort(p.Edge.Redirect); err == nil && port != "0" {
		return port
	}
	return ""
}
