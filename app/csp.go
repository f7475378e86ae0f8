package app

import "github.com/ringwall/ringwall/check"

var csp = Control{
	Meta: check.Meta{ID: "app/csp", Title: "Nothing in an answer may load or run content"},
	Owns: []string{"Content-Security-Policy"},
}
