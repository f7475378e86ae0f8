package app

import "github.com/ringwall/ringwall/check"

var knownMethod = Control{
	Meta: check.Meta{ID: "app/method", Title: "Only the methods of an API are served"},
}
