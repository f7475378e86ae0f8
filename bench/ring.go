package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/ringwall/ringwall/app"
	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// ring puts every control around the handler, with the default policy but a
// rate that the load does not reach, and an access log on disk.
func ring(next http.Handler, logFile string) (http.Handler, string, error) {
	out, err := os.Create(logFile)
	if err != nil {
		return nil, "", err
	}
	log := slog.New(audit.NewHandler(audit.NewBuffer(out, os.Stderr), slog.LevelInfo))
	p := policy.Default()
	p.Site = "127.0.0.1"
	p.App.Limits["global"] = policy.Limit{Requests: 1e6, Per: time.Second}

	seed := make([]byte, ed25519.SeedSize)
	rand.Read(seed)
	keys, err := identity.NewKeys(seed)
	if err != nil {
		return nil, "", err
	}
	const issuer = "https://127.0.0.1"
	verifier, err := identity.NewVerifier(issuer, issuer, keys, nil)
	if err != nil {
		return nil, "", err
	}
	token, err := keys.Mint(identity.Claims{Issuer: issuer, Audience: issuer, Subject: "alice", Session: "4f2c", Roles: []string{"user"}}, time.Hour)
	if err != nil {
		return nil, "", err
	}
	r, err := app.New(p, next, app.Deps{Verifier: verifier, Log: log, Audit: audit.NewLog(log)})
	return r, token, err
}
