package identity

import (
	"slices"
	"strings"

	"github.com/ringwall/ringwall/policy"
)

// roleTable is what the policy's roles grant.
type roleTable struct {
	permissions map[string][]string
	first       []string // of an account that registers itself
}

func newRoleTable(p *policy.Policy) roleTable {
	return roleTable{permissions: p.Identity.Roles, first: p.Identity.DefaultRoles}
}

func (t roleTable) known(role string) bool {
	_, ok := t.permissions[role]
	return ok
}

// grant reports whether one of roles has the permission, spelt out as in
// notes:write.
func (t roleTable) grant(roles []string, permission string) bool {
	return slices.ContainsFunc(roles, func(role string) bool {
		return slices.ContainsFunc(t.permissions[role], func(has string) bool {
			prefix, wild := strings.CutSuffix(has, "*")
			return has == permission || wild && strings.HasPrefix(permission, prefix)
		})
	})
}

// manage reports whether an account with these roles may manage others.
func (t roleTable) manage(roles []string) bool { return t.grant(roles, policy.ManageAccounts) }

// all reports whether one of roles grants everything.
func (t roleTable) all(roles []string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(t.permissions[role], "*") })
}

// mayGive reports whether somebody with the roles of by may give role to others
// and take it from them: who has it too, who has all permissions, and anybody
// who manages accounts when those who register get it anyway. Without this,
// accounts:manage alone would be worth as much as *.
func (t roleTable) mayGive(by []string, role string) bool {
	return slices.Contains(by, role) || slices.Contains(t.first, role) || t.all(by)
}

// permissionsOf lists what roles grant, sorted.
func (t roleTable) permissionsOf(roles []string) []string {
	all := []string{}
	for _, role := range roles {
		all = append(all, t.permissions[role]...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// difference gives what of a is not in b.
func difference(a, b []string) (only []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			only = append(only, s)
		}
	}
	return only
}
