package main

import (
	"context"
	"errors"
	"fmt"
	"net"
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
	r.Host = thisHost(t)
	r.Target = r.Host.Name + ", from inside"
	return r, nil
}

// thisHost is what tells this server from others.
func thisHost(t *target) *check.Host {
	h := &check.Host{}
	h.Name, _ = os.Hostname()
	if h.Name == "" {
		h.Name = "this server"
	}
	if t.held && t.policy.Site != "localhost" {
		h.Site = t.policy.Site
	}
	addrs, _ := net.InterfaceAddrs() // without any it is known by its names alone
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.IsGlobalUnicast() {
			h.Addresses = append(h.Addresses, n.IP.String())
		}
	}
	return h
}
