package app

import "github.com/ringwall/ringwall/check"

var compression = Control{
	Meta: check.Meta{ID: "app/compression", Title: "Answers are compressed, except those with secrets"},
}
