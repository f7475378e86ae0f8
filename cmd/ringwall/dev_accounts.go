package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ringwall/ringwall/identity"
	"github.com/ringwall/ringwall/policy"
)

// A devAccount is one that serve --dev makes to try the API with. Its file in
// the state directory is the body of a sign-in.
type devAccount struct {
	Email    string `json:"email"`
	Password string `json:"password"`
}

// devCheck is the account without any role that `ringwall check` signs in with.
const devCheck = "check"

// devRoles are the accounts that --dev makes, with their roles: one for each
// role, named as it is, and one without any.
func devRoles(p *policy.Policy) map[string][]string {
	roles := map[string][]string{devCheck: nil}
	for role := range p.Identity.Roles {
		roles[role] = []string{role}
	}
	return roles
}

func (d *devState) accountFile(name string) string {
	return d.dir.Path(filepath.Join("accounts", name+".json"))
}

// account reads the account of a role.
func (d *devState) account(name string) (a devAccount, ok bool) {
	b, err := os.ReadFile(d.accountFile(name))
	return a, err == nil && json.Unmarshal(b, &a) == nil && a.Email != "" && a.Password != ""
}

// makeAccounts makes those that are missing, and returns the names of all.
// Passwords are random and stay in the files.
func (d *devState) makeAccounts(ctx context.Context, p *policy.Policy, accounts *identity.Accounts) (names []string, err error) {
	if err := os.MkdirAll(d.dir.Path("accounts"), 0o700); err != nil {
		return nil, err
	}
	if _, err := os.Stat(d.dir.Path(devCookies)); errors.Is(err, fs.ErrNotExist) {
		if err := d.dir.Write(devCookies, nil, 0o600); err != nil {
			return nil, err
		}
	}
	roles := devRoles(p)
	names = slices.Sorted(maps.Keys(roles))
	for _, name := range names {
		a, ok := d.account(name)
		if ok {
			var none *identity.Refusal
			if _, err := accounts.Find(ctx, a.Email); err == nil {
				continue
			} else if !errors.As(err, &none) {
				return nil, err
			}
		} else {
			a = devAccount{strings.ToLower(name) + "@example.com", rand.Text()}
			b, err := json.Marshal(a)
			if err != nil {
				return nil, err
			}
			// First, so that there is no account whose password nobody knows.
			if err := d.dir.Write(filepath.Join("accounts", name+".json"), b, 0o600); err != nil {
				return nil, err
			}
		}
		if err := makeAccount(ctx, accounts, a, name, roles[name]); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// makeAccount makes an account, or gives one that is there the password.
func makeAccount(ctx context.Context, accounts *identity.Accounts, a devAccount, name string, roles []string) error {
	by := identity.Actor{ID: "os:dev", Operator: true}
	_, err := accounts.Create(ctx, by, identity.NewAccount{Email: a.Email, Name: name, Password: a.Password, Roles: roles})
	var refused *identity.Refusal
	if !errors.As(err, &refused) || refused.Code != "exists" {
		return err
	}
	old, err := accounts.Find(ctx, a.Email)
	if err == nil {
		_, err = accounts.SetPassword(ctx, by, old.ID, a.Password)
	}
	return err
}

// devCheckToken is how long a token for `ringwall check` is good.
const devCheckToken = 10 * time.Minute

// accountTokens makes the tokens that a check needs, of the accounts of --dev,
// with the keys of the server: a check must not use up the attempts at signing
// in that its user has.
func (d *devState) accountTokens(ctx context.Context, p *policy.Policy) (map[string]string, error) {
	keys, err := identity.OpenKeyRing(p.File(p.Identity.Keys), nil)
	if err != nil {
		return nil, err
	}
	st, err := openStore(ctx, p)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	accounts := identity.NewAccounts(p, st, nil, nil)
	tokens := map[string]string{}
	for name, roles := range devRoles(p) {
		a, ok := d.account(name)
		if !ok {
			continue
		}
		acc, err := accounts.Find(ctx, a.Email)
		if err != nil {
			continue // the server that runs makes it
		}
		if len(roles) == 0 {
			name = "" // as a check calls who has none
		}
		if tokens[name], err = keys.Keys().Mint(identity.Claims{Issuer: p.Issuer(), Audience: p.Audience(),
			Subject: acc.ID, Session: "check-" + name, Roles: roles}, devCheckToken); err != nil {
			return nil, err
		}
	}
	return tokens, nil
}

// firstName is the account that a newcomer tries first.
func firstName(p *policy.Policy) string {
	if len(p.Identity.DefaultRoles) > 0 {
		return p.Identity.DefaultRoles[0]
	}
	return devCheck
}
