package app

import "github.com/ringwall/ringwall/check"

var accessLog = Control{
	Meta: check.Meta{ID: "app/access-log", Title: "Every request leaves one structured line without secrets"},
}
