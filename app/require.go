package app

import (
	"net/http"
	"strings"
)

// RequireRole lets a request through to h when its caller has the role by name.
// It is Require for one role: nobody signed in is answered 401, anybody else
// 403. A role that the policy does not name admits nobody.
//
// Ask for a permission where you can: it says what the handler does, and the
// policy says who may. RequireRole panics for what is no role's name, such as
// signed-in or notes:write.
func RequireRole(role string, h http.Handler) http.Handler {
	if role == "" || role == "anyone" || role == "signed-in" || strings.ContainsAny(role, ":*") {
		panic("app.RequireRole: " + role + " is no name of a role")
	}
	return Require(h, role)
}

// RequirePermission lets a request through to h when one of its caller's roles
// grants the permission, such as notes:write. It is Require for one permission:
// nobody signed in is answered 401, anybody else 403.
//
// It panics for what is no permission, such as a role, notes:* or *: a handler
// asks for one thing, only roles have many.
func RequirePermission(permission string, h http.Handler) http.Handler {
	noun, verb, ok := strings.Cut(permission, ":")
	if !ok || noun == "" || verb == "" || strings.Contains(permission, "*") {
		panic("app.RequirePermission: " + permission + " is no permission, such as notes:write")
	}
	return Require(h, permission)
}
