package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/ringwall/ringwall/check"
	"github.com/ringwall/ringwall/check/inside"
	"github.com/ringwall/ringwall/host"
)

// lookFromInside proves the host ring and looks for what people leave behind, on
// this server. It writes nothing.
func lookFromInside(ctx context.Context, f checkFlags, t *target) (check.Report, error) {
	if runtime.GOOS != "linux" {
		return check.Report{}, errors.New("--inside looks at a Linux server, and this is none")
	}
	m := inside.Here()
	m.ACME = t.held && t.policy.Edge.TLS.ACME.Email != ""
	if p := t.policy.Host.SSH.Port; p != 0 {
		m.Open = append(m.Open, p)
	}
	checks := slices.Concat(host.Checks(t.policy, host.NewFacts(host.Live{}), time.Now()), inside.Checks(m))
	for i := range checks {
		checks[i].Lane = checks[i].ID // reading disturbs nobody
	}
	checks, err := pick(checks, f.only, f.skip)
	if err != nil {
		return check.Report{}, err
	}
	if os.Geteuid() != 0 {
		fmt.Fprintf(os.Stderr, "%s not root, so that much cannot be seen: sudo ringwall check --inside\n", paint(os.Stderr, "33;1", "note:"))
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	r := check.Run(ctx, checks, check.Options{})
	r.Version = version()
	if name, err := os.Hostname(); err == nil {
		r.Target = name + ", from inside"
	}
	return r, nil
}
