package app

import "github.com/ringwall/ringwall/check"

var timeout = Control{
	Meta: check.Meta{ID: "app/timeout", Title: "A request that hangs is answered and ended"},
}
