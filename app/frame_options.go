package app

import "github.com/ringwall/ringwall/check"

var frameOptions = Control{
	Meta: check.Meta{ID: "app/frame-options", Title: "Answers cannot be framed"},
	Owns: []string{"X-Frame-Options"},
}
