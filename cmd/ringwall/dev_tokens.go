package main

import (
	"context"
	"time"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// Tokens of --dev, to try an API with whose policy keeps no accounts.
const (
	devTokenLife  = 12 * time.Hour
	devTokenRenew = time.Hour
)

// devCallers are who the tokens are for: a file in the state directory each.
var devCallers = []struct{ subject, role string }{{"alice", "user"}, {"admin", "admin"}}

func mint(p *policy.Policy, subject string, roles ...string) (string, error) {
	keys, err := identity.NewKeys(p.Identity.TokenKey.Bytes())
	if err != nil {
		return "", err
	}
	return keys.Mint(identity.Claims{
		Issuer: p.Issuer(), Audience: p.Audience(), Subject: subject, Session: "dev-" + subject, Roles: roles,
	}, devTokenLife)
}

func (d *devState) writeTokens(p *policy.Policy) error {
	for _, c := range devCallers {
		token, err := mint(p, c.subject, c.role)
		if err != nil {
			return err
		}
		if err := d.dir.Write(c.subject+".token", []byte(token+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// renewTokens keeps the files good while the server runs.
func (d *devState) renewTokens(ctx context.Context, srv *server) {
	t := time.NewTicker(devTokenRenew)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = d.writeTokens(srv.Policy()) // the old ones hold for hours yet
		case <-ctx.Done():
			return
		}
	}
}

// tokens makes the tokens that a check needs: one of a caller without any role,
// and one for each role of the policy.
func (d *devState) tokens(ctx context.Context, p *policy.Policy) (map[string]string, error) {
	if p.KeepsAccounts() {
		return d.accountTokens(ctx, p)
	}
	tokens := map[string]string{}
	var err error
	if tokens[""], err = mint(p, "check"); err != nil {
		return nil, err
	}
	for role := range p.Identity.Roles {
		if tokens[role], err = mint(p, "check-"+role, role); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}
