package app

import "github.com/ringwall/ringwall/check"

var contentType = Control{
	Meta: check.Meta{ID: "app/content-type", Title: "Only listed media types are accepted"},
}
