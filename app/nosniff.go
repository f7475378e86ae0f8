package app

import "github.com/ringwall/ringwall/check"

var nosniff = Control{
	Meta: check.Meta{ID: "app/nosniff", Title: "Browsers do not guess content types"},
	Owns: []string{"X-Content-Type-Options"},
}
