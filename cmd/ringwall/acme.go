package main

import (
	"log/slog"

	"github.com/ringwall/ringwall/audit"
	"github.com/ringwall/ringwall/edge"
	"github.com/ringwall/ringwall/edge/acme"
	"github.com/ringwall/ringwall/internal/state"
	"github.com/ringwall/ringwall/policy"
)

// openCertificates is what asks the policy's authority, and keeps in the state
// directory what it was given; nil when the policy names none.
func openCertificates(p *policy.Policy, log *slog.Logger, sink audit.Sink) (edge.Certificates, error) {
	if !p.Edge.TLS.ACME.Enabled() {
		return nil, nil
	}
	dir, err := openState()
	if err != nil {
		return nil, err
	}
	if dir, err = state.Open(dir.Path("acme")); err != nil {
		return nil, err
	}
	m, err := acme.New(p, dir, acme.Deps{Log: log, Audit: sink})
	if err != nil {
		return nil, notServed(err)
	}
	return m, nil
}

// judgeCertificates is openCertificates for a policy that is judged and not
// served: nothing is made.
func judgeCertificates(p *policy.Policy) (edge.Certificates, error) {
	if !p.Edge.TLS.ACME.Enabled() {
		return nil, nil
	}
	m, err := acme.New(p, "", acme.Deps{})
	if err != nil {
		return nil, err
	}
	return m, nil
}
