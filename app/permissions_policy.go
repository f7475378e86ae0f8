package app

import "github.com/ringwall/ringwall/check"

var permissionsPolicy = Control{
	Meta: check.Meta{ID: "app/permissions-policy", Title: "Answers get no access to device features"},
	Owns: []string{"Permissions-Policy"},
}
