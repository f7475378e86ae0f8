package app

import "github.com/ringwall/ringwall/check"

var legacyHeaders = Control{
	Meta: check.Meta{ID: "app/legacy-headers", Title: "Switches of old browsers are in their safe position"},
	Owns: []string{"X-Dns-Prefetch-Control", "X-Download-Options", "X-Permitted-Cross-Domain-Policies", "X-Xss-Protection"},
}
