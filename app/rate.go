package app

import "github.com/ringwall/ringwall/check"

var rateLimit = Control{
	Meta: check.Meta{ID: "app/rate", Title: "Each client is held to its request rates"},
	Owns: []string{"Ratelimit", "Ratelimit-Policy"},
}
