package app

import "github.com/ringwall/ringwall/check"

var referrerPolicy = Control{
	Meta: check.Meta{ID: "app/referrer-policy", Title: "Paths do not leak to other sites as referrers"},
	Owns: []string{"Referrer-Policy"},
}
