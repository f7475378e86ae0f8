package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/ringwall/ringwall"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// ring puts every control around the handler, with the default policy but a
// rate that the load does not reach, and an access log on disk. Its certificate
// is looked for beside the log.
func ring(next http.Handler, listen, logFile string) (*ringwall.Server, string, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return nil, "", err
	}
	log := slog.New(audit.NewHandler(audit.NewBuffer(out, os.Stderr), slog.LevelInfo))
	p, err := rules(filepath.Dir(logFile), "site: localhost\n", listen, "app:\n  limits: {global: {requests: 1000000, per: 1s}}\n")
	if err != nil {
		return nil, "", err
	}

	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	keys, err := identity.NewKeys(seed)
	if err != nil {
		return nil, "", err
	}
	const issuer = "https://localhost"
	verifier, err := identity.NewVerifier(issuer, issuer, keys, nil)
	if err != nil {
		return nil, "", err
	}
	token, err := keys.Mint(identity.Claims{Issuer: issuer, Audience: issuer, Subject: "alice", Session: "4f2c", Roles: []string{"user"}}, time.Hour)
	if err != nil {
		return nil, "", err
	}
	s, err := ringwall.New(p, next, ringwall.Deps{Verifier: verifier, Log: log})
	if err != nil {
		return nil, "", err
	}
	return s, token, nil
}

// rules is a policy whose edge has a certificate of dir and no limit that the
// load reaches.
func rules(dir, site, listen, app string) (*policy.Policy, error) {
	return policy.Parse(filepath.Join(dir, "bench.yaml"), []byte(site+`edge:
  listen: `+listen+`
  redirect: "127.0.0.1:0"
  tls: {cert: site.pem, key: site.key}
  rate: {requests: 1000000, per: 1s, burst: 100000}
  connections: 10000
`+app), policy.LoadOptions{Environ: []string{}, Dev: true})
}
