package identity

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ringwall/ringwall/identity/password"
	"github.com/ringwall/ringwall/store"
)

// mayChange returns the judge of a change of the account id by by: called with
// the account before and after, inside the transaction. The roles of by are
// read now, not taken from a token of some minutes ago.
func (a *Accounts) mayChange(ctx context.Context, by Actor, id string) (judge func(before, after store.Account) error, err error) {
	if by.Operator {
		return func(store.Account, store.Account) error { return nil }, nil
	}
	self, err := a.store.Account(ctx, by.ID)
	if err != nil {
		return nil, a.missing(err, "read the account of who asks")
	}
	others := true
	if id == by.ID && a.manages(self) {
		if others, err = a.othersManage(ctx, id); err != nil {
			return nil, err
		}
	}
	return func(before, after store.Account) error {
		if before.ID == by.ID {
			if a.manages(before) && !a.manages(after) && !others {
				return errLast
			}
		} else {
			switch {
			case !a.manages(self):
				return errManager // since a moment ago
			case a.roles.manage(before.Roles) && !a.roles.all(self.Roles):
				return errManager
			}
		}
		for _, role := range slices.Concat(difference(before.Roles, after.Roles), difference(after.Roles, before.Roles)) {
			if after.ID != "" && !a.roles.mayGive(self.Roles, role) {
				return errNotGiver
			}
		}
		return nil
	}, nil
}

// manages reports whether an account can sign in and manage others.
func (a *Accounts) manages(acc store.Account) bool {
	verified := !a.policy.Identity.VerifyEmail || !acc.Verified.IsZero()
	return acc.ID != "" && acc.Locked.IsZero() && acc.PasswordHash != "" && verified && a.roles.manage(acc.Roles)
}

// othersManage looks for an account besides id that manages. It reads them all
// only when there is none.
func (a *Accounts) othersManage(ctx context.Context, id string) (bool, error) {
	const page = 500
	for after := ""; ; {
		list, err := a.store.ListAccounts(ctx, after, page)
		if err != nil {
			return false, fmt.Errorf("list accounts: %w", err)
		}
		for _, acc := range list {
			if acc.ID != id && a.manages(acc) {
				return true, nil
			}
		}
		if len(list) < page {
			return false, nil
		}
		after = list[len(list)-1].ID
	}
}

// checkRoles returns roles sorted and once each, if the policy has them.
func (a *Accounts) checkRoles(roles []string) ([]string, error) {
	for i, role := range roles {
		if !a.roles.known(role) {
			return nil, invalid("/roles/"+strconv.Itoa(i), "unknown", "names no role of the policy")
		}
	}
	if len(roles) > maxRoles {
		return nil, invalid("/roles", "too_long", "must have at most "+strconv.Itoa(maxRoles)+" elements")
	}
	out := slices.Sorted(slices.Values(roles))
	return slices.Compact(out), nil
}

// judge refuses a password that may not be chosen. When the list of breached
// ones cannot be asked, the one that ships has to do.
func (a *Accounts) judge(ctx context.Context, path, pw string, about ...string) error {
	var weak *password.Weak
	if err := a.passwords.Judge(pw, append(about, a.policy.Site)...); errors.As(err, &weak) {
		return invalid(path, string(weak.Code), weak.Message)
	} else if err != nil {
		return fmt.Errorf("judge a password: %w", err)
	}
	if a.policy.Identity.BreachCheck {
		breached, err := a.passwords.Breached(ctx, pw)
		if err != nil && ctx.Err() == nil {
			a.log.Warn("breached passwords cannot be looked up", "error", err)
		}
		if breached {
			weak = password.Refuse(password.Breached)
			return invalid(path, string(weak.Code), weak.Message)
		}
	}
	return nil
}

func invalid(path, code, message string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Path: path, Code: code, Message: message}
}

// nameOf is a name for an account made without one.
func nameOf(email string) string {
	local, _, _ := strings.Cut(email, "@")
	if name, err := normalizeName(local); err == nil {
		return name
	}
	return "account"
}

// newID makes an account's ID: 10 digits of the time in milliseconds, so that
// IDs sort by age, and 80 random bits, in the alphabet of RFC 4648's base32hex.
func newID(now time.Time) string {
	const digits = "0123456789abcdefghijklmnopqrstuv"
	id := make([]byte, 26)
	ms := uint64(max(0, now.UnixMilli()))
	for i := 9; i >= 0; i-- {
		id[i] = digits[ms%32]
		ms /= 32
	}
	rand.Read(id[10:]) // never fails
	for i := range id[10:] {
		id[10+i] = digits[id[10+i]%32]
	}
	return string(id)
}
