package app

import "github.com/ringwall/ringwall/check"

var bodyLimit = Control{
	Meta: check.Meta{ID: "app/body", Title: "Bodies over the limit are refused before they are read"},
}
