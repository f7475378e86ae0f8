package app

import "github.com/ringwall/ringwall/check"

var hsts = Control{
	Meta: check.Meta{ID: "app/hsts", Title: "Browsers use HTTPS only"},
	Owns: []string{"Strict-Transport-Security"},
}
